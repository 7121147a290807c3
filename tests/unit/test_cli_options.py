"""Durations, dates, reports and the alert one-liner."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from streams.alerts.envelope import build_fraud_alert
from streams.alerts.explanation import Explanation
from streams.cli.alerts import one_line
from streams.cli.main import app
from streams.cli.options import duration_ms, moment_ms, writable, write_report
from streams.errors import SettingsError
from streams.schemas import ModelRef, Reason, Source, Transaction


@pytest.mark.parametrize(
    ("text", "expected"),
    [("7d", 604_800_000), ("1.5h", 5_400_000), ("30m", 1_800_000), ("90s", 90_000), ("0d", 0)],
)
def test_a_duration_has_a_unit(text: str, expected: int) -> None:
    assert duration_ms(text) == expected


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "7 days", "1w"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        duration_ms(text)


@pytest.mark.parametrize(
    "text", ["2018-04-01", "2018-04-01T00:00", "2018-04-01T02:00+02:00", "2018-04-01T00:00Z"]
)
def test_a_date_without_a_zone_is_utc(text: str) -> None:
    assert moment_ms(text) == 1_522_540_800_000


def test_what_is_no_date_is_refused() -> None:
    with pytest.raises(typer.BadParameter):
        moment_ms("yesterday")


def test_a_report_is_one_json_object(tmp_path: Path) -> None:
    write_report(tmp_path / "r.json", {"auc": 0.5})
    write_report(None, {"auc": 0.5})

    assert json.loads((tmp_path / "r.json").read_text()) == {"auc": 0.5}


def test_what_has_no_meaning_is_null_in_a_report(tmp_path: Path) -> None:
    nan = float("nan")
    found = {"auc": nan, "std": {"ap": float("inf")}, "curve": [(0.5, nan)], "count": 3}
    write_report(tmp_path / "r.json", found)
    text = (tmp_path / "r.json").read_text()
    assert msgspec.json.decode(text) == {  # JSON has no nan, and this reader takes none
        "auc": None,
        "std": {"ap": None},
        "curve": [[0.5, None]],
        "count": 3,
    }


def test_a_report_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot write --report"):
        write_report(tmp_path / "no" / "r.json", {})


def commands(command: Any, *names: str) -> Iterator[tuple[list[str], Any]]:
    """Every command of the command line with its path."""
    if hasattr(command, "list_commands"):
        for name in command.list_commands(None):
            yield from commands(command.get_command(None, name), *names, name)
    else:
        yield list(names), command


REPORTING = [
    path
    for path, command in commands(typer.main.get_command(app))
    if any("--report" in parameter.opts for parameter in command.params)
]


def test_several_commands_write_a_report() -> None:
    assert {path[0] for path in REPORTING} >= {"evaluate", "bench", "demo"}


@pytest.mark.parametrize("command", REPORTING, ids="_".join)
def test_no_command_works_for_a_report_that_cannot_be_written(
    command: list[str], tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.write_text("kept")
    for place, why in (
        (tmp_path, "it is a folder, name a file in it"),
        (tmp_path / "no" / "r.json", "is no folder"),
        (kept / "r.json", "is no folder"),
        (Path("/proc/r.json"), "cannot write --report /proc/r.json: "),
    ):
        refused = CliRunner().invoke(app, [*command, "--report", str(place)])
        assert refused.exit_code == 2
        assert refused.stderr.startswith(f"error: cannot write --report {place}: ")
        assert why in refused.stderr
        assert refused.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [kept]


def test_a_place_that_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text("{}")
    assert (writable(old), writable(new), writable(None)) == (old, new, None)
    assert old.read_text() == "{}"
    assert not new.exists()


def test_an_alert_reads_as_one_line() -> None:
    alert = build_fraud_alert(
        Transaction("17", "[red]596", "3156", 57.16, "EUR", 1522540831000),
        source=Source("transactions", 2, 41),
        score=0.9,
        threshold=0.4,
        model=ModelRef("fraud", "1", "abc"),
        processed_at=1522540831123,
        explanation=Explanation([Reason("terminal", "3 frauds at this terminal", 0.4)], 0.97),
    )

    assert one_line(alert).plain == (
        "2018-04-01 00:00:31 critical fraud new [red]596 score 0.900 (threshold 0.400)"
        " 57.16 EUR at 3156: 3 frauds at this terminal"
    )
    late = msgspec.structs.replace(alert, rebuilding=True, reasons=[])
    assert one_line(late).plain.endswith("at 3156 (rebuilding)")
