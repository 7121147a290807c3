"""One contract of the state store, held on the fake and on both Redis servers."""

from __future__ import annotations

import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
import pytest
from pydantic import SecretStr
from redis import Redis

from models.fraud.features import CARD_STATE, new_card_state
from streams.devstack import EmbeddedRedis, RedisServer
from streams.devstack.ports import free_ports
from streams.errors import Fenced, ForeignState, StoreRefused, StoreUnavailable
from streams.settings import RedisSettings
from streams.state.cards import CardHistory
from streams.state.memory import MemoryServer, MemoryStateStore
from streams.state.patient import PatientStateStore
from streams.state.redis import LOAD_CHUNK, OWNER_TTL_MS, RedisStateStore
from streams.state.store import Identity, Owner, PartitionSnapshot, StateStore, digests
from streams.state.table import ROW_VERSION, row_dtype
from streams.status import Status
from tests.conftest import started

WIDTH = 24


@dataclass
class Bed:
    """Opens stores of different workers on one server and namespace."""

    new: Callable[[bool], StateStore]
    opened: list[StateStore] = field(default_factory=list)

    def worker(self, *, shared: bool = False) -> StateStore:
        store = self.new(shared)
        self.opened.append(store)
        return store


@pytest.fixture(params=["memory", "embedded", "redis-server"])
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    if request.param == "memory":
        server = MemoryServer()
        bed = Bed(lambda shared: MemoryStateStore(server, shared=shared))
    else:
        name = {"embedded": "embedded_redis", "redis-server": "redis_server"}[request.param]
        url, namespace = request.getfixturevalue(name).url, f"test-{uuid.uuid4().hex[:12]}"
        bed = Bed(lambda shared: RedisStateStore(RedisSettings(url=url), namespace, shared=shared))
    yield bed
    for store in bed.opened:
        store.close()


def rows_of(names: Sequence[str], value: int) -> tuple[np.ndarray, np.ndarray]:
    return digests(names), np.full((len(names), WIDTH), value, np.uint8)


def snapshot(
    names: Sequence[str], value: int, marker: int, partition: int = 0
) -> PartitionSnapshot:
    return PartitionSnapshot(partition, *rows_of(names, value), marker)


def load(store: StateStore, names: Sequence[str], partition: int = 0) -> list[bytes | None]:
    return store.load(np.full(len(names), partition, np.int32), digests(names))


def row(value: int) -> bytes:
    return bytes([value]) * WIDTH


# -- rows and markers -----------------------------------------------------------------------------
def test_loading_nothing_brings_nothing(bed: Bed) -> None:
    assert load(bed.worker(), []) == []


def test_a_new_namespace_has_no_rows_and_no_markers(bed: Bed) -> None:
    store = bed.worker()

    assert store.claim([0, 1], 1) == {0: None, 1: None}
    assert store.markers([0, 1]) == {0: None, 1: None}
    assert load(store, ["a", "b"]) == [None, None]


def test_what_was_flushed_is_loaded_in_the_order_asked_for(bed: Bed) -> None:
    store = bed.worker()
    store.claim([0], 1)
    store.flush(snapshot(["a"], 1, 5))
    store.flush(snapshot(["b", "c"], 2, 9))

    assert load(store, ["c", "nobody", "a", "b"]) == [row(2), None, row(1), row(2)]
    assert store.markers([0]) == {0: 9}


def test_a_flush_without_rows_moves_the_marker(bed: Bed) -> None:
    store = bed.worker()
    store.claim([3], 1)
    store.flush(snapshot([], 0, 41, partition=3))

    assert store.markers([3]) == {3: 41}
    assert bed.worker().claim([3], 2) == {3: 41}


def test_rows_of_one_entity_on_two_partitions_are_two_rows(bed: Bed) -> None:
    store = bed.worker()
    store.claim([0, 1], 1)
    store.flush(snapshot(["a"], 1, 0, partition=0))
    store.flush(snapshot(["a"], 2, 0, partition=1))

    assert store.load(np.array([1, 0], np.int32), digests(["a", "a"])) == [row(2), row(1)]


def test_a_namespace_is_not_the_other(redis_url: str, namespace: str) -> None:
    ours, other = (
        RedisStateStore(RedisSettings(url=redis_url), f"{namespace}-{i}") for i in (1, 2)
    )
    ours.claim([0], 1)
    ours.flush(snapshot(["a"], 1, 0))

    assert load(other, ["a"]) == [None]
    assert other.clear() == 0
    assert load(ours, ["a"]) == [row(1)]
    ours.close()
    other.close()


