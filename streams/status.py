"""What a worker is doing and waiting for.

A worker is `joining`, `rebuilding 43 %`, `waiting for Redis`, `stuck: REASON` where only an
operator can help, or `ready`. The one source of readiness, of the logs about it, and of the
watchdog's patience. Written by any thread, read by the health server's.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

REMIND_S = 30.0
"""A wait that goes on is logged again this often: a reminder, not a flood."""

Rebuild = tuple[int, int, int]
"""First offset, position and end of a partition's rebuild."""


class Status:
    """Joined or not, waits by name, partitions being rebuilt."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._joined = False
        self._waits: dict[_Wait, str] = {}
        self._rebuilds: dict[int, Rebuild] = {}
        self._ended = 0  # records of partitions whose rebuild is over, while others' go on
        self._blocked: str | None = None
        self._told = "joining"

    def joined(self) -> None:
        """Partitions are assigned (or there are none to have)."""
        with self._lock:
            self._joined = True
        self._tell()

    def left(self) -> None:
        """Partitions are being reassigned."""
        with self._lock:
            self._joined = False
        self._tell()

    def block(self, reason: str | None) -> None:
        """Name what only an operator can resolve, or None when it is resolved."""
        with self._lock:
            changed, self._blocked = reason != self._blocked, reason
        if reason and changed:
            log.error("stuck: %s", reason)
        self._tell()

    @contextmanager
    def waiting(self, name: str) -> Iterator[_Wait]:
        """Mark the block as waiting for `name` from its first `because` to its end."""
        wait = _Wait(self, name)
        try:
            yield wait
        finally:
            wait.end()

    def rebuild(self, partition: int, first: int, end: int) -> None:
        """Start the rebuild of `partition` from offset `first` to before `end`."""
        with self._lock:
            self._rebuilds[partition] = first, first, end
        log.warning("rebuilding partition %d: offsets %d to %d", partition, first, end)

    def rebuild_at(self, partition: int, position: int) -> None:
        """Note how far the rebuild of `partition` has come."""
        with self._lock:
            first, _, end = self._rebuilds[partition]
            self._rebuilds[partition] = first, min(position, end), end

    def rebuilt(self, partition: int) -> None:
        """The rebuild of `partition` is over, or the partition went elsewhere; may be repeated."""
        with self._lock:
            known = self._rebuilds.pop(partition, None)
            if known is not None:
                self._ended = self._ended + known[2] - known[0] if self._rebuilds else 0
        if known is not None:
            log.info("rebuild of partition %d ended", partition)
        self._tell()

    @property
    def is_rebuilding(self) -> bool:
        """Whether any partition is being rebuilt."""
        return bool(self._rebuilds)

    @property
    def is_waiting(self) -> bool:
        """Whether the worker waits for something that it can name."""
        return bool(self._waits) or self._blocked is not None or not self._joined

    def state(self) -> str:
        """Return what the worker is doing, in the words above."""
        with self._lock:
            if self._blocked is not None:
                return f"stuck: {self._blocked}"
            if self._waits:
                names = sorted({wait.name for wait in self._waits})
                return f"waiting for {' and '.join(names)}"
            if self._rebuilds:
                return self._rebuilding()
            return "ready" if self._joined else "joining"

    def _rebuilding(self) -> str:
        ended, rebuilds = self._ended, self._rebuilds.values()
        done = ended + sum(position - first for first, position, _ in rebuilds)
        total = ended + sum(end - first for first, _, end in rebuilds)
        return f"rebuilding {100 * done // max(total, 1)} %"

    def _tell(self) -> None:
        """Log that it joins or is ready; waits, blocks and rebuilds are logged where they begin."""
        state = self.state()
        before, self._told = self._told, state
        if state != before and state in ("joining", "ready"):
            log.info("%s", state)

    def reasons(self) -> list[str]:
        """Return why the worker is not ready; empty when it is."""
        with self._lock:
            found = [] if self._blocked is None else [self._blocked]
            newest = {wait.name: why for wait, why in self._waits.items()}
            found += [f"waiting for {name}: {why}" for name, why in newest.items()]
            if self._rebuilds:
                found.append(self._rebuilding())
            if not self._joined and not found:
                found.append("joining the consumer group")
        return found

    def _begin(self, wait: _Wait, why: str) -> bool:
        """Note a wait; whether it is the first of its name."""
        with self._lock:
            first = all(other.name != wait.name for other in self._waits)
            self._waits[wait] = why
        return first

    def _end(self, wait: _Wait) -> bool:
        """Forget a wait; whether it was the last of its name."""
        with self._lock:
            known = self._waits.pop(wait, None) is not None
            return known and all(other.name != wait.name for other in self._waits)


class _Wait:
    """One named wait, with the backoff between its attempts. Several may share a name."""

    def __init__(self, status: Status, name: str) -> None:
        self.name = name
        self._status = status
        self._since = self._said = time.monotonic()
        self._attempts = 0

    def because(self, why: object) -> float:
        """Say why an attempt failed; return the seconds until the next one."""
        first = self._status._begin(self, str(why))  # noqa: SLF001 - one class in two parts
        now = time.monotonic()
        if first or now - self._said > REMIND_S:
            log.warning("waiting for %s: %s", self.name, why)
            self._said = now
        self._attempts += 1
        return float(min(0.1 * 2**self._attempts, 2.0))

    def end(self) -> None:
        """The wait is over; harmless if it never began."""
        if self._status._end(self):  # noqa: SLF001 - as above
            log.info("%s is back after %.1f s", self.name, time.monotonic() - self._since)
