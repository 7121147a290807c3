"""Every record that crosses Kafka, as msgspec structs. JSON on the wire, ours on both sides.

Unknown fields are ignored, so a producer may send more than we read. A field that is missing, of
another type, out of range or not finite makes the record undecodable: `DECODE_ERRORS` names what
a decoder raises, and the caller turns it into a `DeadLetter`. Times are milliseconds since the
epoch, UTC, in the body; the Kafka record timestamp is the send time and carries no meaning here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal, Protocol

import msgspec
from msgspec import Meta, Struct

Id = Annotated[str, Meta(min_length=1, max_length=128)]
"""A token, never a card number."""

Millis = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]
"""Milliseconds since the epoch, UTC, up to the year 9999: fits an int64 and a `datetime`."""

Amount = Annotated[float, Meta(ge=0, le=1e30)]
"""In units of the record's currency; JSON cannot carry a number that is not finite, and more than
this does not fit into the state's columns."""

Score01 = Annotated[float, Meta(ge=0, le=1)]
"""In [0, 1]; higher is more suspicious."""

Scalar = str | int | float | bool | None
Headers = tuple[tuple[str, bytes | None], ...]
"""Kafka record headers in order; a name may repeat and a value may be null."""

DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoders below raise on a record that is not one: every bad byte ends in one of them."""


class Record(Protocol):
    """One Kafka record as aiokafka's compiled parser leaves it."""

    @property
    def offset(self) -> int:
        """Offset in the partition."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch, as the producer or the broker wrote it."""

    @property
    def key(self) -> bytes | None:
        """Raw key."""

    @property
    def value(self) -> bytes | None:
        """Raw value; None is a tombstone."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """Headers in the order in which they were written."""


# `gc=False`: a batch holds 16,384 of them, and tracking each costs more than decoding it.
class Transaction(Struct, gc=False, frozen=True):
    """One card payment on `transactions`, keyed by `card_id`."""

    tx_id: Id
    card_id: Id
    terminal_id: Id
    amount: Amount
    currency: Annotated[str, Meta(min_length=3, max_length=3)]
    event_time: Millis
    attributes: dict[str, Scalar] = {}


class TransactionLabel(
    Struct, gc=False, frozen=True, omit_defaults=True, tag_field="kind", tag="transaction"
):
    """A verdict on a transaction on `labels`, keyed by `terminal_id`. The later one wins.

    `is_fraud` null withdraws an earlier verdict. Genuine outcomes are sent too where known.
    """

    tx_id: Id
    card_id: Id
    terminal_id: Id
    amount: Amount
    event_time: Millis
    labelled_at: Millis
    is_fraud: bool | None
    source: Literal["chargeback", "settled", "analyst", "simulator"]
    by: Annotated[str, Meta(max_length=128)] = ""
    note: Annotated[str, Meta(max_length=2000)] = ""


class ObjectLabel(
    Struct, gc=False, frozen=True, omit_defaults=True, tag_field="kind", tag="object"
):
    """A verdict on an object alert on `labels`, keyed by `camera_id`; null withdraws."""

    alert_id: Annotated[str, Meta(min_length=1, max_length=512)]
    camera_id: Id
    class_name: str = msgspec.field(name="class")
    labelled_at: Millis
    is_true: bool | None
    source: Literal["analyst", "simulator"]
    by: Annotated[str, Meta(max_length=128)] = ""
    note: Annotated[str, Meta(max_length=2000)] = ""


Label = TransactionLabel | ObjectLabel


class Source(Struct, gc=False, frozen=True):
    """Where in Kafka the record lies that opened the alert."""

    topic: str
    partition: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    offset: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class ModelRef(Struct, gc=False, frozen=True):
    """Which weights decided; `sha256` is that of the weights file."""

    name: str
    version: str
    sha256: str


class Reason(Struct, gc=False, frozen=True):
    """Why: `contribution` is how far this group of inputs raises the score over an ordinary one."""

    code: str
    text: str
    contribution: float
    evidence: dict[str, Scalar] = {}


class Alert(Struct, frozen=True, kw_only=True):
    """The one envelope of `alerts`, for both kinds, keyed by `entity`.

    `id` names the thing that happens; `revision` counts 0, 1, 2... as it goes on; `event_id` is
    ``id:revision``. Consumers drop an `event_id` that they have seen and upsert by `id`.
    """

    id: str
    revision: int
    event_id: str
    kind: Literal["fraud", "object"]
    status: Literal["new", "update", "end"]
    severity: Literal["low", "medium", "high", "critical"]
    score: Score01
    threshold: Score01
    entity: str
    started_at: Millis
    updated_at: Millis
    ended_at: Millis | None = None
    event_time: Millis
    processed_at: Millis
    source: Source
    model: ModelRef
    reasons: list[Reason] = []
    snapshot: str | None = None
    rebuilding: bool = False
    detail: dict[str, Scalar] = {}
    traceparent: str | None = None
    """Place of the event in its trace (W3C), for who has no headers; None where it came without."""


class Score(Struct, gc=False, frozen=True):
    """One scored transaction on `scores`, keyed by `card_id`; `model` and `version` scored it."""

    tx_id: str
    card_id: str
    score: Score01
    event_time: Millis
    model: str
    version: str


class DetectedObject(Struct, frozen=True):
    """What the detector found: a box in pixels of the frame, at its full size."""

    x1: float
    y1: float
    x2: float
    y2: float
    confidence: float
    class_name: str = msgspec.field(name="class")


class TrackedObject(DetectedObject, frozen=True):
    """A confirmed track that was seen in the frame."""

    tracker_id: int


class FrameObjects(Struct, frozen=True, kw_only=True):
    """Everything in one frame, on `tracks`, keyed by `camera_id`."""

    camera_id: str
    seq: int | None
    captured_at: Millis
    width: int
    height: int
    is_still: bool
    """Nothing had moved, so that `detections` are those of the frame before."""

    detections: list[DetectedObject]
    tracks: list[TrackedObject]


class Action(Struct, gc=False, frozen=True, omit_defaults=True, kw_only=True):
    """What a person did at the dashboard, on `audit`, keyed by the entity, or by who did it."""

    id: Id
    at: Millis
    by: Annotated[str, Meta(max_length=128)]
    action: Literal[
        "verdict", "note", "suppress", "lift", "replay", "rules", "login", "login refused", "logout"
    ]
    alert_id: Annotated[str, Meta(max_length=512)] = ""
    kind: Literal["fraud", "object", ""] = ""
    entity: Annotated[str, Meta(max_length=128)] = ""
    outcome: bool | None = None
    """Of a verdict; null withdraws."""

    until: Millis | None = None
    """When a suppression ends."""

    of: Annotated[str, Meta(max_length=128)] = ""
    """The suppression that is lifted."""

    text: Annotated[str, Meta(max_length=2000)] = ""
    """The reason, the note, or what was done."""


CUT_HEADERS: Final = ("tocsin-cut-bytes", "tocsin-cut-sha256")
"""On a dead letter that was too large for its topic, which is without its value: that one's size
and checksum. They are ours: a sender's of the same name are not kept."""