def test_more_rows_than_one_command_takes_come_back(bed: Bed) -> None:
    store = bed.worker()
    store.claim([0], 1)
    names = [str(i) for i in range(LOAD_CHUNK + 3)]
    store.flush(snapshot(names, 7, 0))

    assert load(store, [*names, "nobody"]) == [row(7)] * len(names) + [None]


# -- fencing --------------------------------------------------------------------------------------
def test_a_flush_of_a_partition_that_was_never_claimed_is_refused(bed: Bed) -> None:
    with pytest.raises(Fenced, match="partition 0"):
        bed.worker().flush(snapshot(["a"], 1, 0))


def test_a_later_generation_replaces_the_owner_whose_flush_is_then_refused(bed: Bed) -> None:
    old, new = bed.worker(), bed.worker()
    old.claim([0], 1)
    old.flush(snapshot(["a"], 1, 5))
    assert new.claim([0], 2) == {0: 5}

    with pytest.raises(Fenced):
        old.flush(snapshot(["a"], 9, 6))

    assert load(new, ["a"]) == [row(1)]
    new.flush(snapshot(["a"], 2, 6))
    assert load(new, ["a"]) == [row(2)]


def test_a_zombie_that_flushes_between_the_load_and_the_flush_of_its_successor_is_refused(
    bed: Bed,
) -> None:
    zombie, successor = bed.worker(), bed.worker()
    zombie.claim([0], 1)
    zombie.flush(snapshot(["a"], 1, 5))
    successor.claim([0], 2)
    assert load(successor, ["a"]) == [row(1)]

    with pytest.raises(Fenced):
        zombie.flush(snapshot(["a"], 66, 7))
    successor.flush(snapshot(["a"], 2, 7))

    assert load(successor, ["a"]) == [row(2)]
    assert successor.markers([0]) == {0: 7}


def test_a_zombie_does_not_get_to_see_the_rows_of_its_successor(bed: Bed) -> None:
    zombie, successor = bed.worker(), bed.worker()
    zombie.claim([0, 1], 1)
    successor.claim([0], 2)
    successor.flush(snapshot(["a"], 1, 5))

    with pytest.raises(Fenced, match="another owner"):
        load(zombie, ["a"])  # it would drop as a replay what the successor has applied
    assert load(zombie, ["a"], partition=1) == [None]
    assert load(successor, ["a"]) == [row(1)]
    assert load(bed.worker(), ["a"]) == [row(1)]  # who claims nothing may read


def test_an_equal_generation_of_another_process_replaces_the_owner(bed: Bed) -> None:
    before, after = bed.worker(), bed.worker()
    before.claim([0], 4)
    before.flush(snapshot(["a"], 1, 0))
    after.claim([0], 4)  # a static member that was started again

    with pytest.raises(Fenced):
        before.flush(snapshot(["a"], 2, 1))
    after.flush(snapshot(["a"], 3, 1))
    assert load(after, ["a"]) == [row(3)]


def test_a_lower_generation_is_refused_while_the_owner_is_fresh(bed: Bed) -> None:
    owner, late = bed.worker(), bed.worker()
    owner.claim([0], 7)

    with pytest.raises(Fenced):
        late.claim([0], 6)
    owner.flush(snapshot(["a"], 1, 0))


@pytest.mark.parametrize("is_leased", [True, False])
def test_a_fence_keeps_out_who_claimed_before_and_nobody_who_claims_after(
    bed: Bed, is_leased: bool
) -> None:
    old, janitor, new = bed.worker(), bed.worker(), bed.worker()
    old.claim([0, 1], 7)
    old.flush(snapshot(["a"], 1, 5))
    if not is_leased:
        end_the_lease(old)
    janitor.fence([0])

    with pytest.raises(Fenced, match="another owner"):
        old.flush(snapshot(["a"], 66, 6))
    with pytest.raises(Fenced, match="another owner"):
        load(old, ["a"])
    old.flush(snapshot(["a"], 1, 5, partition=1))
    assert new.claim([0], 1) == {0: 5}  # of a group that was deleted meanwhile
    assert load(new, ["a"]) == [row(1)]
    new.flush(snapshot(["a"], 2, 6))
    assert load(new, ["a"]) == [row(2)]


