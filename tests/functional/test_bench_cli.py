"""`tocsin bench` as a user runs it, small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.cli.main import app
from tests.conftest import Stack

COMMAND = [sys.executable, "-c", "from streams.cli.main import main; main()", "bench"]


def bench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.mark.parametrize("command", ["fraud", "latency", "memory", "video"])
def test_without_apache_kafka_it_says_in_one_line_how_to_get_it(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # .cache/kafka is looked for where the command is run

    result = CliRunner().invoke(app, ["bench", command])

    said = result.output.strip().splitlines()
    assert result.exit_code == 1
    assert len(said) == 1
    assert "make kafka" in said[0] or "java" in said[0]


@pytest.mark.long
def test_the_three_systems_raise_the_same_alerts_and_are_put_side_by_side(
    real_stack: Stack, tmp_path: Path
) -> None:
    pytest.importorskip("confluent_kafka")
    report = tmp_path / "fraud.json"
    done = bench(
        "fraud",
        *("--count", "20000", "--faust-count", "5000", "--cold-cards", "5000", "--runs", "1"),
        *("--bootstrap", real_stack.bootstrap, "--redis", real_stack.redis_url),
        *("--report", str(report)),
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert found["tocsin"]["events"] == found["loop"]["events"] == 20_000
    assert found["tocsin"]["alerts"] == found["loop"]["alerts"] > 0
    for system in ("tocsin", "faust", "loop"):
        assert found[system]["events_per_s"] > 0
        assert found[system]["cpu_s_per_million"] > 0
        assert found[system]["peak_rss_mib"] > 100
    assert found["ratio_faust"] > 1
    assert found["cold_cards"]["events"] == 5000
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"]
    assert "plain Faust" in done.stdout


@pytest.mark.long
def test_latency_is_told_beside_that_of_a_bare_producer_and_consumer(
    real_stack: Stack, tmp_path: Path
) -> None:
    report = tmp_path / "latency.json"
    done = bench(
        "latency",
        *("--seconds", "3", "--runs", "1"),
        *("--bootstrap", real_stack.bootstrap, "--redis", real_stack.redis_url),
        *("--report", str(report)),
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert len(found["runs"]) == 1
    assert 0 < found["p50_ms"] <= found["p99_ms"]
    assert found["bare_p99_ms"] > 0
    assert 0 < found["worker_cores"] < 4


@pytest.mark.long
def test_cards_beyond_the_capacity_come_back_right(
    real_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_FRAUD__CAPACITY", "40000")
    report = tmp_path / "memory.json"
    done = bench(
        "memory",
        *("--minutes", "0.15", "--count", "60000"),
        *("--bootstrap", real_stack.bootstrap, "--redis", real_stack.redis_url),
        *("--report", str(report)),
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert found["evicted"] > 0
    assert found["rows"] <= found["capacity"] == 40_000
    assert found["checked_cards"] > 0
    assert found["wrong_cards"] == 0
    assert found["rss_mib"]["peak"] >= found["rss_mib"]["start"] > 0
