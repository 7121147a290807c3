"""The demo as plain lines, for pipes and logs."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console

from streams.cli.alerts import one_line
from streams.demo.ground import Ground
from streams.demo.run import Demo
from streams.schemas import Alert


class LineView:
    """A line on the state of things every two seconds, with the newest alert below it."""

    every_s = 2.0

    def __init__(self, run: Demo, ground: Ground, console: Console) -> None:
        self._run, self._ground, self._console = run, ground, console
        self._shown: Alert | None = None
        self._shown_object: Alert | None = None
        self._state = ""
        self._last = 0, time.monotonic()

    def __enter__(self) -> Self:
        self._print(f"broker {self._ground.broker}, redis {self._ground.redis}")
        for name, gauge in self._run.gauges.items():
            self._print(f"{name} worker: {gauge.address}/readyz {gauge.address}/metrics")
        if self._run.dashboard is not None:
            self._print(f"dashboard: {self._run.dashboard}")
        topic = self._run.settings.topics.alerts
        self._print(f"alerts: topic {topic} on {self._run.settings.kafka.bootstrap_servers}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to put back."""

    def show(self) -> None:
        """Print one line, and the newest alert."""
        run, now = self._run, time.monotonic()
        if run.began is None:
            waits = [f"{name} {g.not_ready[0]}" for name, g in run.gauges.items() if g.not_ready]
            state = f"waiting: {', '.join(waits)}" if waits else "ready"
            if state != self._state:
                self._print(state)
            self._state = state
            return
        fraud, tally = run.gauges["fraud"], run.tally
        scored = fraud.count("tocsin_events_total")
        rate = (scored - self._last[0]) / max(now - self._last[1], 1e-3)
        self._last = scored, now
        latency = fraud.recent_latency
        self._print(
            f"{run.elapsed_s:5.0f} s  {rate:6.0f} tx/s  scored {scored}  lag {fraud.lag}  "
            f"latency p50 {latency.p50:.0f} ms p99 {latency.p99:.0f} ms  alerts {tally.alerts}  "
            f"confirmed {tally.confirmed}  false {tally.dismissed}  "
            f"precision {tally.precision:.2f}  frauds seen {tally.frauds_seen}"
        )
        if run.newest is not None and run.newest is not self._shown:
            self._shown = run.newest
            self._console.print("      ", one_line(run.newest), soft_wrap=True)
        if run.scenario.cameras:
            self._show_video(run)

    def _show_video(self, run: Demo) -> None:
        vision = run.gauges["vision"]
        counts = [
            f"{fate} {vision.count('tocsin_frames_total', fate=fate)}"
            for fate in ("detected", "still")
        ]
        self._print(
            f"        camera: {run.filmed.frames} frames  {'  '.join(counts)}  "
            f"dropped {run.frames_dropped}  {vision.mean_ms('tocsin_detect_seconds'):.0f} ms each  "
            f"latency p50 {vision.recent_latency.p50:.0f} ms  alerts {run.tally.things}  "
            f"going on {len(run.tally.ongoing)}"
        )
        newest = run.newest_object
        if newest is not None and newest is not self._shown_object:
            self._shown_object = newest
            self._console.print("      ", one_line(newest), soft_wrap=True)

    def summary(self) -> None:
        """Print the figures of the run."""
        for name, value in self._run.report().items():
            self._print(f"{name}: {value}")

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False)
