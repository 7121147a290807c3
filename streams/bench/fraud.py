"""Throughput: Tocsin, plain Faust and a hand-written loop, side by side in one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from streams.bench.latency import paced
from streams.bench.report import Throughput, summary
from streams.bench.systems import System, fresh, measure
from streams.bench.workload import on_new_cards, preload, transactions
from streams.errors import TocsinError
from streams.settings import Settings

BORDERLINE_SHARE: Final = 1e-5
"""Alerts that two systems may differ in, by event: batches of other sizes round the last bit of a
score differently, and a score may lie that close to the threshold."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much each system is given; plain Faust, which is slow, gets the first `faust_count`."""

    data: Path | None = None
    count: int = 1_000_000
    faust_count: int = 200_000
    cold_cards: int = 200_000
    runs: int = 3
    paced_s: float = 10.0


def compare(settings: Settings, plan: Plan, say: Say) -> dict[str, Any]:
    """Run the comparison and return the report; `say` hears of every run.

    1. Preload the topics. 2. Run the systems in turn, `plan.runs` times. 3. Check that all raised
    the same alerts. 4. Report medians, and the latency of a short paced run.

    Raises:
        TocsinError: a system failed, or raised other alerts than another.
    """
    # Step 1.
    rows = transactions(plan.data, plan.count)
    few = rows.take(slice(plan.faust_count))
    cold = on_new_cards(rows, plan.cold_cards, plan.cold_cards)
    topics = {"full": rows, "first": few, "cold": cold}
    names = {name: fresh(name) for name in topics}
    for name, part in topics.items():
        preload(settings.kafka, names[name], part)
        say(f"preloaded {len(part):,} transactions for the {name} topic")

    # Step 2.
    course: list[tuple[System, str]] = [
        ("tocsin", "full"),
        ("loop", "full"),
        ("faust", "first"),
        ("tocsin", "cold"),
        ("loop", "cold"),
    ]
    runs: dict[tuple[System, str], list[Throughput]] = {step: [] for step in course}
    for _ in range(plan.runs):
        for system, topic in course:
            found = measure(system, settings, names[topic], len(topics[topic]))
            runs[system, topic].append(found)
            say(f"{system}, {topic} topic: {found.events_per_s:,.0f} events/s")

    # Step 3.
    for theirs in runs["loop", "full"]:
        check_same(runs["tocsin", "full"][-1].alerted, theirs.alerted, len(rows))
    first = set(few.tx_id.tolist())
    for theirs in runs["faust", "first"]:
        check_same(runs["tocsin", "full"][-1].alerted & first, theirs.alerted, len(few))

    # Step 4.
    return {
        **report(runs),
        "latency_ms": paced(settings, rows, plan.paced_s).latency_ms,
    }


def report(runs: Mapping[tuple[System, str], list[Throughput]]) -> dict[str, Any]:
    """Put the medians side by side."""
    tocsin, faust, loop = (
        summary(runs[step]) for step in (("tocsin", "full"), ("faust", "first"), ("loop", "full"))
    )
    ours, theirs = summary(runs["tocsin", "cold"]), summary(runs["loop", "cold"])
    return {
        "tocsin": tocsin,
        "faust": faust,
        "loop": loop,
        "ratio_faust": tocsin["events_per_s"] / faust["events_per_s"],
        "ratio_loop": tocsin["events_per_s"] / loop["events_per_s"],
        "cold_cards": {
            **ours,
            "loop": theirs,
            "ratio_loop": ours["events_per_s"] / theirs["events_per_s"],
        },
    }


def check_same(ours: set[str], theirs: set[str], events: int) -> None:
    """Return if two systems raised alerts on the same transactions, but for a handful.

    Raises:
        TocsinError: they did not, so their speeds cannot be compared.
    """
    different = ours ^ theirs
    if len(different) > max(2, round(events * BORDERLINE_SHARE)):
        raise TocsinError(
            f"the systems disagree on {len(different)} of {len(ours | theirs)} alerts, for example "
            f"on {min(different)}: they do not compute the same"
        )
