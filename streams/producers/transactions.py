"""The simulator as a source of transactions."""

from __future__ import annotations

from collections.abc import Iterator

from models.fraud.simulator import Simulator, SimulatorConfig
from models.fraud.transactions import Transactions
from streams.errors import SettingsError

# A world in which anybody pays at all does not stand still for a month.
_IDLE_DAYS = 30


def world(*, customers: int, terminals: int, start: str, seed: int) -> SimulatorConfig:
    """Describe a world of any size with the book's share of compromised terminals and cards.

    The book compromises two of 10,000 terminals and three of 5,000 cards a day; as many in a
    small world would make most of its payments fraud.
    """
    return SimulatorConfig(
        customers=customers,
        terminals=terminals,
        start=start,
        seed=seed,
        compromised_terminals=terminals * 2 / 10_000,
        compromised_cards=customers * 3 / 5000,
    )


def simulated_days(config: SimulatorConfig) -> Iterator[Transactions]:
    """Simulate one day after the other, without end; the same config gives the same days.

    Raises:
        SettingsError: nobody pays, because no customer has a terminal within reach.
    """
    idle = 0
    for day in Simulator(config).days():
        idle = 0 if len(day) else idle + 1
        if idle == _IDLE_DAYS:
            raise SettingsError(
                f"{config.customers} simulated customers and {config.terminals} terminals make no "
                "payment, for want of a terminal nearby: simulate more terminals"
            )
        yield day
