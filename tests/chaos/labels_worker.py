"""The labels worker, slow enough to be hit in the middle of a batch, or dying where it is told.

A program: ``python labels_worker.py [options]``, settings by environment as for `tocsin worker
labels`. Nothing is replaced.

    --pace S          take S seconds over each batch, and print ``begin`` and ``end`` of it
    --die-at WHERE:N  SIGKILL itself ``before-flush`` or ``after-flush`` for the N-th time
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import Any

import streams.worker
from streams.app.agent import Agent
from streams.app.build import build_agent
from streams.cli.start import start
from tests.chaos.slow_worker import Countdown, DyingStore
from tests.chaos.vision_worker import SlowDetector


def main() -> int:
    """Run the worker; return its exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pace", type=float, default=0.0)
    parser.add_argument("--die-at", default="")
    options = parser.parse_args()

    def build(*args: Any) -> Agent:
        agent = build_agent(*args)
        detector: Any = SlowDetector(agent.detector, options.pace)
        store: Any = DyingStore(agent.store, Countdown(options.die_at), 0.0)
        return dataclasses.replace(agent, detector=detector, store=store)

    streams.worker.build_agent = build  # type: ignore[assignment, attr-defined]
    return streams.worker.Worker("labels", start()).run()


if __name__ == "__main__":
    sys.exit(main())
