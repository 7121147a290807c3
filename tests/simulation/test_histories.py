"""Histories under faults break no promise, and the same seed plays the same one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from streams.errors import Fenced
from streams.metrics import Metrics
from streams.pipeline import loss
from streams.simulation import worker
from streams.simulation.faults import BY_CALL, BY_TICK
from streams.simulation.history import History
from streams.simulation.run import KINDS, simulate

PRINT_TRACES = """
import sys, pytest
from tests.simulation import planted
if len(sys.argv) > 1:
    getattr(planted, sys.argv[1])(pytest.MonkeyPatch())
from streams.metrics import Metrics
from streams.simulation.history import History
for seed in range(12):
    outcome = History(seed, Metrics("test")).run()
    print(outcome.violated, outcome.message, outcome.trace.text())
"""


def test_no_history_breaks_the_contract_and_every_kind_of_fault_hits() -> None:
    found = simulate(100_000, 100).table()

    assert found["failed"] == []
    assert not any(found[kind] for kind in KINDS)
    assert found["faults"].keys() == BY_TICK.keys() | BY_CALL.keys() | {"lease ran out"}
    assert found["process_ends"].keys() >= {"Fenced", "stopped"}
    assert found["histories"] == 100
    assert found["events"] > 10_000
    assert found["duplicates"] > 0
    assert min(found["flushes"], found["commits"]) > 500


@pytest.mark.parametrize("loses", [True, False])
def test_a_worker_takes_its_state_for_lost_where_redis_loses_some_and_nowhere_else(
    loses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    noticed = Counter[str]()

    async def counted(*args: Any, **options: Any) -> None:
        try:
            await loss.notice_loss(*args, **options)
        except Fenced as error:
            noticed[str(error)] += 1
            raise

    monkeypatch.setattr(worker, "notice_loss", counted)
    if not loses:
        for kind in ("redis emptied", "redis rolled back"):
            monkeypatch.setitem(BY_TICK, kind, 0.0)
    found = simulate(200_000, 25).table()

    assert found["failed"] == []
    assert found["process_ends"]["Fenced"] > 0
    assert bool(noticed) == loses, noticed


@pytest.mark.parametrize("bug", [(), ("replays_applied_again",)])
def test_the_same_seed_gives_the_same_trace_in_another_process_byte_by_byte(
    bug: tuple[str, ...],
) -> None:
    traces = [
        subprocess.run(
            [sys.executable, "-c", PRINT_TRACES, *bug],
            check=True,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]

    assert traces[0] == traces[1]
    assert traces[0].count(b"\n") > 100
    assert (b"double_applied" in traces[0]) == bool(bug)


def test_another_seed_gives_another_trace() -> None:
    metrics = Metrics("test")

    assert len({History(seed, metrics).run().trace.text() for seed in range(5)}) == 5


def test_a_history_does_not_depend_on_those_before_it() -> None:
    metrics = Metrics("test")
    first = History(3, metrics).run()
    for seed in range(4, 8):
        History(seed, metrics).run()

    assert History(3, metrics).run().trace.text() == first.trace.text()


def test_a_report_sums_up_its_histories() -> None:
    metrics = Metrics("test")
    alone = [History(seed, metrics).run() for seed in range(7, 10)]
    found = simulate(7, 3).table()

    assert found["events"] == sum(outcome.events for outcome in alone)
    assert found["faults"] == dict(sum((outcome.faults for outcome in alone), Counter[str]()))
    assert found["faults_injected"] == sum(found["faults"].values())


def test_several_processes_find_what_one_finds() -> None:
    alone, beside = simulate(40, 6).table(), simulate(40, 6, processes=2).table()
    assert alone.pop("seconds") > 0
    assert beside.pop("seconds") > 0
    assert alone == beside
