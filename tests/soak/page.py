"""What a soak has shown, as a page."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streams.bench.memory import Course
from tests.chaos.table import played_at
from tests.chaos.watch import Watch
from tests.soak.check import Verdict
from tests.soak.servers import Life, Recovery

HEADER = """\
<!-- Written by `make soak`; edits are lost. -->
# Soak

What the last run of `make soak` has shown: payments and cameras for a long time on a real Apache
Kafka and a real Redis, while one random fault after another befalls the workers and their servers.
Several times a second Kafka's commits and then the markers in Redis are read: nothing that is not
stored may be committed. At the end the payments that every card's row has counted are compared with
the topic, and every alert must be of a payment that is there. A sample, one card in fifty, is
computed anew by an independent program, one payment at a time: its memory, scores and alerts must
be those. Each person who walked past a camera must have been told of once, from start to end.

"""
FAULTS = """\
Recovery is the time from the end of the fault (a process killed, a server back) until the commit of
every partition has moved: of `transactions` and `frames` where a server was hit, else of what the
worker reads. *No hit*: nothing was in flight where the fault was, or nothing shows that it hit.

| fault | hit | no hit | recovery p50 | p99 | most | promised |
|---|---|---|---|---|---|---|
"""
MEMORY = """\
The process of each kind that lived longest, from 40 to 70 % of its life, and after: the most memory
that it had; the least threads and open files, to which it comes back after each fault.

