"""Simulated card transactions: the generator of the Fraud Detection Handbook.

Customers and terminals lie on a plane of 100 by 100; a customer buys at terminals within `radius`,
with habits of its own (amounts, frequency). Then there is fraud, in three ways:

1. an amount above 220, whoever pays: a plain threshold that any detector should find;
2. every day two terminals are compromised for 28 days: all that is paid there is fraud;
3. every day three cards are compromised for 14 days: a third of their payments is five times as
   large, and fraud.

Source: Le Borgne, Siblini, Lebichot, Bontempi, *Reproducible Machine Learning for Credit Card Fraud
Detection - Practical Handbook*, 2022, chapter 3, section "Transaction data simulator". One thing
differs, because days are drawn one after the other here: each payment of a compromised card is
fraud with a chance of one third, where the book picks exactly a third afterwards.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, islice

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.fraud.transactions import Transactions

DAY_MS = 86_400_000
LARGE_AMOUNT = 220.0
TERMINAL_DAYS, CARD_DAYS = 28, 14


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """The book's sizes; a smaller world wants fewer compromised cards and terminals a day.

    Less than one a day is one every few days, the first on the first day.
    """

    customers: int = 5000
    terminals: int = 10_000
    radius: float = 5.0
    start: str = "2018-04-01"
    seed: int = 0
    compromised_terminals: float = 2
    compromised_cards: float = 3


class Simulator:
    """A world of customers and terminals that produces transactions day by day."""

    def __init__(self, config: SimulatorConfig) -> None:
        """Draw the world.

        Raises:
            DataError: `start` is no ISO date.
        """
        rng = np.random.default_rng([config.seed, 0])
        self.config = config
        self._start_ms = _epoch_ms(config.start)
        self._mean_amount = rng.uniform(5.0, 100.0, config.customers)
        self._daily = rng.uniform(0.0, 4.0, config.customers)
        self._near, self._first, self._reach = _terminals_within(
            rng.uniform(0.0, 100.0, (config.customers, 2)),
            rng.uniform(0.0, 100.0, (config.terminals, 2)),
            config.radius,
        )

    def days(self) -> Iterator[Transactions]:
        """One day after the other, without end; each call begins at the first day again.

        The same config gives the same days. tx_id, card_id and terminal_id are int64.
        """
        config = self.config
        # Two sources: the same payments are made whatever is compromised.
        habits, crime = (np.random.default_rng([config.seed, part]) for part in (1, 2))
        terminal_until = np.zeros(config.terminals, np.int64)  # first day that is clean again
        card_until = np.zeros(config.customers, np.int64)
        next_id = 0
        for day in count():
            for until, a_day, days in (
                (terminal_until, config.compromised_terminals, TERMINAL_DAYS),
                (card_until, config.compromised_cards, CARD_DAYS),
            ):
                number = math.ceil((day + 1) * a_day) - math.ceil(day * a_day)
                chosen = crime.choice(len(until), min(number, len(until)), replace=False)
                until[chosen] = day + days
            payments = self._payments(habits, day, next_id)
            yield _with_fraud(crime, payments, day < terminal_until, day < card_until)
            next_id += len(payments)

    def _payments(self, rng: np.random.Generator, day: int, next_id: int) -> Transactions:
        """The genuine payments of one day, in order of time."""
        # 1. Who pays when: about noon, give or take 20,000 s; what falls out of the day is dropped.
        card = np.repeat(np.arange(self.config.customers), rng.poisson(self._daily))
        second = rng.normal(43_200.0, 20_000.0, len(card)).astype(np.int64)
        card, second = (
            a[(second > 0) & (second < 86_400) & (self._reach[card] > 0)] for a in (card, second)
        )
        by_time = np.argsort(second, kind="stable")
        card, second = card[by_time], second[by_time]

        # 2. How much, to the cent, and where.
        mean = self._mean_amount[card]
        amount = rng.normal(mean, mean / 2)
        amount = np.where(amount < 0, rng.uniform(0.0, 2 * mean), amount).round(2)
        pick = (rng.random(len(card)) * self._reach[card]).astype(np.int64)
        return Transactions(
            tx_id=np.arange(next_id, next_id + len(card)),
            card_id=card,
            terminal_id=self._near[self._first[card] + pick],
            amount=amount,
            event_time=self._start_ms + day * DAY_MS + second * 1000,
            is_fraud=np.zeros(len(card), np.bool_),
            scenario=np.zeros(len(card), np.int8),
        )


def simulate(config: SimulatorConfig, days: int) -> Transactions:
    """The first `days` days in one piece; at least one."""
    return Transactions.concat(list(islice(Simulator(config).days(), days)))


def _with_fraud(
    rng: np.random.Generator,
    payments: Transactions,
    bad_terminal: npt.NDArray[np.bool_],
    bad_card: npt.NDArray[np.bool_],
) -> Transactions:
    """The three scenarios over one day; a later one takes precedence."""
    drained = bad_card[payments.card_id] & (rng.random(len(payments)) < 1 / 3)
    scenario = np.zeros(len(payments), np.int8)
    scenario[payments.amount > LARGE_AMOUNT] = 1
    scenario[bad_terminal[payments.terminal_id]] = 2
    scenario[drained] = 3
    return Transactions(
        payments.tx_id,
        payments.card_id,
        payments.terminal_id,
        np.where(drained, payments.amount * 5, payments.amount).round(2),
        payments.event_time,
        scenario > 0,
        scenario,
    )


def _terminals_within(
    customers: npt.NDArray[np.float64], terminals: npt.NDArray[np.float64], radius: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Terminals within reach, customer after customer; where each begins, and how many, (C,)."""
    near, reach = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for begin in range(0, len(customers), 256):  # 256 x 10,000 distances fit the cache
        x, y = customers[begin : begin + 256].T
        squared = (x[:, None] - terminals[:, 0]) ** 2 + (y[:, None] - terminals[:, 1]) ** 2
        who, which = np.nonzero(squared < radius**2)
        near.append(which)
        reach.append(np.bincount(who, minlength=len(x)))
    counts = np.concatenate(reach)
    return np.concatenate(near), np.cumsum(counts) - counts, counts


def _epoch_ms(date: str) -> int:
    try:
        return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError as error:
        raise DataError(f"{date!r} is no date: write it as 2018-04-01") from error
