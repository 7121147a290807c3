"""Where producers put their records: a port, and its fake for tests and dry runs."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice, repeat
from typing import Protocol

from streams.tracing import TraceHeaders

Record = tuple[bytes, bytes]
"""Key and value of a record, encoded."""


class RecordSink(Protocol):
    """Takes keyed records in order; records with the same key stay in order."""

    async def send_many(
        self, topic: str, records: Iterable[Record], headers: Iterable[TraceHeaders] | None = None
    ) -> int:
        """Hand on all of `records`, with `headers` for each, and give their number.

        May wait for room.

        They are on their way when it returns, and durable only after `flush`. Calling it twice
        sends twice.

        Raises:
            BrokerError: these records or earlier ones were refused.
        """
        ...

    async def flush(self) -> None:
        """Return when everything handed on so far is durable.

        Raises:
            BrokerError: some of it was refused.
        """
        ...


class MemorySink:
    """Keeps the records of each topic in a list."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Record]] = {}
        self.headers: dict[str, list[TraceHeaders]] = {}
        self.flushes = 0

    async def send_many(
        self, topic: str, records: Iterable[Record], headers: Iterable[TraceHeaders] | None = None
    ) -> int:
        """Append to the topic's lists."""
        kept = self.topics.setdefault(topic, [])
        before = len(kept)
        kept.extend(records)
        given = repeat([]) if headers is None else headers
        self.headers.setdefault(topic, []).extend(islice(given, len(kept) - before))
        return len(kept) - before

    async def flush(self) -> None:
        """Count the call: what is in a list is as durable as it gets."""
        self.flushes += 1
