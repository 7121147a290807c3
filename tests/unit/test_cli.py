"""The command line without a broker: help, settings, errors as one line, exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from models.errors import DataError
from streams.cli.main import COMMANDS, app
from streams.errors import SettingsError, TocsinError

MAIN = [sys.executable, "-c", "from streams.cli.main import main; main()"]


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither environment nor file, and what a global option sets is gone after the test."""
    monkeypatch.chdir(tmp_path)
    for name in ("TOCSIN_CONFIG", "TOCSIN_LOG__LEVEL", "TOCSIN_LOG__FORMAT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name in [name for name in os.environ if name.startswith("TOCSIN_")]:
        monkeypatch.delenv(name)


def tocsin(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_help_lists_every_command_in_the_order_of_the_table() -> None:
    lines = tocsin("--help").stdout.splitlines()

    first_words = [line.strip("│ ").partition(" ")[0] for line in lines]
    assert [word for word in first_words if word in COMMANDS] == list(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str) -> None:
    result = tocsin(name, "--help")

    assert result.exit_code == 0, result.output
    assert f"Usage: tocsin {name}" in result.stdout or f"{name} [OPTIONS]" in result.stdout


def test_help_imports_neither_torch_nor_faust() -> None:
    code = (
        "import sys\n"
        "from streams.cli.main import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "print([name for name in ('torch', 'faust') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_an_unknown_command_is_a_usage_error() -> None:
    assert tocsin("conjure").exit_code == 2


def test_version_is_that_of_the_package() -> None:
    assert tocsin("version").stdout.startswith("tocsin ")


def test_the_settings_shown_are_toml_with_passwords_masked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "bank.toml"
    file.write_text('[kafka]\nsasl_password = "hunter2"\n[fraud.rates]\nUSD = 0.9\n')
    monkeypatch.setenv("TOCSIN_REDIS__URL", "redis://user:hunter2@cache:6379/0")

    result = tocsin("--config", str(file), "--log-level", "ERROR", "config", "show")

    assert "hunter2" not in result.stdout
    shown = tomllib.loads(result.stdout)
    assert shown["redis"]["url"] == "redis://user:**********@cache:6379/0"
    assert shown["fraud"]["rates"] == {"USD": 0.9}
    assert shown["log"]["level"] == "ERROR"


@pytest.mark.parametrize("password", ["p@ss", "p/w", "p:w", "@", "a@b:c/d@e"])
def test_no_part_of_an_odd_password_is_shown(
    monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("TOCSIN_REDIS__URL", f"redis://user:{password}@cache:6379/0")

    shown = tomllib.loads(tocsin("config", "show").stdout)

    assert shown["redis"]["url"] == "redis://user:**********@cache:6379/0"


def test_a_flag_sets_any_setting_and_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOCSIN_TOPICS__ALERTS", "from-the-environment")

    result = tocsin(
        "--set", "topics.alerts=mine", "--set", "fraud.capacity=65536", "config", "show"
    )

    shown = tomllib.loads(result.stdout)
    assert shown["topics"]["alerts"] == "mine"
    assert shown["fraud"]["capacity"] == 65536


@pytest.mark.parametrize(
    "flag",
    [
        "kafka.sasl_password=hunter2",
        "redis.url=redis://:hunter2@cache:6379/0",
        'webhooks.endpoints={"desk": {"url": "https://a", "secret": "hunter2hunter2hu"}}',
    ],
)
def test_a_password_on_the_command_line_is_refused_and_told_where_it_goes(flag: str) -> None:
    result = tocsin("--set", flag, "config", "show")

    assert result.exit_code == 2
    assert "TOCSIN_SECRETS_DIR" in result.stderr
    assert "hunter2" not in result.output
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "flag", ["topics.alerts", "alerts=x", "topics.alarms=x", "nothing.alerts=x"]
)
def test_a_flag_for_no_setting_is_one_line_and_exit_code_two(flag: str) -> None:
    result = tocsin("--set", flag, "config", "show")

    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "SECTION.NAME=VALUE" in result.stderr or "no setting is called" in result.stderr


def test_a_wrong_setting_is_one_line_and_exit_code_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_TOPICS__PARTITIONS", "none")

    result = tocsin("config", "show")

    assert result.exit_code == 2
    assert result.stderr.startswith("error: setting topics.partitions: ")
    assert result.stderr.count("\n") == 1


def test_a_config_file_that_is_not_there_is_named() -> None:
    result = tocsin("--config", "nowhere.toml", "config", "show")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "nowhere.toml" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("a"), 2),
        (TocsinError("b"), 1),
        (DataError("c"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_our_errors_print_one_line_and_ctrl_c_none(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("streams.cli.config.start", fail)

    result = tocsin("config", "show")

    assert result.exit_code == code
    assert result.stderr == ("" if code == 130 else f"error: {error}\n")


def test_no_broker_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")

    done = subprocess.run(
        [*MAIN, "produce", "transactions"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: Kafka at 127.0.0.1:1 cannot be reached")
    assert done.stderr.count("\n") == 1


def test_ctrl_c_ends_quietly_with_130() -> None:
    code = (
        "import signal, time\n"
        # A job in the background of a script starts with Ctrl-C ignored, and so do its children.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from streams.cli import config, main\n"
        "config.start = lambda: (print('here', flush=True), time.sleep(60))\n"
        "main.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "config", "show"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"

    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)

    assert (process.returncode, stderr) == (130, "")


def test_exported_schemas_pass_the_check_until_one_is_stale(tmp_path: Path) -> None:
    out = str(tmp_path / "reference")

    assert tocsin("schemas", "export", "--out", out, "--check").exit_code == 1
    assert tocsin("schemas", "export", "--out", out).exit_code == 0
    assert tocsin("schemas", "export", "--out", out, "--check").exit_code == 0

    (tmp_path / "reference" / "alert.schema.json").write_text("{}")
    stale = tocsin("schemas", "export", "--out", out, "--check")
    assert stale.exit_code == 1
    assert "alert.schema.json" in stale.stderr


def test_options_that_contradict_each_other_are_refused() -> None:
    both = tocsin("produce", "transactions", "--rate", "1", "--speed-up", "1")

    assert both.exit_code == 2
    assert "not both" in both.stderr


def test_a_worker_lets_torchs_idle_threads_sleep_before_torch_is_there() -> None:
    told = (
        "import os, sys; from streams.cli.start import let_idle_threads_sleep as sleep;"
        "import streams.cli.worker; sleep();"
        "print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    clean = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for environment, policy in ((clean, "passive"), ({**clean, "OMP_WAIT_POLICY": "a"}, "a")):
        said = subprocess.check_output([sys.executable, "-c", told], env=environment, text=True)
        assert said.split() == [policy, "False"]


def test_cameras_may_stand_in_the_environment_where_no_process_list_shows_them() -> None:
    several = {"TOCSIN_CAMERAS": "gate=sim yard=sim gate=sim:2"}
    result = CliRunner().invoke(app, ["produce", "video"], env=several)

    assert result.exit_code == 2
    assert "two cameras are called 'gate'" in result.stderr
