"""State that is gone is noticed by a worker that has nothing to do, and none is invented."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from typing_extensions import override

from streams.errors import Fenced, StoreUnavailable
from streams.pipeline.loss import notice_loss
from streams.pipeline.positions import Positions
from streams.state.memory import MemoryServer, MemoryStateStore
from streams.state.store import PartitionSnapshot, digests
from streams.status import Status


class Bed:
    """A worker that has stored partition 0 up to offset 5, and is idle."""

    def __init__(self, store: MemoryStateStore) -> None:
        self.store, self.positions = store, Positions(Status())
        store.claim([0, 1], 1)
        self.store_to(5)
        self.positions.begin(0, 0)
        self.positions.begin(1, 0)

    def store_to(self, marker: int) -> None:
        rows = np.zeros((1, 8), np.uint8)
        self.store.flush(PartitionSnapshot(0, digests(["a"]), rows, marker))
        self.positions.markers[0] = marker

    async def looks(self) -> None:
        """Let it look some times; raises what it raises."""
        looking = notice_loss(self.store, self.positions, every_s=0.005)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(looking, 0.1)


def test_a_state_that_is_there_is_found_so_whatever_is_stored_of_it_meanwhile() -> None:
    async def scenario() -> None:
        bed = Bed(MemoryStateStore())
        await bed.looks()
        bed.store.server.markers[0] = 9  # of a flush under way
        bed.store.server.markers.pop(1, None)  # nothing was ever stored of it
        await bed.looks()

    asyncio.run(scenario())


@pytest.mark.parametrize("left", [None, 4])
def test_a_state_that_is_gone_or_older_ends_the_look(left: int | None) -> None:
    async def scenario() -> None:
        bed = Bed(MemoryStateStore())
        bed.store.server.markers.clear()
        if left is not None:
            bed.store.server.markers[0] = left
        with pytest.raises(Fenced, match="partition 0 went back in time"):
            await bed.looks()

    asyncio.run(scenario())


def test_partitions_that_have_not_begun_or_are_given_away_are_left_out() -> None:
    async def scenario() -> None:
        bed = Bed(MemoryStateStore())
        bed.store.server.markers.clear()
        bed.positions.leave([0])
        await bed.looks()
        bed.positions.forget(0)
        bed.positions.markers[0] = 5  # claimed again, and not yet where it starts
        await bed.looks()
        bed.positions.begin(0, 6)
        with pytest.raises(Fenced):
            await bed.looks()

    asyncio.run(scenario())


def test_a_rebuild_from_nothing_is_no_loss() -> None:
    async def scenario() -> None:
        server = MemoryServer()
        bed = Bed(MemoryStateStore(server))
        bed.store.clear()
        bed.positions.forget(0)
        assert bed.store.claim([0], 2) == {0: None}
        bed.positions.begin(0, 0, quiet_below=6)
        await bed.looks()
        bed.store_to(2)
        await bed.looks()

    asyncio.run(scenario())


def test_a_store_that_is_away_is_asked_again() -> None:
    class Away(MemoryStateStore):
        asked = 0

        @override
        def markers(self, partitions: object) -> dict[int, int | None]:
            self.asked += 1
            raise StoreUnavailable("away")

    async def scenario() -> None:
        store = Away()
        await Bed(store).looks()
        assert store.asked > 1

    asyncio.run(scenario())
