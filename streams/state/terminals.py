"""Terminal risk profiles as the fraud agent reads them: cached, and never older than a flush."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.fraud.features import terminal_hash
from models.fraud.profile import (
    PROFILE,
    PROFILE_SUMMARY,
    new_profiles,
    summarise,
)
from streams.errors import SettingsError
from streams.state.store import StateStore, digests
from streams.state.table import parse_rows, row_dtype


@dataclass(frozen=True, slots=True)
class TerminalView:
    """What is known of each transaction's terminal.

    (B,) hashes as the transactions came, (B,) `PROFILE_SUMMARY` in the order asked for.
    """

    hashes: NDArray[np.uint32]
    summary: NDArray[Any]


class TerminalProfiles:
    """Reads the profiles that the labels agent writes. Prepare thread only.

    Every batch asks the store for its version, which each flush of the labels agent changes; when
    it has changed, the profiles that the batch needs are read again. A full cache starts afresh.
    """

    def __init__(
        self, store: StateStore, *, capacity: int, max_batch: int, large_amount: float
    ) -> None:
        if capacity < max_batch:
            raise SettingsError(
                f"fraud.profile_capacity ({capacity}) must be at least delivery.max_batch "
                f"({max_batch}): one batch may meet that many terminals"
            )
        self._store = store
        self._large_amount = large_amount
        self._row = row_dtype(PROFILE)
        self._slot_of: dict[str, int] = {}
        self._name: list[str] = []
        self._hash = np.zeros(capacity, np.uint32)
        self._epoch = np.zeros(capacity, np.int64)
        self._profile = new_profiles(capacity)
        self._summary = np.zeros(capacity, PROFILE_SUMMARY)
        self._now = 1
        self._version = b""

    def view(
        self,
        terminals: Sequence[str],
        event_time: NDArray[np.int64],
        order: NDArray[np.int64],
    ) -> TerminalView:
        """Return the terminals of B transactions as they were known at `event_time` (B,) ms.

        `order` holds the (B,) positions that the summaries are wanted in; copying them twice
        would cost as much as finding them.
        """
        version = self._store.version()
        if version != self._version:
            self._version = version
            self._now += 1
        slots = self._slots(terminals)
        self._refresh(slots)
        ordered, time = slots[order], event_time[order]
        summary = self._summary[ordered]
        early = summary["newest"] > time
        if early.any():  # a label that came after the transaction does not count for it
            summary[early] = summarise(
                self._profile[ordered[early]], self._large_amount, time[early]
            )
        return TerminalView(self._hash[slots], summary)

    def _slots(self, terminals: Sequence[str]) -> NDArray[np.int64]:
        count = len(terminals)
        try:
            return np.fromiter(map(self._slot_of.__getitem__, terminals), np.int64, count)
        except KeyError:
            self._add([t for t in dict.fromkeys(terminals) if t not in self._slot_of], terminals)
        return np.fromiter(map(self._slot_of.__getitem__, terminals), np.int64, count)

    def _add(self, missing: list[str], batch: Sequence[str]) -> None:
        if len(self._slot_of) + len(missing) > len(self._epoch):
            self._slot_of.clear()
            self._name.clear()
            missing = list(dict.fromkeys(batch))
        for slot, terminal in enumerate(missing, start=len(self._slot_of)):
            self._slot_of[terminal] = slot
            self._name.append(terminal)
            self._hash[slot] = terminal_hash(terminal)
            self._epoch[slot] = 0

    def _refresh(self, slots: NDArray[np.int64]) -> None:
        old = np.unique(slots[self._epoch[slots] != self._now])
        if not len(old):
            return
        names = [self._name[slot] for slot in old.tolist()]
        stored = self._store.load(np.zeros(len(old), np.int32), digests(names))
        profiles = new_profiles(len(old))
        present = [place for place, row in enumerate(stored) if row is not None]
        if present:
            rows = parse_rows([row for row in stored if row is not None], self._row, 0)
            profiles[present] = rows[0]["state"]
        self._profile[old] = profiles
        self._summary[old] = summarise(profiles, self._large_amount)
        self._epoch[old] = self._now
