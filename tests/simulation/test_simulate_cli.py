"""`tocsin simulate`: the report, the trace, and how a failing seed is told."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner, Result

from streams.cli.main import app
from streams.simulation.world import Shape
from tests.simulation.planted import acknowledged_before_the_flush


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["simulate", *arguments])


def test_a_run_without_a_violation_reports_what_it_has_seen(tmp_path: Path) -> None:
    report, trace = tmp_path / "report.json", tmp_path / "trace.txt"
    result = run(
        *("--seed", "5", "--histories", "3", "--report", str(report), "--trace", str(trace))
    )

    assert result.exit_code == 0, result.output
    found = json.loads(report.read_text())
    fields = {"histories", "faults", "events", "lost", "double_applied", "invented"}
    assert fields <= found.keys()
    assert (found["histories"], found["first_seed"], found["lost"]) == (3, 5, 0)
    assert found["events"] > 0
    assert "start w0.1" in trace.read_text().splitlines()[0]


def test_a_failing_seed_is_told_with_the_command_that_replays_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledged_before_the_flush(monkeypatch)
    report = tmp_path / "report.json"
    result = run("--seed", "0", "--histories", "2", "--report", str(report))

    assert result.exit_code == 1
    assert "seed 0: early_commits: partition" in result.output
    replay = 'make simulate ARGS="--seed 0 --histories 1 --trace trace.txt"'
    assert replay in result.output
    (first, *_) = json.loads(report.read_text())["failed"]
    traces = []
    for name in ("a", "b"):
        path = tmp_path / name
        again = run("--seed", "0", "--histories", "1", "--trace", str(path))
        assert f"seed 0: {first['kind']}: {first['message']}" in again.output
        traces.append(path.read_bytes())
    assert traces[0] == traces[1]


def test_large_histories_have_more_events_each(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    result = run("--seed", "31", "--histories", "1", "--large", "--report", str(report))

    assert result.exit_code == 0, result.output
    assert json.loads(report.read_text())["events"] > 20_000


def test_small_histories_leave_the_large_ones_out(tmp_path: Path) -> None:
    large = next(seed for seed in range(1000) if Shape.draw(Random(seed)).events >= 20_000)
    report = tmp_path / "report.json"
    result = run("--seed", str(large), "--histories", "1", "--small", "--report", str(report))

    assert result.exit_code == 0, result.output
    assert json.loads(report.read_text())["events"] < 1_000


def test_a_run_ends_when_its_time_is_over() -> None:
    assert run("--histories", "1000000", "--seconds", "1").exit_code == 0
