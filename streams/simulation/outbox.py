"""The second path: alerts wait in an outbox for the flush that stores them, as those of video do.

Rows do not know what they have seen: what had its fate before the start is dropped by its offset,
and nothing may come twice within one life. A state that is lost begins anew at the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from streams.agents.resume import ResumeObjects
from streams.pipeline.batch import Batch, Message, Outcome
from streams.settings import Settings
from streams.simulation.chain import ChainDetector, Prepared
from streams.state.outbox import Pending, outbox_blob
from streams.state.store import PartitionSnapshot, StateStore
from streams.state.table import Frozen

SETTINGS: Final = Settings()


class OutboxDetector(ChainDetector):
    """Follows chains whose alerts are held until they are stored."""

    def __init__(
        self, store: StateStore, *, capacity: int, trap: Callable[[Batch], object]
    ) -> None:
        super().__init__(store, capacity=capacity, trap=trap)
        self._held: dict[int, list[Pending]] = {}
        self._has_dropped = False

    @override
    def prepare(self, batch: Batch) -> tuple[Prepared, bool]:  # type: ignore[override]
        return super().prepare(batch), self._news()

    @override
    def infer(self, prepared: tuple[Prepared, bool]) -> Outcome:  # type: ignore[override]
        self._hear(prepared[1])
        return super().infer(prepared[0])

    @override
    def freeze(self, sequence: int) -> tuple[Frozen, bool]:  # type: ignore[override]
        return super().freeze(sequence), self._news()

    @override
    def pack(  # type: ignore[override]
        self, frozen: tuple[Frozen, bool], markers: Mapping[int, int]
    ) -> Iterable[PartitionSnapshot]:
        self._hear(frozen[1])
        held, self._held = self._held, {}
        return [
            replace(one, blobs=[outbox_blob(held.get(one.partition, []))])
            for one in super().pack(frozen[0], markers)
        ]

    @override
    def drop(self, partitions: set[int] | None) -> None:
        super().drop(partitions)
        self._has_dropped = True

    def _news(self) -> bool:
        """On the prepare thread: whether rows were dropped since the last news."""
        news, self._has_dropped = self._has_dropped, False
        return news

    def _hear(self, has_dropped: bool) -> None:
        """On the inference thread, which the alerts belong to."""
        if has_dropped:
            self._held.clear()

    @override
    def _fresh(self, batch: Batch, good: Sequence[int], seen: NDArray[np.int64]) -> list[int]:
        del seen
        homes, done = batch.partitions.tolist(), batch.done_below
        return [
            turn
            for turn, place in enumerate(good)
            if batch.records[place].offset >= done.get(homes[place], 0)
        ]

    @override
    def _tell(self, partition: int, alert: Message, outcome: Outcome) -> None:
        outcome.held.append(alert)
        pending = Pending(alert.topic, alert.key, alert.value, [])
        self._held.setdefault(partition, []).append(pending)


class ResumeChains(ResumeObjects):
    """What the vision agent does, but that no alert goes on that a lost state would have to end."""

    def __init__(self, store: StateStore) -> None:
        super().__init__(store, SETTINGS)

    @override
    async def _ends(self, partition: int) -> list[Message]:
        return []
