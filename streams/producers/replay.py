"""Replay recorded transactions so that the worker sees what it would have seen.

Flat out, the two topics race: labels may arrive before or after transactions that they should
inform. `play_in_lockstep` removes the race. It goes through event time step by step and lets
the labels agent, then the fraud agent, finish each step, so that a replay of months in minutes
gives the scores that months in real time would have given.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping

import numpy as np

from models.fraud.transactions import Transactions
from streams.errors import Stuck
from streams.producers.play import Progress, Sent, send_labels, send_transactions
from streams.producers.records import Labelling
from streams.producers.sink import RecordSink
from streams.settings import Settings

# A worker flushes and commits every half second or so: asking more often only costs the broker.
_POLL_S = 0.05

Wait = Callable[[str, str], Awaitable[None]]
"""Called with a consumer group and a topic: returns when the group has committed what was sent."""


def between(
    transactions: Transactions, first_ms: int | None, last_ms: int | None, limit: int | None
) -> Transactions:
    """Keep the rows from `first_ms` up to, not including, `last_ms`, and `limit` of them."""
    times = transactions.event_time
    start = 0 if first_ms is None else int(np.searchsorted(times, first_ms))
    stop = len(times) if last_ms is None else int(np.searchsorted(times, last_ms))
    if limit is not None:
        stop = min(stop, start + limit)
    return transactions.take(slice(start, stop))


async def play_in_lockstep(
    sink: RecordSink,
    settings: Settings,
    transactions: Transactions,
    *,
    step_ms: int,
    labelling: Labelling | None,
    wait: Wait,
    progress: Progress,
) -> Sent:
    """Send one step of event time at a time; steps begin at multiples of `step_ms`.

    Of each step: 1. the labels whose `labelled_at` falls in it, 2. wait until the labels group
    has committed them, 3. its transactions, 4. wait until the fraud group has committed them. A
    worker commits after it has flushed its state, so a commit means applied.

    Raises:
        BrokerError: the broker cannot be reached or refuses records.
        Stuck: a group does not advance.
    """
    sent = Sent()
    if not len(transactions):
        return sent
    times = transactions.event_time
    first = int(times[0]) // step_ms * step_ms
    for start in range(first, int(times[-1]) + 1, step_ms):
        if labelling is not None:
            known = (start - labelling.delay_ms, start + step_ms - labelling.delay_ms)
            rows = between(transactions, *known, limit=None)
            # 1. Labels of this step.
            if len(rows):
                sent.labels += await send_labels(sink, settings, rows, labelling)
                await sink.flush()
                # 2. Applied.
                await wait(settings.labels.group, settings.topics.labels)
        rows = between(transactions, start, start + step_ms, limit=None)
        if len(rows):
            # 3. Transactions of this step.
            sent.transactions += await send_transactions(sink, settings, rows)
            await sink.flush()
            # 4. Scored.
            await wait(settings.fraud.group, settings.topics.transactions)
        progress(sent)
    return sent


class GroupWait:
    """Waits until a consumer group has committed what was sent.

    `committed` looks up a group's offset on each partition of a topic and may block, `sent` tells
    the offset after the last record that was sent to each partition of a topic.
    """

    def __init__(
        self,
        committed: Callable[[str, str], Mapping[int, int]],
        sent: Callable[[str], Mapping[int, int]],
        stall_s: float,
    ) -> None:
        self._committed = committed
        self._sent = sent
        self._stall_s = stall_s

    async def __call__(self, group: str, topic: str) -> None:
        """Return when the group has committed everything that was sent to `topic` so far.

        Raises:
            Stuck: what is left has not become less for `stall_s` seconds.
        """
        ends = dict(self._sent(topic))
        least, moved = sys.maxsize, time.monotonic()
        while True:
            done = await asyncio.to_thread(self._committed, group, topic)
            left = sum(max(0, end - done.get(partition, 0)) for partition, end in ends.items())
            if left == 0:
                return
            if left < least:
                least, moved = left, time.monotonic()
            elif time.monotonic() - moved > self._stall_s:
                raise Stuck(
                    f"group {group} has stood {left} records behind on {topic} for "
                    f"{self._stall_s:g} s: is its worker running?"
                )
            await asyncio.sleep(_POLL_S)
