"""One contract of the picture store, held on the fake and on both Redis servers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from streams.devstack import EmbeddedRedis
from streams.errors import StoreUnavailable
from streams.settings import RedisSettings
from streams.state.pictures import MemoryPictureStore, PictureStore, RedisPictureStore

Open = Callable[..., PictureStore]


@pytest.fixture(params=["memory", "embedded", "redis-server"])
def opened(request: pytest.FixtureRequest) -> Iterator[Open]:
    stores: list[PictureStore] = []
    name = {"embedded": "embedded_redis", "redis-server": "redis_server"}.get(request.param)
    namespace = f"test-{uuid.uuid4().hex[:12]}"
    url = "" if name is None else request.getfixturevalue(name).url

    def open_store(*, ttl_s: float = 60.0, max_bytes: int = 1000) -> PictureStore:
        if name is None:
            stores.append(MemoryPictureStore(ttl_s=ttl_s, max_bytes=max_bytes))
        else:
            settings = RedisSettings(url=url)
            stores.append(RedisPictureStore(settings, namespace, ttl_s=ttl_s, max_bytes=max_bytes))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


def test_a_picture_comes_back_by_its_reference(opened: Open) -> None:
    store = opened()
    reference = store.put("frames:0:1:7:yard", b"\xff\xd8\r\n")
    assert reference is not None
    assert store.get(reference) == b"\xff\xd8\r\n"
    assert store.get(f"{reference}0") is None


def test_a_better_picture_takes_the_place_of_the_one_before(opened: Open) -> None:
    store = opened()
    references = {store.put("a", bytes([value]) * 600) for value in range(5)}
    (reference,) = references
    assert reference is not None
    assert store.get(reference) == b"\x04" * 600


def test_the_oldest_give_way_when_the_bytes_are_used_up(opened: Open) -> None:
    store = opened(max_bytes=1000)
    references = []
    for name in "abcd":
        references.append(store.put(name, name.encode() * 400))
        time.sleep(0.002)  # the index orders by the millisecond
    kept = [reference is not None and store.get(reference) is not None for reference in references]
    assert kept == [False, False, True, True]


def test_a_picture_larger_than_all_the_room_is_not_kept(opened: Open) -> None:
    store = opened(max_bytes=100)
    small = store.put("small", b"x" * 50)
    assert store.put("large", b"x" * 101) is None
    assert small is not None
    assert store.get(small) is not None


def test_a_picture_expires_and_its_bytes_are_free_again(opened: Open) -> None:
    store = opened(ttl_s=0.05, max_bytes=1000)
    old = store.put("old", b"x" * 900)
    time.sleep(0.1)
    assert old is not None
    assert store.get(old) is None
    new = store.put("new", b"x" * 900)
    assert new is not None
    assert store.get(new) is not None


def test_the_account_is_that_of_the_keys(embedded_redis: EmbeddedRedis, namespace: str) -> None:
    settings = RedisSettings(url=embedded_redis.url)
    store = RedisPictureStore(settings, namespace, ttl_s=60, max_bytes=5000)
    for step in range(100):
        store.put(f"p{step % 13}", bytes(step * 17 % 900))
    with Redis.from_url(embedded_redis.url) as client:
        keys = list(client.scan_iter(f"{namespace}*picture:*"))
        total = sum(client.strlen(key) for key in keys)
        (sizes,) = client.scan_iter(f"{namespace}*sizes")
        assert int(client.hget(sizes, "")) == total <= 5000
        assert client.hlen(sizes) == len(keys) + 1
        assert all(0 < client.pttl(key) <= 60_000 for key in keys)
    store.close()


def test_a_redis_that_is_away_is_named() -> None:
    store = RedisPictureStore(
        RedisSettings(url="redis://127.0.0.1:1"), "test", ttl_s=60, max_bytes=1000
    )
    with pytest.raises(StoreUnavailable, match="cannot reach Redis"):
        store.put("a", b"x")
