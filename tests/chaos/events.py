"""What flows through the chaos tests: simulated payments with bad records sown among them.

The test places every record itself, so a record's partition and offset are known before Kafka has
seen it, and the reference can be computed while the workers are still starting.
"""

from __future__ import annotations

import json
import random
import zlib
from dataclasses import dataclass
from itertools import islice

from models.fraud.simulator import Simulator, SimulatorConfig
from models.fraud.transactions import Transactions

PARTITIONS = 4
BAD_SHARE = 0.005

Record = tuple[bytes | None, bytes | None]
"""Key and value."""


@dataclass(frozen=True)
class Stream:
    """Records of one topic; ``partitions[p][offset]``."""

    partitions: tuple[tuple[Record, ...], ...]

    @property
    def ends(self) -> dict[int, int]:
        """Log end of each partition."""
        return {partition: len(records) for partition, records in enumerate(self.partitions)}


def simulated(*, count: int, cards: int, seed: int, card: str = "card") -> Stream:
    """Simulate `count` payments of about `cards` cards, and some records that are no payments.

    Names of cards begin with `card`.
    """
    # 1. Payments, day by day, until there are enough.
    world = SimulatorConfig(
        customers=cards, terminals=2 * cards, radius=8.0, seed=seed, compromised_cards=2
    )
    days = 1 + count // cards
    payments = Transactions.concat(list(islice(Simulator(world).days(), days))).take(slice(count))

    # 2. Bad records at random places, in the partition of a payment's card or without a key.
    rng = random.Random(seed)
    placed: list[list[Record]] = [[] for _ in range(PARTITIONS)]
    for number in range(len(payments)):
        payment = _payment(payments, number, card)
        key = str(payment["card_id"]).encode()
        placed[zlib.crc32(key) % PARTITIONS].append((key, json.dumps(payment).encode()))
        if rng.random() < BAD_SHARE:
            bad = rng.choice(BAD)(payment)
            placed[rng.randrange(PARTITIONS)].append((rng.choice([key, None]), bad))
    return Stream(tuple(map(tuple, placed)))


def _payment(payments: Transactions, number: int, card: str) -> dict[str, object]:
    return {
        "tx_id": f"{card}-t{payments.tx_id[number]}",
        "card_id": f"{card}-{payments.card_id[number]}",
        "terminal_id": f"shop-\u00e9-{payments.terminal_id[number]}",
        "amount": float(payments.amount[number]),
        "currency": "EUR",
        "event_time": int(payments.event_time[number]),
        "attributes": {"channel": "chip"},
        "a_field_that_we_do_not_know": [number],
    }


def _changed(**changes: object):  # type: ignore[no-untyped-def]
    return lambda payment: json.dumps({**payment, **changes}).encode()


BAD = (
    lambda _: b"no JSON",
    lambda _: b"",
    lambda _: None,
    lambda _: b"\xff\xfe",
    lambda payment: json.dumps(payment).encode()[:-10],
    lambda payment: json.dumps({k: v for k, v in payment.items() if k != "amount"}).encode(),
    _changed(amount=-1.0),
    _changed(amount=float("nan")),
    _changed(amount=2e9),
    _changed(amount="12"),
    _changed(currency="XXX"),
    _changed(card_id=""),
    _changed(event_time=5),
    _changed(event_time=4_102_444_800_000),
)
"""Each makes the value of a record that must end as a dead letter from a payment."""
