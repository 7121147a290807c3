"""A worker that is slow enough to be hit in the middle of a batch, or that dies where it is told.

A program: ``python slow_worker.py [options]``, settings by environment as for `tocsin worker
fraud`. It is the same worker; only its detector and its store are wrapped.

    --pace FILE       take as many seconds over each batch as the file says at the time
    --marks FILE      append ``begin N`` and ``end N`` around the inference of batch N
    --start-when FILE import everything, then stand by until the file exists
    --die-at WHERE:N  SIGKILL itself ``before-flush`` (published, not stored) or ``after-flush``
                      (stored, not acknowledged) for the N-th time
    --device WHAT:N:K have the network fail from its N-th run on, K times: ``raises``,
                      ``runs-out-of-memory``, ``is-not-a-number``, ``hangs``; writes ``fault``
    --poison AMOUNT   have it fail whenever the batch holds a payment of this amount
    --without-guard   apply what a row has seen before again: a bug for the checker to find
    --acknowledge-early  before anything is stored, which takes its time: another bug for it
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import streams.worker
from models.fraud.network import FraudNetwork
from streams.app.agent import Agent
from streams.app.build import build_agent
from streams.cli.start import start
from streams.pipeline.delivery import Delivery
from streams.pipeline.job import Job
from streams.state.table import EntityTable


def pause(seconds: float) -> None:
    """Sleep in a way that libfaketime understands; it breaks the one of `time`."""
    select.select([], [], [], seconds)


class Countdown:
    """Ends the process, as a power cut would, at the N-th call for its place."""

    def __init__(self, spec: str) -> None:
        self._place, _, number = spec.partition(":")
        self._left = int(number or 0)

    def at(self, place: str) -> None:
        """Count a call; the last one does not return."""
        if place == self._place:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class SlowDetector:
    """A detector that takes its time to infer, and writes down when it begins and ends."""

    def __init__(self, inner: Any, pace: Path, marks: Path, poison: float) -> None:
        self._inner, self._pace, self._poison = inner, pace, poison
        self._marks = marks.open("ab", buffering=0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def infer(self, prepared: Any) -> Any:
        number, pause_s = prepared.batch.sequence, float(self._pace.read_text())
        self._marks.write(b"begin %d\n" % number)
        pause(pause_s / 2)
        if any(payment.amount == self._poison for payment in prepared.transactions):
            print("fault poison", flush=True)
            raise RuntimeError("poison")
        outcome = self._inner.infer(prepared)
        pause(pause_s / 2)
        self._marks.write(b"end %d\n" % number)
        return outcome


class FailingDevice:
    """What a network runs on, failing where ``WHAT:N:K`` says; probes go through it as well."""

    def __init__(self, spec: str) -> None:
        self._what, first, times = spec.split(":")
        self._failing = range(int(first), int(first) + int(times))
        self._runs = 0

    def wrap(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """`run`, but for the times that it fails."""

        def failing(*inputs: Any) -> Any:
            self._runs += 1
            if self._runs not in self._failing:
                return run(*inputs)
            print("fault", self._what, flush=True)
            if self._what == "runs-out-of-memory":
                raise torch.OutOfMemoryError("planted")
            if self._what == "hangs":
                pause(3600)
            if self._what == "is-not-a-number":
                score, *rest = run(*inputs)
                return score * float("nan"), *rest
            raise RuntimeError("planted")

        return failing


class DyingStore:
    """A store that takes its time, and ends the process before or after a flush."""

    def __init__(self, inner: Any, death: Countdown, pause_s: float) -> None:
        self._inner, self._death, self._pause_s = inner, death, pause_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def flush(self, snapshot: Any) -> None:
        self._death.at("before-flush")
        pause(self._pause_s)
        self._inner.flush(snapshot)
        self._death.at("after-flush")


FLUSH_S = 0.4
"""Of a partition, where it is acknowledged before: a commit, every 0.3 s, falls into it."""


def acknowledge_early() -> None:
    """Have every delivery acknowledge first, and flush then."""
    flush = Delivery._flush

    async def nothing(event: Any) -> None:
        del event

    async def flush_late(self: Delivery, jobs: list[Job]) -> None:
        acknowledge = self._acknowledge
        assert acknowledge is not None
        for job in jobs:
            for event in job.events:
                await acknowledge(event)
        self._acknowledge = nothing
        await flush(self, jobs)
        self._acknowledge = acknowledge

    Delivery._flush = flush_late  # type: ignore[method-assign]


def main() -> int:
    """Run the worker; return its exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pace", type=Path, required=True)
    parser.add_argument("--marks", type=Path, required=True)
    parser.add_argument("--start-when", type=Path)
    parser.add_argument("--die-at", default="")
    parser.add_argument("--device", default="")
    parser.add_argument("--poison", type=float, default=-1.0)
    parser.add_argument("--without-guard", action="store_true")
    parser.add_argument("--acknowledge-early", action="store_true")
    options = parser.parse_args()
    death = Countdown(options.die_at)

    def build(*args: Any) -> Agent:
        agent = build_agent(*args)
        detector: Any = SlowDetector(agent.detector, options.pace, options.marks, options.poison)
        late_s = FLUSH_S if options.acknowledge_early else 0.0
        store: Any = DyingStore(agent.store, death, late_s)
        return dataclasses.replace(agent, detector=detector, store=store)

    streams.worker.build_agent = build  # type: ignore[assignment, attr-defined]
    if options.device:
        device = FailingDevice(options.device)
        FraudNetwork.trace = device.wrap(FraudNetwork.trace)  # type: ignore[method-assign]
    if options.without_guard:
        EntityTable.offsets = lambda _, rows: np.full(len(rows), -1)  # type: ignore[assignment, method-assign]
    if options.acknowledge_early:
        acknowledge_early()
    if options.start_when is not None:
        print("standing by", flush=True)
        while not options.start_when.exists():
            time.sleep(0.02)
    return streams.worker.Worker("fraud", start()).run()


if __name__ == "__main__":
    sys.exit(main())
