"""The state store on Redis or Valkey."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from streams.errors import Fenced, ForeignState, StoreRefused
from streams.schemas import DECODE_ERRORS
from streams.settings import RedisSettings
from streams.state import wire
from streams.state.redis_client import open_client, translated
from streams.state.store import (
    AGREED_DAYS,
    DIGEST_BYTES,
    NOBODY,
    Bytes2D,
    Identity,
    Owner,
    PartitionSnapshot,
    StateStore,
    differences,
)

OWNER_TTL_MS = 60_000
"""An owner that neither flushes nor claims for this long may be replaced by any generation, so a
consumer group that was deleted, and counts from 1 again, is not locked out for ever."""

LOAD_CHUNK = 5_000
"""Keys an MGET: Redis answers other workers in between."""

_DAY_MS = 86_400_000


class RedisStateStore(StateStore):
    """`StateStore` over one Redis.

    Keys are ``namespace:{tag}:`` and the 16-byte digest of the entity. The tag, a Redis Cluster
    hash tag, is the partition, so that a partition's rows, owner and marker share a slot; in a
    `shared` namespace, whose readers do not know the partition of an entity, it is one word.
    """

    def __init__(self, settings: RedisSettings, namespace: str, *, shared: bool = False) -> None:
        self._client = open_client(settings)
        self._namespace = namespace
        self._shared = shared
        self._mine: dict[int, tuple[bytes, bytes | None]] = {}

    # -- keys ---------------------------------------------------------------------------------
    def _prefix(self, partition: int) -> bytes:
        tag = "rows" if self._shared else f"{partition:04d}"
        return f"{self._namespace}:{{{tag}}}:".encode()

    def _fence_keys(self, partition: int) -> tuple[bytes, bytes]:
        prefix = self._prefix(partition)
        return prefix + b"owner:%04d" % partition, prefix + b"marker:%04d" % partition

    def _keys(self, partitions: NDArray[np.int32], digests: Bytes2D) -> Bytes2D:
        distinct, index = np.unique(partitions, return_inverse=True)
        prefixes = np.stack([np.frombuffer(self._prefix(int(p)), np.uint8) for p in distinct])
        return np.concatenate([prefixes[index], digests], axis=1)

    @property
    def _identity_key(self) -> str:
        return f"{self._namespace}:identity"

    @property
    def _version_key(self) -> bytes:
        return self._prefix(0) + b"version"

    # -- the contract -------------------------------------------------------------------------
    @override
    def identify(self, identity: bytes) -> None:
        """See `StateStore.identify`; also refuses a Redis that may evict rows by itself."""
        with translated():
            policy = self._client.info("memory").get("maxmemory_policy", "noeviction")
            if str(policy).startswith("allkeys"):
                raise StoreRefused(
                    f"Redis runs with maxmemory-policy {policy}, which evicts card state at will: "
                    "set it to noeviction or volatile-lru"
                )
            self._client.setnx(self._identity_key, identity)
            held = self._client.get(self._identity_key)
        if held != identity:
            raise ForeignState(
                f"the state in {self._namespace!r} belongs to another topic, model or version "
                f"({differences(held, identity)}): run tocsin state rebuild"
            )

    @override
    def identity(self) -> bytes | None:
        with translated():
            held = self._client.get(self._identity_key)
        return None if held is None else bytes(held)

    def identities(self) -> Iterator[Identity]:
        """Read what every namespace of this Redis belongs to, in no order."""
        with translated():
            for key in self._client.scan_iter("*:identity", count=10_000, _type="string"):
                with suppress(*DECODE_ERRORS):  # somebody else's key
                    yield Identity.decode(self._client.get(key) or b"")

    @override
    def markers(self, partitions: Sequence[int]) -> Mapping[int, int | None]:
        with translated():
            found = {p: self._client.get(self._fence_keys(p)[1]) for p in partitions}
        return {p: self._marker(p, marker) for p, marker in found.items()}

    def scan(self) -> Iterator[tuple[int, bytes]]:
        """Partition and 16-byte key of every row and blob, in no order; each at least once.

        What others write meanwhile may be among them. Not for a shared namespace.
        """
        begin = len(self._prefix(0))
        with translated():
            for key in self._client.scan_iter(f"{self._namespace}:{{*}}:*", count=10_000):
                if len(key) == begin + DIGEST_BYTES:
                    yield int(key[begin - 6 : begin - 2]), key[begin:]

    def erase(self, partitions: Sequence[int], digests: Bytes2D) -> int:
        """Delete the rows of (N, 16) digests in each of `partitions`; return how many there were.

        Nobody may hold them: a worker that does would write them again.
        """
        homes = np.repeat(np.array(partitions, np.int32), len(digests))
        keys = [key.tobytes() for key in self._keys(homes, np.tile(digests, (len(partitions), 1)))]
        with translated():
            return sum(
                int(self._client.unlink(*keys[first : first + LOAD_CHUNK]))
                for first in range(0, len(keys), LOAD_CHUNK)
            )

    @override
    def claim(self, partitions: Sequence[int], generation: int) -> Mapping[int, int | None]:
        owner = Owner.new(generation).encode()
        markers: dict[int, int | None] = {}
        for partition in partitions:
            with translated():
                marker = self._client.transaction(
                    partial(self._claim_one, partition, owner),
                    *self._fence_keys(partition),
                    value_from_callable=True,
                )
            self._mine[partition] = owner, marker
            markers[partition] = self._marker(partition, marker)
        return markers

    def _claim_one(self, partition: int, owner: bytes, pipe: Any) -> bytes | None:
        owner_key, marker_key = self._fence_keys(partition)
        held, marker = pipe.mget(owner_key, marker_key)
        self._marker(partition, marker)  # before we own what we could not read
        theirs = -1 if held is None else _number(owner_key, held, Owner.generation_of)
        ours = Owner.generation_of(owner)
        if theirs > ours:
            raise Fenced(
                f"partition {partition} of {self._namespace!r} is owned by generation {theirs}, "
                f"ours is {ours}"
            )
        pipe.multi()
        pipe.set(owner_key, owner, px=OWNER_TTL_MS)
        return None if marker is None else bytes(marker)

    @override
    def fence(self, partitions: Sequence[int]) -> None:
        nobody = Owner.new(NOBODY).encode()
        with translated():
            for partition in partitions:
                # For good: a process that is stopped may outlast any lease.
                self._client.set(self._fence_keys(partition)[0], nobody)

    @override
    def release(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            self._mine.pop(partition, None)

    @override
    def load(self, partitions: NDArray[np.int32], digests: Bytes2D) -> list[bytes | None]:
        if not len(digests):
            return []
        keys = self._keys(partitions, digests)
        chunks = [keys[i : i + LOAD_CHUNK] for i in range(0, len(keys), LOAD_CHUNK)]
        # What another owner has written, or a state that went back in time, must not be scored:
        # owners and markers are read with the rows.
        ours = {p: self._mine[p] for p in np.unique(partitions).tolist() if p in self._mine}
        fences = [key for p in ours for key in self._fence_keys(p)]
        guards = [wire.command(b"MGET", *fences)] if ours else []
        answers = self._exchange([wire.mget(chunk) for chunk in chunks] + guards)
        found = answers.pop() if ours else []
        for place, (partition, (owner, marker)) in enumerate(ours.items()):
            self._check_ours(partition, owner, marker, *found[2 * place : 2 * place + 2])
        return [row for rows in answers for row in rows]

    def _check_ours(
        self,
        partition: int,
        owner: bytes,
        marker: bytes | None,
        held: bytes | None,
        found: bytes | None,
    ) -> None:
        """Refuse what is not as we left it, but for what a flush of ours writes meanwhile.

        That one leaves our name and a later marker. Without an owner, whose lease ran out, the
        marker must be the one that we know: somebody else may have come and gone.
        """
        at, known = self._marker(partition, found), self._marker(partition, marker)
        older = known is not None and (at is None or at < known)
        if held not in (owner, None) or older or (held is None and found != marker):
            raise Fenced(self._fence_message(partition, held, owner, found, marker))

    @override
    def flush(self, snapshot: PartitionSnapshot) -> None:
        """See `StateStore.flush`.

        Order matters:
        1. WATCH owner and marker, read both.
        2. Compare them with what we last wrote.
        3. MULTI, rows, marker, owner's lease, EXEC; refused by Redis if either key changed since.
        """
        partition = snapshot.partition
        if partition not in self._mine:
            raise Fenced(f"partition {partition} of {self._namespace!r} is not ours any more")
        owner, marker = self._mine[partition]
        owner_key, marker_key = self._fence_keys(partition)
        written = b"%d" % snapshot.marker
        with translated(), self._connection() as connection:
            # Step 1.
            connection.send_packed_command(
                [
                    wire.command(b"WATCH", owner_key, marker_key)
                    + wire.command(b"MGET", owner_key, marker_key)
                ]
            )
            connection.read_response(disable_decoding=True)
            held, found = connection.read_response(disable_decoding=True)
            # Step 2. A lease that ran out while nobody wrote is ours still: the marker says so.
            if held not in (owner, None) or found not in (marker, written):
                connection.disconnect()
                raise Fenced(self._fence_message(partition, held, owner, found, marker))
            # Step 3.
            rows = (
                [wire.mset(self._row_keys(snapshot), snapshot.values)]
                if len(snapshot.values)
                else []
            )
            parts = [
                wire.command(b"MULTI"),
                *rows,
                *(
                    wire.command(
                        b"SET", self._prefix(partition) + key, value, *_life(snapshot, key)
                    )
                    for key, value in snapshot.blobs
                ),
                wire.command(b"SET", marker_key, written),
                wire.command(b"SET", owner_key, owner, b"PX", b"%d" % OWNER_TTL_MS),
                *([wire.command(b"INCR", self._version_key)] if self._shared else []),
                wire.command(b"EXEC"),
            ]
            connection.send_packed_command([b"".join(parts)])
            for _ in parts[:-1]:
                connection.read_response(disable_decoding=True)
            if connection.read_response(disable_decoding=True) is None:
                raise Fenced(
                    f"partition {partition} of {self._namespace!r} was taken over, or its state "
                    "went back in time, while we wrote"
                )
        self._mine[partition] = owner, written

    def _row_keys(self, snapshot: PartitionSnapshot) -> Bytes2D:
        partitions = np.full(len(snapshot.digests), snapshot.partition, np.int32)
        return self._keys(partitions, snapshot.digests)

    def _marker(self, partition: int, value: bytes | None) -> int | None:
        return None if value is None else _number(self._fence_keys(partition)[1], value, int)

    def _fence_message(
        self,
        partition: int,
        held: bytes | None,
        owner: bytes,
        found: bytes | None,
        marker: bytes | None,
    ) -> str:
        where = f"partition {partition} of {self._namespace!r}"
        if held not in (owner, None):
            return f"{where} has another owner ({_text(held)}, we are {_text(owner)})"
        markers = f"marker {_text(found)}, not {_text(marker)}"
        at, known = self._marker(partition, found), self._marker(partition, marker)
        if at is not None and (known is None or at > known):
            return f"{where} has had another owner meanwhile: {markers}"
        return f"the state of {where} went back in time: {markers}"

    @override
    def agree(self, name: bytes, value: bytes) -> bytes:
        key = f"{self._namespace}:agreed:".encode() + name
        with translated():
            self._client.set(key, value, nx=True, px=AGREED_DAYS * _DAY_MS)
            # Gone between the two it cannot be: it lives for days.
            return bytes(self._client.get(key) or value)

    @override
    def forget(self, partition: int) -> None:
        if partition not in self._mine:
            raise Fenced(f"partition {partition} of {self._namespace!r} is not ours any more")
        owner, marker = self._mine[partition]
        with translated():
            self._client.transaction(
                partial(self._forget_one, partition, owner, marker), *self._fence_keys(partition)
            )
        self._mine[partition] = owner, None

    def _forget_one(self, partition: int, owner: bytes, marker: bytes | None, pipe: Any) -> None:
        """Delete all but the owner's key; who flushes or claims meanwhile has this asked anew."""
        owner_key, marker_key = self._fence_keys(partition)
        held, found = pipe.mget(owner_key, marker_key)
        if held not in (owner, None) or found not in (marker, None):
            raise Fenced(self._fence_message(partition, held, owner, found, marker))
        keys = list(pipe.scan_iter(self._prefix(partition) + b"*", count=10_000))
        pipe.multi()
        for start in range(0, len(keys), LOAD_CHUNK):
            pipe.unlink(*keys[start : start + LOAD_CHUNK])
        pipe.set(owner_key, owner, px=OWNER_TTL_MS)

    @override
    def version(self) -> bytes:
        with translated():
            return bytes(self._client.get(self._version_key) or b"0")

    @override
    def clear(self) -> int:
        with translated():
            # Markers first: where this is cut short, rows that are gone must not look processed.
            markers = self._unlink(f"{self._namespace}:{{*}}:marker:*".encode())
            return markers + self._unlink(f"{self._namespace}:*".encode())

    def _unlink(self, pattern: bytes) -> int:
        keys = list(self._client.scan_iter(pattern, count=10_000))
        for start in range(0, len(keys), LOAD_CHUNK):
            self._client.unlink(*keys[start : start + LOAD_CHUNK])
        return len(keys)

    @override
    def close(self) -> None:
        self._client.close()

    # -- the connection -----------------------------------------------------------------------
    @contextmanager
    def _connection(self) -> Iterator[Any]:
        pool = self._client.connection_pool
        connection = pool.get_connection()
        try:
            yield connection
        except BaseException:
            connection.disconnect()  # answers may be left on it
            raise
        finally:
            pool.release(connection)

    def _exchange(self, commands: list[bytes]) -> list[Any]:
        with translated(), self._connection() as connection:
            connection.send_packed_command(commands)
            return [connection.read_response(disable_decoding=True) for _ in commands]


def _life(snapshot: PartitionSnapshot, key: bytes) -> tuple[bytes, ...]:
    """Give the arguments of SET for how long a blob lives; none takes an older end away."""
    life_ms = snapshot.lives_ms.get(key)
    return () if life_ms is None else (b"PX", b"%d" % life_ms)


def _number(key: bytes, value: bytes, read: Callable[[bytes], int]) -> int:
    """Read a marker, or the generation of an owner.

    Raises:
        ForeignState: nobody of ours wrote that.
    """
    try:
        return read(value)
    except ValueError:
        raise ForeignState(
            f"{key.decode()!r} in Redis is damaged, it holds {value[:40]!r}: run tocsin state "
            "rebuild"
        ) from None


def _text(value: bytes | None) -> str:
    return "none" if value is None else value.decode(errors="replace")