def test_a_fence_outlasts_every_lease(redis_url: str, namespace: str) -> None:
    store = RedisStateStore(RedisSettings(url=redis_url), namespace)
    store.claim([0], 1)
    assert store._client.pttl(store._fence_keys(0)[0]) > 0
    store.fence([0, 1])
    assert {store._client.pttl(store._fence_keys(one)[0]) for one in (0, 1)} == {-1}
    store.claim([0], 1)
    assert store._client.pttl(store._fence_keys(0)[0]) > 0
    store.close()


def test_claiming_again_is_harmless(bed: Bed) -> None:
    store = bed.worker()
    store.claim([0, 1], 1)
    store.flush(snapshot(["a"], 1, 3))

    assert store.claim([0, 1], 1) == {0: 3, 1: None}
    store.flush(snapshot(["a"], 2, 4))
    assert store.claim([0, 1], 2) == {0: 4, 1: None}


def test_a_release_ends_our_flushes_and_nobody_elses(bed: Bed) -> None:
    store, other = bed.worker(), bed.worker()
    store.claim([0, 1], 1)
    store.release([0, 5])

    with pytest.raises(Fenced):
        store.flush(snapshot(["a"], 1, 0))
    store.flush(snapshot(["a"], 1, 0, partition=1))
    other.claim([0], 2)
    other.flush(snapshot(["a"], 1, 0))


def test_a_marker_that_went_back_in_time_is_refused(bed: Bed) -> None:
    store = bed.worker()
    store.claim([0], 1)
    store.flush(snapshot(["a"], 1, 5))
    store.flush(snapshot(["a"], 2, 9))
    put_marker(store, 5)  # as a restored backup would

    with pytest.raises(Fenced, match="back in time"):
        store.flush(snapshot(["a"], 3, 12))
    with pytest.raises(Fenced, match="back in time"):
        load(store, ["a"])
    assert load(bed.worker(), ["a"]) == [row(2)]


def test_who_has_nothing_to_do_can_ask_whether_its_state_is_still_there(bed: Bed) -> None:
    store, other, janitor = bed.worker(), bed.worker(), bed.worker()
    store.claim([0, 1], 1)
    store.verify({})
    store.flush(snapshot(["a"], 1, 5))
    store.verify({0: 5})
    other.claim([0], 2)
    other.flush(snapshot(["a"], 2, 9))
    store.verify({0: 5})  # ahead is not lost
    with pytest.raises(Fenced, match=r"partition 0 went back in time: marker 9, not 10"):
        store.verify({0: 10})
    janitor.clear()
    with pytest.raises(Fenced, match="marker none, not 5"):
        store.verify({0: 5})


def test_a_store_that_lost_everything_is_refused_like_one_that_went_back(bed: Bed) -> None:
    store, janitor = bed.worker(), bed.worker()
    store.claim([0], 1)
    store.flush(snapshot(["a"], 1, 5))
    janitor.clear()

    with pytest.raises(Fenced, match="back in time"):
        store.flush(snapshot(["a"], 2, 6))


def test_repeating_a_flush_whose_answer_was_lost_is_harmless(bed: Bed) -> None:
    store = bed.worker()
    store.claim([0], 1)
    store.flush(snapshot(["a"], 1, 5))
    behave_as_if_the_last_answer_was_lost(store, None)

    store.flush(snapshot(["a"], 1, 5))

    assert load(store, ["a"]) == [row(1)]
    store.flush(snapshot(["a"], 2, 6))
    assert store.markers([0]) == {0: 6}


def put_marker(store: StateStore, marker: int) -> None:
    if isinstance(store, MemoryStateStore):
        store.server.markers[0] = marker
    else:
        assert isinstance(store, RedisStateStore)
        store._client.set(store._fence_keys(0)[1], marker)


def end_the_lease(store: StateStore) -> None:
    if isinstance(store, MemoryStateStore):
        del store.server.owners[0]
    else:
        assert isinstance(store, RedisStateStore)
        store._client.delete(store._fence_keys(0)[0])


def behave_as_if_the_last_answer_was_lost(store: StateStore, marker: int | None) -> None:
    assert isinstance(store, MemoryStateStore | RedisStateStore)
    owner, _ = store._mine[0]
    store._mine[0] = owner, marker  # type: ignore[assignment]


