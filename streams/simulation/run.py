"""Many histories one after another, and the report of them."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from itertools import chain
from typing import Any, Final

from streams.metrics import Metrics
from streams.simulation.history import History, Outcome

KINDS: Final = (
    "lost",
    "double_applied",
    "reordered",
    "invented",
    "early_commits",
    "stuck",
    "broken",
)
"""What a history can end of; each is a field of the report, of 0 where the contract held.

Events lost, applied twice or in another order; alerts or dead letters that nothing asks for;
commits ahead of what is stored and published; no end; an exception that no worker may end of.
"""

GIVE_UP_AFTER: Final = 10
"""Seeds that fail; more would say the same."""


ROUND: Final = 200
"""Seeds handed out to processes at once: all of a hundred million do not fit into memory."""


class Report:
    """Sums over histories."""

    def __init__(self, first_seed: int) -> None:
        self.first_seed = first_seed
        self.failed: list[Outcome] = []
        self._sums = Counter[str]()
        self._faults, self._ends = Counter[str](), Counter[str]()
        self._kinds = Counter[str]()
        self._seconds = 0.0

    def add(self, outcome: Outcome, seconds: float) -> None:
        """Add a history that took so many seconds."""
        self._sums.update(
            histories=1,
            events=outcome.events,
            flushes=outcome.flushes,
            commits=outcome.commits,
            duplicates=outcome.duplicates,
        )
        self._faults.update(outcome.faults)
        self._ends.update(outcome.ends)
        self._seconds += seconds
        if outcome.violated:
            self._kinds[outcome.violated] += 1
            self.failed.append(outcome)

    def table(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return {
            "first_seed": self.first_seed,
            **{name: self._sums[name] for name in ("histories", "events", "flushes", "commits")},
            "faults_injected": sum(self._faults.values()),
            "faults": dict(sorted(self._faults.items())),
            "process_ends": dict(sorted(self._ends.items())),
            "duplicates": self._sums["duplicates"],
            **{kind: self._kinds[kind] for kind in KINDS},
            "failed": [
                {"seed": one.seed, "kind": one.violated, "message": one.message}
                for one in self.failed
            ],
            "seconds": round(self._seconds, 1),
        }


def simulate(
    seed: int,
    histories: int,
    *,
    is_large: bool | None = None,
    seconds: float = float("inf"),
    processes: int = 1,
    played: Callable[[Outcome], object] = lambda outcome: None,
) -> Report:
    """Play histories of the seeds from `seed` on.

    Args:
        seed: of the first; each of the others has the next one.
        histories: at most so many.
        is_large: each has many events in large batches, or none has; by default a few have.
        seconds: begin none after so long.
        processes: that play them at the same time; of several, no traces come back.
        played: told of each when it is over, in the order of their seeds.
    """
    report, begun = Report(seed), time.perf_counter()
    with _playing(processes, range(seed, seed + histories), is_large) as outcomes:
        for outcome, took in outcomes:
            report.add(outcome, took)
            played(outcome)
            if time.perf_counter() - begun > seconds or len(report.failed) >= GIVE_UP_AFTER:
                break
    return report


Played = tuple[Outcome, float]
"""A history, and how long it took (s)."""


@contextmanager
def _playing(
    processes: int, seeds: Sequence[int], is_large: bool | None
) -> Iterator[Iterator[Played]]:
    play = partial(_play, is_large=is_large, is_alone=processes == 1)
    if processes == 1:
        yield map(play, seeds)
        return
    with multiprocessing.Pool(processes) as pool:
        rounds = (seeds[at : at + ROUND] for at in range(0, len(seeds), ROUND))
        yield chain.from_iterable(pool.imap(play, one) for one in rounds)


def _play(seed: int, *, is_large: bool | None, is_alone: bool) -> Played:
    begun = time.perf_counter()
    outcome = History(seed, _metrics(), is_large=is_large).run()
    if not is_alone:
        outcome = replace(outcome, trace=None)  # long, and a seed plays it again
    return outcome, time.perf_counter() - begun


@cache
def _metrics() -> Metrics:
    """One for all histories of a process: nobody reads them."""
    return Metrics("simulation")
