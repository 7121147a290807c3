"""Rows of entities in memory: loaded once, evicted after their flush only, never mixed up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from streams.errors import ForeignState, TocsinError
from streams.state.memory import MemoryStateStore
from streams.state.store import PartitionSnapshot, digests
from streams.state.table import ROW_VERSION, EntityTable, pack, parse_rows, row_dtype

COUNT = np.dtype([("count", "<i8")])


@pytest.fixture
def store() -> MemoryStateStore:
    store = MemoryStateStore()
    store.claim([0, 1], 1)
    return store


def table_on(store: MemoryStateStore, capacity: int = 4) -> EntityTable:
    return EntityTable(store, capacity=capacity, blank=np.zeros(1, COUNT))


def find(table: EntityTable, names: Sequence[str], sequence: int, partition: int = 0) -> list[int]:
    rows, _ = table.find(names, np.full(len(names), partition, np.int32), sequence)
    return rows.tolist()  # type: ignore[no-any-return]


def count(table: EntityTable, names: Sequence[str], sequence: int) -> None:
    """Give each of distinct `names` one event more, at offset `sequence`."""
    rows = np.array(find(table, names, sequence), np.int64)
    state = table.state(rows)
    state["count"] += 1
    table.update(rows, state, np.full(len(rows), sequence))


def counts(table: EntityTable, names: Sequence[str], sequence: int) -> list[int]:
    rows = np.array(find(table, names, sequence), np.int64)
    return table.state(rows)["count"].tolist()  # type: ignore[no-any-return]


def flush(table: EntityTable, store: MemoryStateStore, sequence: int) -> None:
    for snapshot in pack(table.freeze(sequence), {0: sequence}):
        store.flush(snapshot)
    table.flushed(sequence)


def test_what_is_forgotten_has_had_its_fate_whatever_an_older_row_says(
    store: MemoryStateStore,
) -> None:
    table = table_on(store)
    count(table, ["back", "newer"], 7)  # "back": as a Redis that went back in time has it
    flush(table, store, 7)
    table.drop()
    gone, back, newer = (digests([name])[0].tobytes() for name in ("gone", "back", "newer"))
    table.forgotten = {(0, gone): 40, (1, gone): 50, (0, back): 60, (0, newer): 6}

    rows, _ = table.find(["gone", "other", "back", "newer"], np.zeros(4, np.int32), 8)
    assert table.offsets(rows).tolist() == [40, -1, 60, 7]
    assert table.state(rows)["count"].tolist() == [0, 0, 0, 1]


def test_an_empty_batch_finds_nothing_and_asks_for_nothing(store: MemoryStateStore) -> None:
    table = table_on(store)
    rows, loaded = table.find([], np.empty(0, np.int32), 1)

    assert (len(rows), loaded, len(table)) == (0, None, 0)
    assert len(table.freeze(1).rows) == 0
    assert pack(table.freeze(1), {}) == []


def test_a_batch_without_dirty_rows_moves_the_marker_of_each_of_its_partitions(
    store: MemoryStateStore,
) -> None:
    snapshots = pack(table_on(store).freeze(1), {0: 7, 1: 9})

    assert [(s.partition, s.marker, len(s.values)) for s in snapshots] == [(0, 7, 0), (1, 9, 0)]


def test_a_new_entity_starts_blank_and_has_applied_nothing(store: MemoryStateStore) -> None:
    table = table_on(store)
    rows, loaded = table.find(["a", "b", "a"], np.zeros(3, np.int32), 1)

    assert rows[0] == rows[2] != rows[1]
    assert table.offsets(rows).tolist() == [-1, -1, -1]
    assert loaded is not None
    assert len(loaded.rows) == 2
    assert (table.hits, table.misses) == (1, 2)


def test_a_row_that_is_not_flushed_is_never_evicted(store: MemoryStateStore) -> None:
    table = table_on(store)
    count(table, ["a", "b", "c", "d"], 1)

    with pytest.raises(TocsinError, match="all 4 rows are in use by unflushed batches"):
        find(table, ["e"], 2)
    flush(table, store, 1)
    find(table, ["e"], 2)
    assert table.evicted == 1


def test_a_frozen_row_stays_until_its_flush_is_confirmed(store: MemoryStateStore) -> None:
    table = table_on(store)
    count(table, ["a", "b", "c", "d"], 1)
    table.freeze(1)  # clean now, and on its way to the store

    with pytest.raises(TocsinError):
        find(table, ["e"], 2)


def test_a_row_used_by_a_batch_under_way_stays_though_it_is_clean(
    store: MemoryStateStore,
) -> None:
    table = table_on(store)
    count(table, ["a", "b", "c", "d"], 1)
    flush(table, store, 1)
    find(table, ["a", "b", "c", "d"], 2)  # read by batch 2, which is not flushed

    with pytest.raises(TocsinError):
        find(table, ["e"], 3)


def test_rows_of_the_batch_itself_are_not_evicted_to_make_room_for_it(
    store: MemoryStateStore,
) -> None:
    table = table_on(store)
    count(table, ["a", "b", "c", "d"], 1)
    flush(table, store, 1)

    rows = find(table, ["a", "e", "b", "f"], 2)

    assert len(set(rows)) == 4
    assert counts(table, ["a", "b"], 2) == [1, 1]


def test_the_least_recently_used_goes_first_and_comes_back_right(store: MemoryStateStore) -> None:
    table = table_on(store)
    for sequence, name in enumerate("abcd", start=1):
        count(table, [name], sequence)
    count(table, ["a"], 5)
    flush(table, store, 5)
    find(table, ["e"], 6)

    assert table.evicted == 1
    hits = table.hits
    find(table, ["a", "c", "d"], 6)
    assert table.hits == hits + 3  # "b" was the one
    flush(table, store, 6)
    assert counts(table, ["b"], 7) == [1]
    flush(table, store, 7)
    assert counts(table, ["a"], 8) == [2]


def test_an_entity_on_two_partitions_has_a_row_on_each(store: MemoryStateStore) -> None:
    table = table_on(store)
    rows, _ = table.find(["a", "a", "b", "a"], np.array([0, 1, 0, 0], np.int32), 1)
    again, _ = table.find(["a", "a"], np.array([1, 0], np.int32), 2)

    assert rows[0] == rows[3] != rows[1]
    assert again.tolist() == [rows[1], rows[0]]
    assert table.strays > 0


def test_a_stray_whose_first_row_was_dropped_keeps_what_it_counted(
    store: MemoryStateStore,
) -> None:
    table = table_on(store, capacity=8)
    rows, _ = table.find(["a", "a"], np.array([1, 0], np.int32), 1)  # "a" lives on 0, strays to 1
    state = table.state(rows)
    state["count"] = [10, 20]
    table.update(rows, state, np.array([5, 6]))
    table.drop({int(table._partition[table._row_of["a"]])})  # its home goes elsewhere
    left = next(iter(table._row_of.values()))
    home = int(table._partition[left])

    rows, loaded = table.find(["a"], np.array([home], np.int32), 2)

    assert rows.tolist() == [left]
    assert loaded is None or not len(loaded.rows)
    assert len(table) == 1


def test_dropping_forgets_dirty_rows_and_only_those_of_the_partitions(
    store: MemoryStateStore,
) -> None:
    table = table_on(store)
    find(table, ["a"], 1, partition=0)
    count(table, ["b"], 1)
    find(table, ["c"], 1, partition=1)

    assert table.drop({0}) == 2
    assert len(table) == 1
    assert len(table.freeze(1).rows) == 0
    assert table.drop() == 1
    assert table.drop() == 0
    count(table, ["p", "q", "r", "s"], 2)  # all four rows are free again


def test_a_row_of_another_width_or_version_is_refused(store: MemoryStateStore) -> None:
    table = table_on(store)
    store.flush(PartitionSnapshot(0, digests(["a"]), np.zeros((1, 7), np.uint8), 0))
    with pytest.raises(ForeignState, match="not 18 bytes wide"):
        find(table, ["a"], 1)
    store.flush(PartitionSnapshot(0, digests(["a"]), np.zeros((1, 18), np.uint8), 1))
    with pytest.raises(ForeignState, match="another version"):
        find(table, ["a"], 1)
    assert len(table) == 0


def test_a_row_is_split_into_its_record_and_its_tail() -> None:
    record = row_dtype(COUNT)
    one = np.zeros(1, record)
    one["version"], one["offset"], one["state"]["count"] = ROW_VERSION, 17, 3

    records, tail = parse_rows([one.tobytes() + b"\x07\x08"], record, 2)

    assert records["offset"].tolist() == [17]
    assert records["state"]["count"].tolist() == [3]
    assert tail.tolist() == [[7, 8]]


def test_packed_rows_stand_in_the_partition_that_they_belong_to(store: MemoryStateStore) -> None:
    table = table_on(store)
    rows, _ = table.find(["a", "b", "c"], np.array([1, 0, 1], np.int32), 1)
    table.update(rows, table.state(rows), np.array([3, 4, 5]))
    frozen = table.freeze(1)
    tail = np.arange(3, dtype=np.uint8)[:, None]

    zero, one = pack(frozen, {0: 4, 1: 5}, tail=tail)

    assert zero.digests.tobytes() == digests(["b"]).tobytes()
    assert {d.tobytes() for d in one.digests} == {d.tobytes() for d in digests(["a", "c"])}
    assert [len(zero.values), len(one.values)] == [1, 2]
    assert np.concatenate([zero.values, one.values])[:, -1].tolist() == [0, 1, 2]


def test_a_store_that_cannot_load_leaves_the_table_as_it_was(store: MemoryStateStore) -> None:
    class Broken(MemoryStateStore):
        def load(self, *_: object) -> list[bytes | None]:
            raise TocsinError("down")

    table = table_on(Broken(store.server))
    with pytest.raises(TocsinError, match="down"):
        find(table, ["a"], 1)
    assert (len(table), table.misses) == (0, 0)
