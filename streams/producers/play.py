"""Play transactions into Kafka, and after each its verdict once its delay has passed.

`play` takes days of columns, from the simulator or from a file, and knows nothing of either.
Labels follow event time: a verdict goes out before the first transaction that happens after it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.fraud.transactions import Transactions
from streams.producers.labels import LabelQueue
from streams.producers.pace import Pace
from streams.producers.records import Labelling, label_records, transaction_records
from streams.producers.sink import RecordSink
from streams.settings import Settings

if TYPE_CHECKING:  # an extra
    from streams.tracing.spans import Spans

# How long to sleep where the pace allows nothing: bounds both the jitter and the idle CPU.
_TICK_S = 0.005


@dataclass(slots=True)
class Sent:
    """How much went out so far."""

    transactions: int = 0
    labels: int = 0


Progress = Callable[[Sent], None]
"""Called after each chunk, on the event loop: must be quick."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop: after `count` transactions or `duration_s` seconds, whichever is first."""

    count: int | None = None
    duration_s: float | None = None

    def left(self, sent: int, elapsed_s: float) -> int:
        """Count the transactions that may still go."""
        if self.duration_s is not None and elapsed_s >= self.duration_s:
            return 0
        return sys.maxsize if self.count is None else self.count - sent


async def play(
    sink: RecordSink,
    settings: Settings,
    days: Iterable[Transactions],
    *,
    pace: Pace,
    labelling: Labelling | None,
    limits: Limits,
    progress: Progress,
    spans: Spans | None = None,
) -> Sent:
    """Send the transactions of `days` at `pace`, and their labels unless `labelling` is None.

    A share of the transactions begins a trace, unless `spans` is None.

    Gives what was sent, all of it durable.

    Raises:
        BrokerError: the broker cannot be reached or refuses records.
    """
    queue = LabelQueue(labelling.delay_ms) if labelling else None
    sent, start = Sent(), time.monotonic()
    for day in days:
        await asyncio.sleep(0)  # Ctrl-C comes through, however many days are empty
        rest = day
        while len(rest):
            elapsed = time.monotonic() - start
            left = limits.left(sent.transactions, elapsed)
            if left <= 0:
                await sink.flush()
                return sent
            ready = min(left, pace.allowed(rest.event_time, sent.transactions, elapsed))
            if ready == 0:
                await asyncio.sleep(_TICK_S)
                continue
            rows, rest = rest.take(slice(ready)), rest.take(slice(ready, None))
            # 1. The verdicts that are known when these transactions happen.
            if queue is not None and labelling is not None:
                for due in queue.due(int(rows.event_time[0])):
                    sent.labels += await send_labels(sink, settings, due, labelling)
                queue.add(rows)
            # 2. The transactions.
            sent.transactions += await send_transactions(sink, settings, rows, spans)
            progress(sent)
    await sink.flush()
    return sent


async def send_transactions(
    sink: RecordSink, settings: Settings, rows: Transactions, spans: Spans | None = None
) -> int:
    """Send `rows` to the transactions topic; gives their number."""
    topic, records = (
        settings.topics.transactions,
        transaction_records(rows, settings.fraud.currency),
    )
    return await sink.send_many(topic, records, None if spans is None else spans.starts(topic))


async def send_labels(
    sink: RecordSink, settings: Settings, rows: Transactions, labelling: Labelling
) -> int:
    """Send the verdicts on `rows` to the labels topic; gives their number."""
    return await sink.send_many(settings.topics.labels, label_records(rows, labelling))
