"""The demo on a terminal: figures above, alerts and what became of them below."""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.align import Align
from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from streams.cli.alerts import SEVERITY_STYLES
from streams.demo.ground import Ground
from streams.demo.run import Demo
from streams.schemas import Alert

_HISTORY = 60
_ROWS = 200
_BARS = "".join(map(chr, range(0x2581, 0x2589)))  # lower one eighth block to full block

_BARS_SHOWN = 14

_CAMERA_ROWS = 6

# One alert a second goes on the list, so that it is still there when its label comes.
_LIST_EVERY_S = 1.0

_VERDICTS = {
    None: Text("pending", "dim"),
    True: Text("fraud", "bold green"),
    False: Text("genuine", "bold yellow"),
}


class ScreenView:
    """Draws the run on the whole terminal, twice a second."""

    every_s = 0.5

    def __init__(self, run: Demo, ground: Ground, console: Console) -> None:
        self._run, self._ground, self._console = run, ground, console
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._alerts: deque[Alert] = deque(maxlen=_ROWS)
        self._listed = 0.0
        self._rates: deque[float] = deque(maxlen=_HISTORY)
        self._latencies: deque[float] = deque(maxlen=_HISTORY)
        self._last = 0, time.monotonic()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the terminal back."""
        self._live.stop()

    def show(self) -> None:
        """Draw the present state."""
        self._observe()
        layout = Layout()
        below = len(self._run.gauges) + 4 + (self._run.dashboard is not None)
        camera = [Layout(self._camera(), size=_CAMERA_ROWS)] if self._run.scenario.cameras else []
        rows = self._console.height - 8 - below - _CAMERA_ROWS * len(camera)
        layout.split_column(
            Layout(self._title(), size=1),
            Layout(name="figures", size=7),
            Layout(self._alert_list(rows), name="alerts"),
            *camera,
            Layout(self._servers(), size=below),
        )
        layout["figures"].split_row(
            Layout(self._throughput()), Layout(self._latency()), Layout(self._detection())
        )
        self._live.update(layout, refresh=True)

    def summary(self) -> None:
        """Print what the run came to, below where the screen was."""
        run, tally, report = self._run, self._run.tally, self._run.report()
        latency = report["latency_ms"]
        self._console.print(
            f"{report['transactions_scored']} of {report['transactions_in']} transactions scored "
            f"in {run.elapsed_s:.0f} s, {tally.alerts} alerts "
            f"(p50 {latency['p50']:.0f} ms, p99 {latency['p99']:.0f} ms after the transaction), "
            f"{tally.confirmed} confirmed as fraud and {tally.dismissed} as genuine so far, "
            f"{report['dead_letters']} dead letters"
        )
        if run.scenario.cameras:
            self._console.print(
                f"{report['frames_in']} frames, {report['frames_detected']} of them through the "
                f"network at {report['detect_ms']:.0f} ms each, {report['frames_dropped']} "
                f"dropped, {report['object_alerts']} object alerts"
            )

    def _observe(self) -> None:
        run, now = self._run, time.monotonic()
        fraud = run.gauges["fraud"]
        scored, (before, then) = fraud.count("tocsin_events_total"), self._last
        if run.began is not None and now - then >= 1.0:
            self._rates.append((scored - before) / (now - then))
            self._latencies.append(fraud.recent_latency.p99)
            self._last = scored, now
        elif run.began is None:
            self._last = scored, now
        fresh = run.newest is not None and (not self._alerts or self._alerts[0] is not run.newest)
        if fresh and run.newest is not None and now - self._listed >= _LIST_EVERY_S:
            self._alerts.appendleft(run.newest)
            self._listed = now

    # -- parts of the screen ------------------------------------------------------------------
    def _title(self) -> RenderableType:
        run = self._run
        title = Table.grid(expand=True)
        title.add_column()
        title.add_column(justify="right")
        when = datetime.fromtimestamp(run.calendar_ms / 1000, UTC)
        clock = f"simulated {when:%d %b %Y}   " if run.calendar_ms else ""
        limit = run.scenario.duration_s
        passed = _clock(run.elapsed_s) + (f" of {_clock(limit)}" if limit else "")
        title.add_row(
            Text.assemble((" TOCSIN ", "bold white on red"), "  fraud and object alerts, live"),
            Text(f"{clock}{passed}   Ctrl-C ends it ", "dim"),
        )
        return title

    def _throughput(self) -> RenderableType:
        run, fraud = self._run, self._run.gauges["fraud"]
        rate = self._rates[-1] if self._rates else 0.0
        return _figures(
            "throughput",
            f"{rate:,.0f} tx/s",
            self._rates,
            "cyan",
            [
                ("scored", f"{fraud.count('tocsin_events_total'):,} of {run.sent.transactions:,}"),
                ("labels", f"{run.gauges['labels'].count('tocsin_events_total'):,}"),
                ("lag", f"{fraud.lag:,} records"),
            ],
        )

    def _latency(self) -> RenderableType:
        recent, whole = (
            self._run.gauges["fraud"].recent_latency,
            self._run.gauges["fraud"].latency,
        )
        return _figures(
            "transaction to alert",
            f"p99 {recent.p99:,.0f} ms",
            self._latencies,
            "magenta",
            [
                ("p50", f"{recent.p50:,.0f} ms"),
                ("whole run", f"{whole.p50:,.0f}, {whole.p99:,.0f} ms"),
                ("restarts", f"{self._run.supervisor.restarts}"),
            ],
        )

    def _detection(self) -> RenderableType:
        tally = self._run.tally
        judged = tally.confirmed + tally.dismissed
        precision = f"{tally.precision:.0%} precision" if judged else "no labels yet"
        return _figures(
            "alerts",
            precision,
            None,
            "green",
            [
                ("raised", f"{tally.alerts:,}"),
                ("confirmed", f"{tally.confirmed:,}, false {tally.dismissed:,}"),
                ("frauds seen", f"{tally.frauds_seen:,}, {tally.recall:.0%} caught"),
            ],
        )

    def _alert_list(self, rows: int) -> RenderableType:
        if not self._alerts:
            waiting = [
                f"{name}: {gauge.not_ready[0]}"
                for name, gauge in self._run.gauges.items()
                if gauge.not_ready
            ]
            if waiting:
                waiting.append("(loading the network takes a while)")
            text = Text("\n".join(waiting) or "no alert yet", "dim", justify="center")
            body: RenderableType = Align.center(text, vertical="middle")
        else:
            table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
            for name, width in (("time", 12), ("severity", 8), ("card", 5), ("terminal", 8)):
                table.add_column(name, width=width, no_wrap=True)
            table.add_column("amount", width=8, justify="right", no_wrap=True)
            table.add_column("score", width=5, no_wrap=True)
            table.add_column("why", ratio=1, no_wrap=True, overflow="ellipsis")
            table.add_column("label", width=7, no_wrap=True)
            for alert in list(self._alerts)[: max(rows - 3, 1)]:
                table.add_row(*self._row(alert))
            body = table
        return Panel(body, title="alerts as they come, one a second", title_align="left")

    def _camera(self) -> RenderableType:
        """What the camera's frames came to, and what goes on before it."""
        run, vision = self._run, self._run.gauges["vision"]
        detected = vision.count("tocsin_frames_total", fate="detected")
        counts = Text.assemble(
            (f"{run.filmed.frames:,} frames", "bold blue"),
            f"   {detected:,} through the network, {run.frames_dropped:,} dropped",
            f"   {vision.mean_ms('tocsin_detect_seconds'):.0f} ms each",
            f"   frame to alert p50 {vision.recent_latency.p50:,.0f} ms",
            f"   {run.tally.things:,} alerts",
        )
        grid = Table.grid(padding=(0, 2))
        ongoing = list(run.tally.ongoing.values())[-(_CAMERA_ROWS - 3) :]
        if not ongoing and run.newest_object is not None:
            ongoing = [run.newest_object]
        for alert in reversed(ongoing):
            grid.add_row(
                Text(f"{datetime.fromtimestamp(alert.updated_at / 1000, UTC):%H:%M:%S}", "dim"),
                Text(alert.severity, SEVERITY_STYLES[alert.severity]),
                Text(alert.status, "bold" if alert.status == "new" else ""),
                str(alert.detail["rule"]),
                "; ".join(reason.text for reason in alert.reasons),
            )
        where = ", ".join(f"{name} ({source})" for name, source in run.scenario.cameras.items())
        return Panel(Group(counts, grid), title=f"camera {where}", title_align="left")

    def _row(self, alert: Alert) -> tuple[RenderableType, ...]:
        when = datetime.fromtimestamp(alert.event_time / 1000, UTC)
        detail = alert.detail
        return (
            Text(f"{when:%d %b %H:%M}", "dim"),
            Text(alert.severity, SEVERITY_STYLES[alert.severity]),
            str(detail["card_id"]),
            str(detail["terminal_id"]),
            f"{detail['amount']:.2f}",
            f"{alert.score:.3f}",
            "; ".join(reason.text for reason in alert.reasons),
            _VERDICTS[self._run.tally.verdict(alert)],
        )

    def _servers(self) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        for name, gauge in self._run.gauges.items():
            state = (
                Text(gauge.not_ready[0], "yellow") if gauge.not_ready else Text("ready", "green")
            )
            grid.add_row(Text(f"{name} worker", "dim"), state, f"{gauge.address}/metrics")
        grid.add_row(
            Text("broker", "dim"),
            Text("ready", "green"),
            f"{self._ground.broker}, topic {self._run.settings.topics.alerts}",
        )
        grid.add_row(Text("redis", "dim"), Text("ready", "green"), self._ground.redis)
        if self._run.dashboard is not None:
            grid.add_row(
                Text("dashboard", "dim"),
                Text("act here", "green"),
                Text(self._run.dashboard, "bold"),
            )
        return Panel(grid, title="running", title_align="left", border_style="dim")


def _clock(seconds: float) -> str:
    return "{:02d}:{:02d}".format(*divmod(int(seconds), 60))


def _figures(
    title: str,
    headline: str,
    history: deque[float] | None,
    style: str,
    rows: list[tuple[str, str]],
) -> RenderableType:
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(no_wrap=True)
    head.add_column(no_wrap=True, justify="right", overflow="crop", ratio=1)
    head.add_row(Text(headline, f"bold {style}"), Text(_sparkline(history or ()), style))
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(width=max(len(name) for name, _ in rows), no_wrap=True)
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for name, value in rows:
        grid.add_row(Text(name, "dim"), value)
    return Panel(Group(head, "", grid), title=title, title_align="left", border_style="dim")


def _sparkline(values: deque[float] | tuple[()]) -> str:
    """Draw the last values as bars; the highest fills its line."""
    recent = list(values)[-_BARS_SHOWN:]
    top = max(recent, default=0.0)
    return "".join(_BARS[min(7, int(8 * value / top))] for value in recent) if top else ""