# -- identity, version, clear ---------------------------------------------------------------------
def test_a_namespace_takes_one_identity_and_refuses_another(bed: Bed) -> None:
    store, other = bed.worker(), bed.worker()
    ours = Identity(group="g", cluster="c", topic="t", topic_id=None, partitions=4, model="m")
    store.identify(ours.encode())
    store.identify(ours.encode())

    with pytest.raises(
        ForeignState, match=r"another topic, model or version \(partitions 4, now 6\)"
    ):
        other.identify(msgspec.structs.replace(ours, partitions=6).encode())
    with pytest.raises(ForeignState, match="cannot be read"):
        other.identify(b"of another age")


def test_a_reader_learns_the_identity_of_a_namespace(bed: Bed) -> None:
    reader = bed.worker()
    assert reader.identity() is None
    ours = Identity(
        group="g", cluster="c", topic="t", topic_id=None, partitions=3, model="m"
    ).encode()
    bed.worker().identify(ours)
    assert reader.identity() == ours
    assert Identity.decode(ours).partitions == 3
    reader.clear()
    assert reader.identity() is None


def test_clear_empties_the_namespace_so_that_anyone_may_begin_again(bed: Bed) -> None:
    store, other = bed.worker(), bed.worker()
    store.identify(b"one")
    store.claim([0], 9)
    store.flush(snapshot(["a", "b"], 1, 3))

    assert store.clear() >= 4
    assert store.clear() == 0
    other.identify(b"two")
    assert other.claim([0], 1) == {0: None}
    assert load(other, ["a"]) == [None]


