"""`tocsin label` without a broker: what contradicts itself is one line."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from streams.cli.main import app

NAMED = ["--tx-id", "9", "--card", "c", "--terminal", "m", "--amount", "3.5"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fraud"], "name alerts, or a --file, or a transaction"),
        (["a", "--file", "x.csv"], "one of them"),
        (["a"], "say what it was"),
        (["a", "--fraud", "--genuine"], "exclude each other"),
        (["--file", "x.csv", "--fraud"], "the verdicts are in the --file"),
        (["--tx-id", "9", "--fraud"], "--card is missing"),
        (["--file", "missing.csv"], "cannot read missing.csv"),
        ([*NAMED, "--event-time", "2020-01-01", "--fraud"], "labels.horizon_days is 180"),
    ],
)
def test_what_contradicts_itself_is_one_line(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["label", *arguments])
    assert done.exit_code in {1, 2}
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_dry_run_needs_no_broker_for_a_transaction() -> None:
    when = ["--event-time", "2018-05-01T12:00", "--at", "2018-05-03"]
    done = CliRunner().invoke(app, ["label", *NAMED, *when, "--withdraw", "--dry-run"])
    assert done.exit_code == 0, done.output
    label = json.loads(done.stdout)
    assert (label["event_time"], label["is_fraud"]) == (1_525_176_000_000, None)
