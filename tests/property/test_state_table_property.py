"""The entity table against a dictionary: whatever comes in whatever order, no count is lost.

The model counts events by (entity, partition). The table, a quarter as large as the world, evicts,
reloads, strays, drops and flushes; a crash takes everything since the last flush with it, and what
was not flushed is applied again, as a replay would.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from models.fraud.sequences import plan_sequences
from streams.state.memory import MemoryServer, MemoryStateStore
from streams.state.table import EntityTable, pack

COUNT = np.dtype([("count", "<i8")])
CAPACITY = 8
PARTITIONS = 3

events = st.tuples(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), st.integers(0, PARTITIONS - 1))


class TableMachine(RuleBasedStateMachine):
    """One worker's table over a store that outlives it."""

    def __init__(self) -> None:
        super().__init__()
        self.server = MemoryServer()
        self.generation = self.sequence = 0
        self.offsets = Counter[int]()
        self.log: list[tuple[str, int, int]] = []  # (entity, partition, offset) since the flush
        self.counted = Counter[tuple[str, int]]()
        self.stored = Counter[tuple[str, int]]()
        self.start()

    def start(self) -> None:
        self.generation += 1
        self.store = MemoryStateStore(self.server)
        self.store.claim(range(PARTITIONS), self.generation)
        self.table = EntityTable(self.store, capacity=CAPACITY, blank=np.zeros(1, COUNT))

    def apply(self, batch: list[tuple[str, int, int]]) -> None:
        """As a detector's `prepare` does it."""
        self.sequence += 1
        partitions = np.array([partition for _, partition, _ in batch], np.int32)
        offsets = np.array([offset for *_, offset in batch], np.int64)
        rows, loaded = self.table.find([name for name, *_ in batch], partitions, self.sequence)
        assert loaded is None or len(loaded.rows) == len(loaded.tail)
        fresh = offsets > self.table.offsets(rows)
        plan = plan_sequences(rows[fresh])
        state = self.table.state(plan.rows)
        state["count"] += np.bincount(plan.lane, minlength=len(plan.rows))
        self.table.update(plan.rows, state, offsets[fresh][plan.packed[plan.last]])

    # At most half of the capacity is unflushed, this batch included: the other half is for the rows
    # that strays of the batch are found by. With more in flight the table rightly gives up.
    @precondition(lambda self: len(self.log) < CAPACITY // 2)
    @rule(batch=st.lists(events, min_size=0, max_size=CAPACITY // 2))
    def events_arrive(self, batch: list[tuple[str, int]]) -> None:
        numbered = []
        for name, partition in batch[: CAPACITY // 2 - len(self.log)]:
            numbered.append((name, partition, self.offsets[partition]))
            self.offsets[partition] += 1
            self.counted[name, partition] += 1
        self.apply(numbered)
        self.log += numbered

    @rule()
    def a_flush(self) -> None:
        frozen = self.table.freeze(self.sequence)
        markers = {partition: self.offsets[partition] - 1 for partition in range(PARTITIONS)}
        for snapshot in pack(frozen, markers):
            self.store.flush(snapshot)
        self.table.flushed(self.sequence)
        self.stored = self.counted.copy()
        self.log.clear()

    @precondition(lambda self: self.log)
    @rule()
    def a_crash_and_its_replay(self) -> None:
        self.start()
        self.apply(self.log)

    @precondition(lambda self: self.log)
    @rule()
    def a_failed_batch_and_its_replay(self) -> None:
        self.table.drop()
        self.apply(self.log)

    @rule(partition=st.integers(0, PARTITIONS - 1))
    def a_partition_goes_and_comes_back(self, partition: int) -> None:
        self.a_flush()
        self.table.drop({partition})

    @invariant()
    def the_store_has_what_was_flushed(self) -> None:
        reader = EntityTable(MemoryStateStore(self.server), capacity=128, blank=np.zeros(1, COUNT))
        keys = sorted(self.counted)
        names, partitions = [n for n, _ in keys], np.array([p for _, p in keys], np.int32)
        rows, _ = reader.find(names, partitions, 0)
        counts = reader.state(rows)["count"].tolist()
        assert counts == [self.stored[key] for key in keys]

    @invariant()
    def memory_has_what_was_counted(self) -> None:
        for entity, row in self.table._row_of.items():
            name = entity if isinstance(entity, str) else entity[0]
            partition = int(self.table._partition[row])
            count = int(self.table._records["state"]["count"][row])
            assert count == self.counted[name, partition]

    @invariant()
    def no_row_is_held_twice_or_lost(self) -> None:
        held = [
            (entity if isinstance(entity, str) else entity[0], int(self.table._partition[row]))
            for entity, row in self.table._row_of.items()
        ]
        assert len(set(held)) == len(held)
        assert len(held) + len(self.table._free) == CAPACITY
        assert len(self.table) <= CAPACITY


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