def test_clear_that_is_cut_short_leaves_no_marker_over_rows_that_are_gone(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = bed.worker(), bed.worker()
    if isinstance(store, MemoryStateStore):
        return  # it is one step there
    assert isinstance(store, RedisStateStore)
    store.identify(b"one")
    store.claim([0, 1], 9)
    for partition in (0, 1):
        store.flush(snapshot(["a", "b"], 1, 3, partition=partition))

    class Cut(Exception):
        pass

    unlink, calls = store._client.unlink, list[int]()

    def cut_short(*keys: bytes) -> Any:
        calls.append(len(keys))
        if len(calls) > 1:
            raise Cut
        return unlink(*keys)

    monkeypatch.setattr(store._client, "unlink", cut_short)
    with pytest.raises(Cut):
        store.clear()
    assert other.claim([0, 1], 10) == {0: None, 1: None}


def test_the_version_of_a_shared_namespace_changes_with_every_flush_by_anyone(bed: Bed) -> None:
    one, two, reader = (bed.worker(shared=True) for _ in range(3))
    one.claim([0], 1)
    two.claim([1], 1)
    seen = [reader.version()]
    one.flush(snapshot(["a"], 1, 0))
    seen.append(reader.version())
    two.flush(snapshot(["b"], 1, 0, partition=1))
    seen.append(reader.version())
    one.flush(snapshot([], 1, 1))
    seen.append(reader.version())

    assert len(set(seen)) == len(seen)
    assert reader.version() == seen[-1]


def test_in_a_shared_namespace_a_reader_needs_no_partition(bed: Bed) -> None:
    writer, reader = bed.worker(shared=True), bed.worker(shared=True)
    writer.claim([3], 1)
    writer.flush(snapshot(["m1"], 8, 0, partition=3))

    assert load(reader, ["m1", "m2"], partition=0) == [row(8), None]


# -- cards that others wrote ----------------------------------------------------------------------
CARD_ROW = row_dtype(CARD_STATE)


def put_cards(store: StateStore, partition: int, marker: int = 0, **counts: int) -> None:
    """Write cards as the fraud agent does, a memory behind each record."""
    rows = np.zeros(len(counts), CARD_ROW)
    rows["version"], rows["state"]["count"] = ROW_VERSION, list(counts.values())
    values = rows.view(np.uint8).reshape(len(counts), CARD_ROW.itemsize)
    values = np.concatenate([values, np.full((len(counts), 12), 7, np.uint8)], axis=1)
    store.flush(PartitionSnapshot(partition, digests(list(counts)), values, marker))


def identified(bed: Bed, partitions: int = 3) -> StateStore:
    store = bed.worker()
    store.identify(
        Identity(
            group="g", cluster="c", topic="t", topic_id="i", partitions=partitions, model="m"
        ).encode()
    )
    store.claim(range(partitions), 1)
    return store


def counts_of(bed: Bed, *cards: str) -> list[int]:
    found = CardHistory(bed.worker()).find(cards)
    assert found.dtype == CARD_STATE
    return found["count"].tolist()


def test_cards_are_found_on_whatever_partition_they_are_in_the_order_asked_for(bed: Bed) -> None:
    writer = identified(bed)
    put_cards(writer, 0, a=1, b=2)
    put_cards(writer, 2, c=3)

    assert counts_of(bed, "c", "a", "nobody", "b", "c") == [3, 1, 0, 2, 3]
    assert counts_of(bed) == []


def test_of_a_card_on_several_partitions_the_row_that_saw_most_counts(bed: Bed) -> None:
    writer = identified(bed)
    put_cards(writer, 0, a=4, b=1)
    put_cards(writer, 1, a=9, b=1)
    put_cards(writer, 2, a=6, b=8)

    assert counts_of(bed, "a", "b") == [9, 8]


def test_where_no_fraud_agent_has_run_every_card_is_unknown(bed: Bed) -> None:
    assert CardHistory(bed.worker()).find(["a", "b"]).tobytes() == new_card_state(2).tobytes()


def test_looking_cards_up_claims_nothing_and_disturbs_no_writer(bed: Bed) -> None:
    writer = identified(bed)
    history = CardHistory(bed.worker())
    for marker in range(3):
        put_cards(writer, 0, marker, a=marker + 1)
        assert history.find(["a"])["count"].tolist() == [marker + 1]


def test_a_row_of_another_version_is_no_card(bed: Bed) -> None:
    writer = identified(bed)
    writer.flush(snapshot(["short"], 1, 0))
    with pytest.raises(ForeignState, match="too short"):
        counts_of(bed, "short")
    width = CARD_ROW.itemsize
    old = PartitionSnapshot(1, digests(["old"]), np.full((1, width), 1, np.uint8), 0)
    writer.flush(old)
    with pytest.raises(ForeignState, match="run tocsin state rebuild"):
        counts_of(bed, "old")


def test_closing_twice_is_harmless(bed: Bed) -> None:
    store = bed.worker()
    store.claim([0], 1)
    store.close()
    store.close()


# -- what only a server can do --------------------------------------------------------------------
@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis of this test's own, embedded, to stop and to misconfigure."""
    with started(EmbeddedRedis(), real=False) as server:
        yield server


def open_redis(url: str, *, timeout_s: float = 1.0) -> RedisStateStore:
    return RedisStateStore(RedisSettings(url=url, timeout_s=timeout_s), "fence")


def test_a_lower_generation_may_claim_once_the_owners_lease_has_run_out(redis_url: str) -> None:
    owner, late = open_redis(redis_url), open_redis(redis_url)
    owner.clear()
    owner.claim([0], 7)
    key = owner._fence_keys(0)[0]
    with Redis.from_url(redis_url) as client:
        assert 0 < client.pttl(key) <= OWNER_TTL_MS
        client.delete(key)  # as its time to live would

    owner.flush(snapshot(["a"], 1, 0))  # nobody came: the lease is ours still
    with Redis.from_url(redis_url) as client:
        client.delete(key)
    assert late.claim([0], 1) == {0: 0}
    with pytest.raises(Fenced):
        owner.flush(snapshot(["a"], 2, 1))
    late.flush(snapshot(["a"], 3, 1))
    with Redis.from_url(redis_url) as client:
        client.delete(key)
    with pytest.raises(Fenced, match="marker 1, not 0"):
        load(owner, ["a"])  # somebody came and went
    assert load(late, ["a"]) == [row(3)]
    owner.close()
    late.close()


def test_a_redis_that_is_down_is_unavailable_and_serves_again_when_it_is_back(
    own_redis: RedisServer,
) -> None:
    store = open_redis(own_redis.url)
    store.claim([0], 1)
    own_redis.kill()
    calls: list[Callable[[], object]] = [
        lambda: store.claim([0], 1),
        lambda: store.flush(snapshot(["a"], 1, 0)),
        lambda: load(store, ["a"]),
        lambda: store.identify(b"x"),
        lambda: store.markers([0]),
        store.version,
        store.clear,
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable, match="cannot reach Redis") as caught:
            call()
        assert "\n" not in str(caught.value)

    own_redis.start()
    assert store.claim([0], 1) == {0: None}
    store.flush(snapshot(["a"], 1, 0))
    assert load(store, ["a"]) == [row(1)]
    store.close()


def test_a_redis_that_hangs_is_unavailable_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = open_redis(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", timeout_s=0.2)
        with pytest.raises(StoreUnavailable):
            load(store, ["a"])
        store.close()


@pytest.mark.parametrize("password", ["", "wrong"])
def test_a_wrong_password_is_refused_in_one_line_that_does_not_tell_it(password: str) -> None:
    with started(EmbeddedRedis(password="right"), real=False) as server:
        port = server.url.rsplit(":", 1)[1]
        settings = RedisSettings(url=f"redis://127.0.0.1:{port}", password=SecretStr(password))
        store = RedisStateStore(settings, "fence")
        for call in (lambda: store.identify(b"x"), lambda: load(store, ["a"])):
            with pytest.raises(StoreRefused, match=r"redis\.password") as caught:
                call()
            assert "\n" not in str(caught.value)
            assert "right" not in str(caught.value)
        store.close()


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
def test_a_redis_that_evicts_rows_by_itself_is_refused(own_redis: RedisServer, policy: str) -> None:
    store = open_redis(own_redis.url)
    with Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory-policy", policy)
        with pytest.raises(StoreRefused, match=policy):
            store.identify(b"x")
        client.config_set("maxmemory-policy", "volatile-lru")
    store.identify(b"x")
    store.close()


def test_a_redis_without_memory_left_is_unavailable_and_nothing_is_half_written(
    own_redis: RedisServer,
) -> None:
    store = open_redis(own_redis.url)
    store.claim([0], 1)
    store.flush(snapshot(["a"], 1, 0))
    with Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreUnavailable):
            store.flush(snapshot(["a", "b"], 2, 1))
        assert load(store, ["a", "b"]) == [row(1), None]
        assert store.markers([0]) == {0: 0}
        client.config_set("maxmemory", 0)
    store.flush(snapshot(["a", "b"], 2, 1))
    assert load(store, ["a", "b"]) == [row(2), row(2)]
    store.close()


def test_a_key_of_another_type_is_refused_in_one_line(own_redis: RedisServer) -> None:
    store = open_redis(own_redis.url)
    with Redis.from_url(own_redis.url) as client:
        client.rpush(store._version_key, "not a number")
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        store.version()
    store.close()


def test_a_patient_store_waits_out_an_outage_by_name_and_logs_it_once(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    status, stop = Status(), threading.Event()
    store = PatientStateStore(open_redis(own_redis.url), status, stop)
    store.claim([0], 1)
    own_redis.stop()
    caplog.set_level(logging.INFO)
    waiting = threading.Thread(target=lambda: store.flush(snapshot(["a"], 1, 0)))
    waiting.start()
    while not status.is_waiting or "waiting for Redis" not in str(status.reasons()):
        assert waiting.is_alive()
        time.sleep(0.01)
    own_redis.start()
    waiting.join(10)

    assert not waiting.is_alive()
    assert load(store, ["a"]) == [row(1)]
    assert [r.levelname for r in caplog.records] == ["WARNING", "INFO"]
    assert "is back after" in caplog.records[-1].getMessage()
    store.close()


def test_a_patient_store_gives_up_when_told_to_stop() -> None:
    (port,) = free_ports(1)
    status, stop = Status(), threading.Event()
    store = PatientStateStore(open_redis(f"redis://127.0.0.1:{port}"), status, stop)
    stop.set()
    with pytest.raises(StoreUnavailable):
        store.version()
    assert not any("Redis" in reason for reason in status.reasons())


def test_a_patient_store_does_not_wait_to_ask_whether_its_state_is_there() -> None:
    (port,) = free_ports(1)
    store = PatientStateStore(open_redis(f"redis://127.0.0.1:{port}"), Status(), threading.Event())
    with pytest.raises(StoreUnavailable):
        store.verify({0: 5})


def test_a_fenced_flush_does_not_wait() -> None:
    server = MemoryServer()
    old, new = MemoryStateStore(server), MemoryStateStore(server)
    patient = PatientStateStore(old, Status(), threading.Event())
    patient.claim([0], 1)
    new.claim([0], 2)
    with pytest.raises(Fenced):
        patient.flush(snapshot(["a"], 1, 0))


def test_an_owner_reads_back_its_generation() -> None:
    assert Owner.generation_of(Owner.new(12).encode()) == 12
    assert Owner.new(12) != Owner.new(12)


# -- what is agreed on ----------------------------------------------------------------------------
def test_the_first_to_speak_is_agreed_with(bed: Bed) -> None:
    first, second = bed.worker(), bed.worker()
    assert first.agree(b"threshold:7", b"\x00one") == b"\x00one"
    assert second.agree(b"threshold:7", b"two") == b"\x00one"
    assert second.agree(b"threshold:8", b"two") == b"two"
    assert first.agree(b"threshold:8", b"one") == b"two"


def test_what_was_agreed_is_forgotten_with_the_rest(bed: Bed) -> None:
    store = bed.worker()
    store.agree(b"threshold:7", b"one")
    assert store.clear() >= 1
    assert store.agree(b"threshold:7", b"two") == b"two"


# -- values of any length -------------------------------------------------------------------------
BLOB = b"blob".ljust(16, b"\0")


def blob_snapshot(marker: int, *blobs: bytes, partition: int = 0) -> PartitionSnapshot:
    empty = np.zeros((0, 16), np.uint8), np.zeros((0, 0), np.uint8)
    return PartitionSnapshot(partition, *empty, marker, [(BLOB, blob) for blob in blobs])


def load_blob(store: StateStore, partition: int = 0) -> bytes | None:
    key = np.frombuffer(BLOB, np.uint8).reshape(1, 16)
    (found,) = store.load(np.array([partition], np.int32), key)
    return found


def test_values_of_any_length_are_stored_with_the_marker(bed: Bed) -> None:
    store = bed.worker()
    store.claim([0], 1)
    assert load_blob(store) is None
    for marker, value in enumerate([b"", b"\r\n$3\r\n", bytes(200_000)]):
        store.flush(blob_snapshot(marker, value))
        assert load_blob(store) == value
        assert store.markers([0]) == {0: marker}


def test_a_value_is_deleted_at_its_end_unless_it_is_written_again(bed: Bed) -> None:
    store = bed.worker()
    store.claim([0], 1)
    store.flush(replace(blob_snapshot(1, b"brief"), lives_ms={BLOB: 50}))
    store.flush(blob_snapshot(2, b"for good"))
    time.sleep(0.1)
    assert load_blob(store) == b"for good"
    store.flush(replace(blob_snapshot(3, b"brief"), lives_ms={BLOB: 200}))
    assert load_blob(store) == b"brief"
    time.sleep(0.3)
    assert load_blob(store) is None
    assert store.markers([0]) == {0: 3}


def test_a_fenced_flush_stores_no_value_of_any_length(bed: Bed) -> None:
    old, new = bed.worker(), bed.worker()
    old.claim([0], 1)
    new.claim([0], 2)
    with pytest.raises(Fenced):
        old.flush(blob_snapshot(1, b"stale"))
    assert load_blob(new) is None


def test_a_partition_that_was_given_back_is_not_forgotten(bed: Bed) -> None:
    store, other = bed.worker(), bed.worker()
    store.claim([0], 1)
    store.flush(blob_snapshot(1, b"kept"))
    store.release([0])
    with pytest.raises(Fenced):
        store.forget(0)
    other.claim([0], 2)
    assert load_blob(other) == b"kept"


def test_who_was_replaced_forgets_nothing_of_who_came(bed: Bed) -> None:
    store, other = bed.worker(), bed.worker()
    store.claim([0], 1)
    other.claim([0], 2)
    other.flush(blob_snapshot(6, b"theirs"))
    with pytest.raises(Fenced):
        store.forget(0)
    assert load_blob(other) == b"theirs"
    assert other.markers([0]) == {0: 6}


def test_forgetting_a_partition_leaves_the_others_and_its_owner(bed: Bed) -> None:
    store = bed.worker()
    store.claim([0, 1], 1)
    for partition in (0, 1):
        store.flush(snapshot(["a"], 1, 5, partition=partition))
        store.flush(blob_snapshot(6, b"kept", partition=partition))

    store.forget(0)

    assert (load(store, ["a"]), load_blob(store)) == ([None], None)
    assert (load(store, ["a"], 1), load_blob(store, 1)) == ([row(1)], b"kept")
    assert store.markers([0, 1]) == {0: None, 1: 6}
    store.flush(blob_snapshot(2, b"again"))
    assert load_blob(store) == b"again"
