"""The simulator as a source of transactions."""

from __future__ import annotations

from collections.abc import Iterator

from models.fraud.simulator import Simulator, SimulatorConfig
from models.fraud.transactions import Transactions


def world(*, customers: int, terminals: int, start: str, seed: int) -> SimulatorConfig:
    """Describe a world of any size with the book's share of compromised terminals and cards.

    The book compromises two of 10,000 terminals and three of 5,000 cards a day; as many in a
    small world would make most of its payments fraud. At least one of each.
    """
    return SimulatorConfig(
        customers=customers,
        terminals=terminals,
        start=start,
        seed=seed,
        compromised_terminals=max(1, round(terminals * 2 / 10_000)),
        compromised_cards=max(1, round(customers * 3 / 5000)),
    )


def simulated_days(config: SimulatorConfig) -> Iterator[Transactions]:
    """Simulate one day after the other, without end; the same config gives the same days."""
    return Simulator(config).days()
