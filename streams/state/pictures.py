"""Pictures of alerts in Redis: they expire, and together they never take more than their bytes."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from typing_extensions import override

from streams.settings import RedisSettings, Settings, picture_namespace
from streams.state.redis_client import open_client, translated

CROP: Final = ":crop"
"""After a picture's name, that of the one that shows the alert's object alone."""

# One script, so that several workers keep one account. The index is by time, the sizes stand in
# the members' hash: what expired is taken off the account at the next picture.
_PUT: Final = """
local index, sizes, key = KEYS[1], KEYS[2], KEYS[3]
local now, ttl_ms, limit = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local function drop(name)
  redis.call('UNLINK', name)
  redis.call('ZREM', index, name)
  local size = redis.call('HGET', sizes, name)
  if size then redis.call('HINCRBY', sizes, '', 0 - size) end
  redis.call('HDEL', sizes, name)
end
drop(key)
for _, name in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', now - ttl_ms)) do drop(name) end
if #ARGV[1] > limit then return 0 end
redis.call('SET', key, ARGV[1], 'PX', ttl_ms)
redis.call('ZADD', index, now, key)
redis.call('HSET', sizes, key, #ARGV[1])
redis.call('HINCRBY', sizes, '', #ARGV[1])
while tonumber(redis.call('HGET', sizes, '')) > limit do
  local oldest = redis.call('ZRANGE', index, 0, 0)[1]
  if not oldest then redis.call('HSET', sizes, '', 0) break end
  drop(oldest)
end
return 1
"""


class PictureStore(Protocol):
    """Pictures by name. Calls block and raise `StoreError` when the technology behind fails."""

    def put(self, name: str, data: bytes) -> str | None:
        """Keep a picture in place of an older one of the name; the oldest of all give way.

        Returns its reference for `get`, or None where it is too large to be kept at all.
        """

    def get(self, reference: str) -> bytes | None:
        """Return a picture; None if it has expired or given way."""

    def close(self) -> None:
        """Release connections; calling twice is harmless."""


class RedisPictureStore(PictureStore):
    """`PictureStore` over Redis; a reference is its key.

    Args:
        settings: which Redis.
        namespace: of the agent whose pictures they are.
        ttl_s: after which a picture is gone.
        max_bytes: of all pictures of the namespace.
    """

    def __init__(
        self, settings: RedisSettings, namespace: str, *, ttl_s: float, max_bytes: int
    ) -> None:
        self._client = open_client(settings)
        self._prefix = f"{picture_namespace(namespace)}:{{pictures}}:"
        self._ttl_ms, self._max_bytes = round(ttl_s * 1000), max_bytes
        self._put = self._client.register_script(_PUT)

    @override
    def put(self, name: str, data: bytes) -> str | None:
        key = f"{self._prefix}picture:{name}"
        keys = [f"{self._prefix}index", f"{self._prefix}sizes", key]
        now_ms = round(time.time() * 1000)
        with translated():
            kept = self._put(keys=keys, args=[data, now_ms, self._ttl_ms, self._max_bytes])
        return key if kept else None

    @override
    def get(self, reference: str) -> bytes | None:
        with translated():
            found = self._client.get(reference)
        return None if found is None else bytes(found)

    @override
    def close(self) -> None:
        self._client.close()


class MemoryPictureStore(PictureStore):
    """`PictureStore` in the process."""

    def __init__(
        self,
        *,
        ttl_s: float,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ttl_s, self._max_bytes, self._clock = ttl_s, max_bytes, clock
        self._pictures: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    @override
    def put(self, name: str, data: bytes) -> str | None:
        self._pictures.pop(name, None)
        if len(data) > self._max_bytes:
            return None
        self._pictures[name] = self._clock(), data
        while sum(len(kept) for _, kept in self._pictures.values()) > self._max_bytes:
            self._pictures.popitem(last=False)
        return name

    @override
    def get(self, reference: str) -> bytes | None:
        taken, data = self._pictures.get(reference, (0.0, None))
        return data if data is not None and self._clock() - taken < self._ttl_s else None

    @override
    def close(self) -> None:
        """Nothing is open."""


def open_pictures(settings: Settings) -> PictureStore | None:
    """Open the store that the settings describe, None where no pictures are to be taken."""
    vision = settings.vision
    ttl_s, max_bytes = vision.snapshot_ttl_h * 3600, vision.snapshot_max_bytes
    if not max_bytes:
        return None
    if settings.redis.in_process:
        return MemoryPictureStore(ttl_s=ttl_s, max_bytes=max_bytes)
    return RedisPictureStore(settings.redis, vision.group, ttl_s=ttl_s, max_bytes=max_bytes)
