"""The vision worker with a detector of bright rectangles in place of a network.

A program: ``python vision_worker.py [options]``, settings by environment as for `tocsin worker
vision`. Nothing else is replaced; with options it is slow, or dies where it is told.

    --pace S          take S seconds over each batch, and print ``begin`` and ``end`` of it
    --die-at WHERE:N  SIGKILL itself ``before-flush``, ``after-flush`` (alerts stored, not
                      published) or ``after-publish`` (not acknowledged) for the N-th flush that
                      stores alerts
    --device WHAT:N:K have the network fail from its N-th run on, K times (see `slow_worker`)
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import Any

import streams.app.vision
import streams.worker
from streams.app.agent import Agent
from streams.app.build import build_agent
from streams.cli.start import start
from streams.pipeline.delivery import Delivery
from streams.state.outbox import OUTBOX_KEY, outbox_blob
from tests.chaos.slow_worker import Countdown, FailingDevice, pause
from tests.fakes.blobs import BlobDetector, load_blobs

_EMPTY = outbox_blob([])[1]


class SlowDetector:
    """Takes its time to infer."""

    def __init__(self, inner: Any, pace_s: float) -> None:
        self._inner, self._pace_s = inner, pace_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def infer(self, prepared: Any) -> Any:
        if self._pace_s:
            print("begin", flush=True)
            pause(self._pace_s)
        outcome = self._inner.infer(prepared)
        if self._pace_s:
            print("end", flush=True)
        return outcome


class DyingStore:
    """Ends the process around a flush that stores alerts."""

    def __init__(self, inner: Any, death: Countdown) -> None:
        self._inner, self._death = inner, death

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def flush(self, snapshot: Any) -> None:
        holds = any(key == OUTBOX_KEY and value != _EMPTY for key, value in snapshot.blobs)
        if holds:
            self._death.at("before-flush")
        self._inner.flush(snapshot)
        if holds:
            self._death.at("after-flush")


def main() -> int:
    """Run the worker; return its exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pace", type=float, default=0.0)
    parser.add_argument("--die-at", default="")
    parser.add_argument("--device", default="")
    options = parser.parse_args()
    if options.device:
        core = FailingDevice(options.device).wrap(BlobDetector.core)
        BlobDetector.core = core  # type: ignore[method-assign]
    death = Countdown(options.die_at)
    streams.app.vision.load_network = load_blobs  # type: ignore[assignment]

    def build(*args: Any) -> Agent:
        agent = build_agent(*args)
        detector: Any = SlowDetector(agent.detector, options.pace)
        store: Any = DyingStore(agent.store, death)
        return dataclasses.replace(agent, detector=detector, store=store)

    release = Delivery._release

    async def publish_and_die(self: Delivery, outcomes: Any) -> None:
        await release(self, outcomes)
        if any(outcome.held for outcome in outcomes):
            death.at("after-publish")

    Delivery._release = publish_and_die  # type: ignore[method-assign]
    streams.worker.build_agent = build  # type: ignore[assignment, attr-defined]
    return streams.worker.Worker("vision", start()).run()


if __name__ == "__main__":
    sys.exit(main())
