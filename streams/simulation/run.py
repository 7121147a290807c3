"""Many histories one after another, and the report of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
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
    is_large: bool = False,
    seconds: float = float("inf"),
    played: Callable[[Outcome], object] = lambda outcome: None,
) -> Report:
    """Play histories of the seeds from `seed` on.

    Args:
        seed: of the first; each of the others has the next one.
        histories: at most so many.
        is_large: each has many events in large batches.
        seconds: begin none after so long.
        played: told of each when it is over.
    """
    metrics, report = Metrics("simulation"), Report(seed)
    begun = time.perf_counter()
    for one in range(seed, seed + histories):
        before = time.perf_counter()
        if before - begun > seconds or len(report.failed) >= GIVE_UP_AFTER:
            break
        outcome = History(one, metrics, is_large=is_large).run()
        report.add(outcome, time.perf_counter() - before)
        played(outcome)
    return report