DEAD_LETTER_HEADERS: Final = (
    "tocsin-reason",
    "tocsin-step",
    "tocsin-topic",
    "tocsin-partition",
    "tocsin-offset",
    "tocsin-timestamp",
)


REPLAY_OF_HEADER: Final = "tocsin-replay-of"
"""On a record that was sent again: the letter that it is from. It stays if that is buried again."""


class DeadLetter(Struct, frozen=True):
    """A record that could not be processed: original value, key and headers, and why and where.

    `timestamp` is that of the original record (ms). What is ours rides in headers, so that the
    original bytes can be sent to the original topic again as they are.
    """

    value: bytes | None
    key: bytes | None
    headers: Headers
    reason: str
    step: str
    topic: str
    partition: int
    offset: int
    timestamp: int

    def to_headers(self) -> list[tuple[str, bytes | None]]:
        """Give the headers of the dead letter: the original ones, then ours as ``tocsin-*``.

        Headers of ours on the original (it was buried before) give way to the new ones.
        """
        own = {*DEAD_LETTER_HEADERS, *CUT_HEADERS}
        kept = [header for header in self.headers if header[0] not in own]
        ours = (
            self.reason,
            self.step,
            self.topic,
            str(self.partition),
            str(self.offset),
            str(self.timestamp),
        )
        return kept + [
            (name, text.encode()) for name, text in zip(DEAD_LETTER_HEADERS, ours, strict=True)
        ]

    @classmethod
    def from_record(cls, key: bytes | None, value: bytes | None, headers: Headers) -> DeadLetter:
        """Read a record of a ``.dead`` topic.

        Raises:
            ValueError: a ``tocsin-`` header is missing or not what `to_headers` writes.
        """
        ours = {name: text for name, text in headers if name in DEAD_LETTER_HEADERS}
        missing = [name for name in DEAD_LETTER_HEADERS if ours.get(name) is None]
        if missing:
            raise ValueError(f"not a dead letter: header {missing[0]} is missing")
        reason, step, topic, partition, offset, timestamp = (
            (ours[name] or b"").decode() for name in DEAD_LETTER_HEADERS
        )
        return cls(
            value=value,
            key=key,
            headers=tuple(header for header in headers if header[0] not in DEAD_LETTER_HEADERS),
            reason=reason,
            step=step,
            topic=topic,
            partition=int(partition),
            offset=int(offset),
            timestamp=int(timestamp),
        )


# Decoders are built once: building one costs more than decoding a thousand records.
decode_transaction = msgspec.json.Decoder(Transaction).decode
decode_label = msgspec.json.Decoder(Label).decode
decode_alert = msgspec.json.Decoder(Alert).decode
decode_score = msgspec.json.Decoder(Score).decode
decode_action = msgspec.json.Decoder(Action).decode
decode_frame_objects = msgspec.json.Decoder(FrameObjects).decode

_encoder = msgspec.json.Encoder()


def encode(record: Struct) -> bytes:
    """Encode any of the structs above as compact JSON."""
    return _encoder.encode(record)
