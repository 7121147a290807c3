"""What flows for hours: payments at a steady rate, and people who walk past cameras."""

from __future__ import annotations

import json
import random
import threading
import time
import zlib
from dataclasses import dataclass
from itertools import islice

from confluent_kafka import Producer

from models.fraud.simulator import Simulator, SimulatorConfig
from models.fraud.transactions import Transactions
from tests.chaos.events import BAD, PARTITIONS
from tests.fakes.blobs import PASSING
from tests.passages import STEP_MS, now_ms, shot
from tests.worker import Produced

CARDS = 50_000
PAYMENTS = 200_000
"""Of one round; the next one has the same, days later."""

BAD_SHARE = 0.0005
BAD_HEADER = "bad"
TICK_S = 0.1
CAMERAS = ("gate", "door", "yard", "hall")
"""One to a partition of `frames`."""


@dataclass(frozen=True)
class Payment:
    """A payment but for its time and its number, which each round gives it."""

    key: bytes
    partition: int
    head: bytes
    time: int

    def value(self, turn: int, number: int, round_ms: int) -> bytes:
        return b'%s, "event_time": %d, "tx_id": "r%d-%d"}' % (
            *(self.head, self.time + turn * round_ms),
            *(turn, number),
        )


def payments(seed: int) -> tuple[list[Payment], int]:
    """A round of payments, and the milliseconds that it covers."""
    world = SimulatorConfig(
        customers=CARDS, terminals=CARDS // 5, radius=8.0, seed=seed, compromised_cards=20
    )
    days = 1 + 2 * PAYMENTS // CARDS
    rows = Transactions.concat(list(islice(Simulator(world).days(), days))).take(slice(PAYMENTS))
    made = []
    for number in range(len(rows)):
        card = f"card-{rows.card_id[number]}"
        payment = {
            "card_id": card,
            "terminal_id": f"shop-{rows.terminal_id[number]}",
            "amount": float(rows.amount[number]),
            "currency": "EUR",
        }
        key = card.encode()
        head = json.dumps(payment).encode()[:-1]
        made.append(Payment(key, zlib.crc32(key) % PARTITIONS, head, int(rows.event_time[number])))
    return made, days * 86_400_000


def durable(bootstrap: str) -> Producer:
    """A producer that does not give up while the broker is away."""
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 50,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "message.timeout.ms": 600_000,
            "log_level": 0,
        }
    )


class Payments(threading.Thread):
    """Produces until it is told to stop; every record is durable when it has ended."""

    def __init__(self, bootstrap: str, topic: str, per_s: float, seed: int) -> None:
        super().__init__(daemon=True)
        self._producer = durable(bootstrap)
        self._topic, self._per_s = topic, per_s
        self.round, self._round_ms = payments(seed)
        self._rng = random.Random(seed)
        self._enough = threading.Event()
        self.sent = 0
        self.failed = 0

    def run(self) -> None:
        begun, ahead = time.monotonic(), 0
        while not self._enough.wait(TICK_S):
            due = int((time.monotonic() - begun) * self._per_s)
            # After an outage: twice the rate until it has caught up.
            for _ in range(min(due - ahead, int(2 * self._per_s * TICK_S))):
                self._send(ahead)
                ahead += 1
        assert self._producer.flush(300) == 0

    def _send(self, number: int) -> None:
        turn, place = divmod(number, len(self.round))
        payment = self.round[place]
        value = payment.value(turn, place, self._round_ms)
        self._produce(payment.partition, payment.key, value)
        if self._rng.random() < BAD_SHARE:
            bad = self._rng.choice(BAD)(json.loads(value))
            self._produce(self._rng.randrange(PARTITIONS), payment.key, bad, {BAD_HEADER: b"1"})

    def _produce(
        self,
        partition: int,
        key: bytes,
        value: bytes | None,
        headers: dict[str, bytes] | None = None,
    ) -> None:
        while True:
            try:
                self._producer.produce(
                    self._topic, value, key, partition, self._arrived, headers=headers
                )
            except BufferError:  # the broker is away
                self._producer.poll(0.5)
            else:
                self._producer.poll(0)
                self.sent += 1
                return

    def _arrived(self, error: object, _: object) -> None:
        self.failed += error is not None

    def stop(self) -> None:
        self._enough.set()
        self.join()
        assert self.failed == 0, f"{self.failed} records did not reach Kafka"


class Passages(threading.Thread):
    """People walk past every camera, one right after another, until it is told to stop.

    A camera sends ten frames a second. Between two people it sees nobody for just so long that
    what it has told of the first has ended.
    """

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(daemon=True)
        self._producer = durable(bootstrap)
        self._topic = topic
        self._enough = threading.Event()
        self.passed = 0
        self.frames = 0
        self.failed = 0

    def run(self) -> None:
        begun = now_ms()
        while not self._enough.is_set():
            for number, value in enumerate(PASSING, self.passed * len(PASSING)):
                at = begun + STEP_MS * number
                for partition, camera in enumerate(CAMERAS):
                    self._produce(shot(value, camera, number, at), partition)
                self._enough.wait(max(at - now_ms(), 0) / 1000)
            self.passed += 1
        assert self._producer.flush(300) == 0

    def _produce(self, frame: Produced, partition: int) -> None:
        self._producer.produce(
            self._topic,
            frame.value,
            frame.key,
            partition,
            self._arrived,
            headers=list(frame.headers),
        )
        self._producer.poll(0)
        self.frames += 1

    def _arrived(self, error: object, _: object) -> None:
        self.failed += error is not None

    def stop(self) -> None:
        """After the person who is before the cameras; the rest of the frames come at once."""
        self._enough.set()
        self.join()
        assert self.failed == 0, f"{self.failed} frames did not reach Kafka"