| worker | lived | memory | trend | threads | files |
|---|---|---|---|---|---|
"""


class Demands:
    """What a run must show, in the order in which it is asked; see `outcome`."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.unasked: list[str] = []

    def that(self, holds: bool, what: str, told: object = "") -> None:
        """Demand something; `told` says for the log what was there instead."""
        if not holds:
            self.failed.append(what)
            print(f"FAILED: {what}: {told}", flush=True)

    def skip(self, what: str) -> None:
        """Say that something was not asked; the outcome says so too."""
        self.unasked.append(what)

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Demand that no assertion within fails."""
        try:
            yield
        except AssertionError as error:
            self.that(False, what, error)

    def outcome(self) -> str:
        """The outcome, as a paragraph."""
        unasked = "".join(f" Not asked: {what}." for what in self.unasked)
        if self.failed:
            return f"**Failed**: {'; '.join(self.failed)}.{unasked}\n"
        return f"**Passed**: every demand of the run held.{unasked}\n"


def write_unfinished(path: Path, minutes: float, seed: int, error: BaseException) -> None:
    """Write the page of a run that ended before there was anything to compare."""
    words = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": .")
    path.write_text(
        f"{HEADER}**Failed**: a run of {minutes:.0f} minutes, seed {seed}, ended before its whole "
        f"was compared ({words}).\n"
    )


@dataclass(frozen=True)
class Footprint:
    """What a process that lived long took, at the end of its warm-up and at the end."""

    role: str
    minutes: float
    rss_mib: tuple[float, float]
    slope_mib_per_min: float
    threads: tuple[int, int]
    files: tuple[int, int]

    @classmethod
    def of(cls, life: Life) -> Footprint:
        """Sum up; the most that it had in each half of its settled time."""
        times, rss, threads, files = (
            np.array(column) for column in zip(*life.samples, strict=True)
        )
        settled = times >= times[0] + 0.4 * (times[-1] - times[0])
        late = times >= times[0] + 0.7 * (times[-1] - times[0])
        halves = (settled & ~late, late)
        course = Course.of([(float(at), float(mib)) for at, mib in zip(times, rss, strict=True)])

        def most(values: np.ndarray) -> tuple[float, float]:
            first, last = (float(values[half].max()) for half in halves)
            return first, last

        def least(values: np.ndarray) -> tuple[int, int]:
            first, last = (int(values[half].min()) for half in halves)
            return first, last

        return cls(
            role=life.role,
            minutes=float(times[-1] - times[0]) / 60,
            rss_mib=most(rss),
            slope_mib_per_min=course.slope_mib_per_min,
            threads=least(threads),
            files=least(files),
        )


@dataclass
class Story:
    """Everything that the page tells."""

    minutes: float
    seed: int
    verdict: Verdict
    recoveries: Sequence[Recovery]
    watches: Mapping[str, Watch]
    restarts: int
    footprints: Sequence[Footprint]
    ceiling_mib: float
    redis_keys: int
    passages: int
    frames: int
    object_alerts: int
    object_repeated: int

    def write(self, path: Path, demands: Demands) -> None:
        """Write the page; call it last, for it says how the run came out."""
        told = self._events() + self._faults() + self._memory()
        path.write_text(f"{HEADER}{demands.outcome()}\n{told}")

    def _events(self) -> str:
        found = self.verdict
        told = found.report
        facts = {
            "payments": f"{found.payments:,}",
            "cards, all counts compared": f"{found.cards:,}",
            "payments lost": f"{found.lost}",
            "payments applied twice": f"{found.applied_twice}",
            "rows that no payment accounts for": f"{found.invented_rows}",
            "moments in which a commit had moved": f"{self._moves():,}",
            "commits of what was not stored": f"{self._ahead():,}",
            "sampled cards, computed anew": f"{found.sampled_cards:,}",
            "payments of the sampled cards": f"{found.sampled_payments:,}",
            "differences in those": f"{sum(told.problems.values())}",
            "largest difference of a score": f"{told.score_error:.1e}",
            "alerts that rounding decided": f"{told.borderline}",
            "alerts": f"{found.alerts:,}",
            "alerts of no payment of their card": f"{len(found.baseless_alerts):,}",
            "alerts that came again under their `event_id`": f"{found.repeated_alerts:,}",
            "dead letters, each as it was sent": f"{found.dead_letters:,}",
            "dead letters that came again": f"{told.repeated_letters:,}",
            "frames": f"{self.frames:,}",
            "people who walked past a camera": f"{self.passages:,}",
            "object alerts, each told from start to end": f"{self.object_alerts:,}",
            "messages of them that came again": f"{self.object_repeated:,}",
        }
        where = f"Python {platform.python_version()}, Linux {platform.release()}, {played_at()}"
        rows = "".join(f"| {name} | {value} |\n" for name, value in facts.items())
        return (
            f"{self.minutes:.0f} minutes, {len(self.recoveries)} faults, seed {self.seed}, {where}."
            f"\n\n| | |\n|---|---|\n{rows}\n"
        )

    def _moves(self) -> int:
        return sum(watch.moves for watch in self.watches.values())

    def _ahead(self) -> int:
        return sum(len(watch.ahead()) for watch in self.watches.values())

    def _faults(self) -> str:
        rows = []
        for kind in sorted({one.kind for one in self.recoveries}):
            mine = [one for one in self.recoveries if one.kind == kind]
            seconds = [one.seconds for one in mine if one.seconds is not None]
            times = [*np.percentile(seconds, [50, 99]), max(seconds)] if seconds else []
            within = f"{mine[0].within_s:.0f} s" if mine[0].within_s else ""
            cells = [f"{value:.1f} s" for value in times] or [""] * 3
            missed = len(mine) - len(seconds)
            rows.append(
                f"| {kind} | {len(seconds)} | {missed} | {' | '.join(cells)} | {within} |\n"
            )
        ended = f"{self.restarts} times a worker ended by itself, and was started again.\n\n"
        return f"{FAULTS}{''.join(rows)}\n{ended}"

    def _memory(self) -> str:
        rows = [
            f"| {one.role.partition('-')[0]} | {one.minutes:.0f} min "
            f"| {one.rss_mib[0]:.0f}, {one.rss_mib[1]:.0f} MiB "
            f"| {one.slope_mib_per_min:+.2f} MiB/min "
            f"| {one.threads[0]}, {one.threads[1]} | {one.files[0]}, {one.files[1]} |\n"
            for one in self.footprints
        ]
        most = f"No worker ever had more than {self.ceiling_mib:,.0f} MiB"
        return f"{MEMORY}{''.join(rows)}\n{most}; Redis held {self.redis_keys:,} keys at the end.\n"
