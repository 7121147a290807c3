"""The contract of a state store, and what passes through it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.errors import Fenced
from streams.schemas import DECODE_ERRORS

DIGEST_BYTES = 16
"""An entity is keyed by 128 bits of BLAKE2b of its id: fixed width, and no card id in a key."""

AGREED_DAYS = 30

NOBODY = 0
"""The generation of an owner that only keeps others out: a consumer group counts from 1."""

Bytes2D = NDArray[np.uint8]


_SHOWN = 36
"""Characters of a value in a message: a topic's id, and enough of a digest."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What the state in a namespace belongs to, and how it is written."""

    group: str
    cluster: str
    topic: str
    topic_id: str | None
    partitions: int
    model: str
    version: int = 0
    """Of what is stored of a card, a terminal or a camera; 0 where it was not put on record."""

    def encode(self) -> bytes:
        """Return it as the store keeps it."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, encoded: bytes) -> Identity:
        """Read what `encode` wrote."""
        return msgspec.json.decode(encoded, type=cls)


def differences(held: bytes | None, ours: bytes) -> str:
    """Say in what two encoded identities differ, as ``partitions 4, now 6``."""
    try:
        then, now = (msgspec.structs.asdict(Identity.decode(one or b"")) for one in (held, ours))
    except DECODE_ERRORS:
        return "it cannot be read"
    return ", ".join(
        f"{name} {str(then[name])[:_SHOWN]}, now {str(now[name])[:_SHOWN]}"
        for name in then
        if then[name] != now[name]
    )


@dataclass(frozen=True, slots=True)
class Owner:
    """Who may write a partition: the consumer group's generation and a nonce of the process.

    A higher generation replaces a lower one. An equal generation from another nonce replaces the
    owner too: a static member that restarts keeps its generation.
    """

    generation: int
    nonce: str

    @classmethod
    def new(cls, generation: int) -> Owner:
        """Make an owner with a random 128-bit nonce."""
        return cls(generation, secrets.token_hex(16))

    def encode(self) -> bytes:
        """Return ``generation:nonce``."""
        return b"%d:%s" % (self.generation, self.nonce.encode())

    @staticmethod
    def generation_of(encoded: bytes) -> int:
        """Return the generation of an encoded owner."""
        return int(encoded.split(b":", 1)[0])


@dataclass(frozen=True, slots=True)
class PartitionSnapshot:
    """The dirty rows of one partition and the offset that they cover."""

    partition: int
    digests: Bytes2D  # (N, 16) uint8
    values: Bytes2D  # (N, row bytes) uint8
    marker: int
    """Highest offset that the rows cover; every record up to it has had its fate."""

    blobs: Sequence[tuple[bytes, bytes]] = ()
    """16-byte keys and values of any length, for what is not of one width; loaded as rows are."""

    lives_ms: Mapping[bytes, int] = field(default_factory=dict)
    """Keys of `blobs` that are deleted unless they are written again within so many ms."""


class StateStore(Protocol):
    """Rows of entities by partition, with an owner and a marker for each partition.

    Every call blocks and is made from a worker's own threads, never from the event loop. Calls
    raise `StoreUnavailable` when the technology behind cannot be reached (the caller waits and
    repeats the call), `StoreRefused` when it will not serve us, and `ForeignState` with the key
    when an owner or a marker is not what any store of ours writes.
    """

    def identify(self, identity: bytes) -> None:
        """Check that the namespace holds state of `identity`, or write it into an empty one.

        Raises `ForeignState` when the namespace holds the state of another topic or model.
        """

    def identity(self) -> bytes | None:
        """Return what `identify` wrote, None in an empty namespace; for readers."""

    def markers(self, partitions: Sequence[int]) -> Mapping[int, int | None]:
        """Read markers without claiming anything, for checks before joining."""

    def claim(self, partitions: Sequence[int], generation: int) -> Mapping[int, int | None]:
        """Become the owner of `partitions` and return the marker of each (None: no state).

        Called on assignment, before any load. Claiming again is harmless. Raises `Fenced` when a
        later generation owns one of them.
        """

    def fence(self, partitions: Sequence[int]) -> None:
        """Refuse everybody who has claimed `partitions` so far, however late they flush or load.

        Whoever claims them from now on may be of any generation. Rows and markers stay.
        """

    def release(self, partitions: Sequence[int]) -> None:
        """Forget what we own; a later flush of these partitions is refused here already."""

    def load(self, partitions: NDArray[np.int32], digests: Bytes2D) -> list[bytes | None]:
        """Return the row of each entity (N partitions, (N, 16) digests), None where none is.

        Raises `Fenced` when a partition that we claimed has another owner, or an older marker than
        the one we wrote: the rows are not those that we left, and what is scored from them would be
        wrong. If the state then went back to where we left it, a flush would not notice.
        """

    def verify(self, markers: Mapping[int, int]) -> None:
        """Raise `Fenced` where a partition's marker is older than the one given, or gone.

        For who stored these and has nothing to load or to flush, where a loss would show.
        """
        found = self.markers(list(markers))
        for partition, marker in markers.items():
            at = found[partition]
            if at is None or at < marker:
                raise Fenced(
                    f"the state of partition {partition} went back in time: marker "
                    f"{'none' if at is None else at}, not {marker}"
                )

    def flush(self, snapshot: PartitionSnapshot) -> None:
        """Write rows and marker in one transaction; durable as the store is when it returns.

        Repeating a flush whose answer was lost is harmless. Raises `Fenced` when the partition
        has another owner, or a marker that we did not write: the state went back in time.
        """

    def agree(self, name: bytes, value: bytes) -> bytes:
        """Return what was first agreed under `name`: `value`, if nobody was here before.

        Atomic among all workers of the namespace and remembered for at least `AGREED_DAYS`;
        durable as the store is when it returns. Not fenced: a worker that lost its partitions
        can still have a say, and everybody then keeps to it.
        """

    def forget(self, partition: int) -> None:
        """Delete the rows, blobs and marker of a partition that we own; we go on owning it.

        Not for a shared namespace, where rows do not belong to one partition. Raises `Fenced` when
        we have given it back, or somebody else has taken it.
        """

    def version(self) -> bytes:
        """Return a token that changes with every flush by anyone; for readers that cache."""

    def clear(self) -> int:
        """Delete the namespace and return how many keys it held; the next start rebuilds."""

    def close(self) -> None:
        """Release connections; calling twice is harmless."""


def digest(entity: str) -> bytes:
    """Return the 16-byte key of an entity id."""
    return hashlib.blake2b(entity.encode(), digest_size=DIGEST_BYTES).digest()


def digests(entities: Sequence[str]) -> Bytes2D:
    """Return the keys of entity ids as (N, 16) uint8."""
    joined = b"".join(map(digest, entities))
    return np.frombuffer(joined, np.uint8).reshape(len(entities), DIGEST_BYTES)
