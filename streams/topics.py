"""The topics that Tocsin uses and how each one is made. No connection is opened here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streams.settings import Settings

# Kafka's own default: 1 MiB of payload and the 12 bytes that frame it. Written out so that a
# cluster with another default does not accept records that our consumers would not fetch.
_RECORD_BYTES = 1024 * 1024 + 12

_HEADER_BYTES = 64 * 1024
"""What headers may add to a picture, those of a trace included."""

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as `tocsin topics create` makes it; `config` holds Kafka's own topic settings."""

    name: str
    purpose: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str]


def dead_topic(settings: Settings, topic: str) -> str:
    """Name the topic that takes what could not be processed on `topic`."""
    return f"{topic}{settings.topics.dead_suffix}"


def topic_table(settings: Settings) -> tuple[TopicSpec, ...]:
    """List every topic with its partitions, retention and record size.

    Retention is explicit, because no rebuild of state reaches further back than it, and the
    policy is always delete: compaction would drop alerts and verdicts that share a key.
    """
    names = settings.topics
    days_ms = settings.topics.retention_days * _DAY_MS
    hours_ms = settings.topics.frames_retention_hours * _HOUR_MS
    picture_bytes = settings.vision.max_frame_bytes + _HEADER_BYTES
    live = (
        (names.transactions, "card payments, keyed by card", _RECORD_BYTES, days_ms),
        (names.labels, "verdicts, keyed by terminal or camera", _RECORD_BYTES, days_ms),
        (names.frames, "camera pictures, keyed by camera", picture_bytes, hours_ms),
        (names.alerts, "alerts, keyed by card or camera", _RECORD_BYTES, days_ms),
        (names.scores, "every score, keyed by card (optional)", _RECORD_BYTES, days_ms),
        (
            names.tracks,
            "what is in every frame, keyed by camera (optional)",
            _RECORD_BYTES,
            hours_ms,
        ),
    )
    # A dead letter is as large as what it buries, and its headers come on top.
    dead = tuple(
        (
            dead_topic(settings, name),
            f"what could not be processed on {name}",
            settings.kafka.max_request_bytes,
            days_ms,
        )
        for name in (names.transactions, names.labels, names.frames)
    )
    return tuple(_spec(settings, *row) for row in live + dead)


def _spec(
    settings: Settings, name: str, purpose: str, max_message_bytes: int, retention_ms: int
) -> TopicSpec:
    return TopicSpec(
        name=name,
        purpose=purpose,
        partitions=settings.topics.partitions,
        replication_factor=settings.topics.replication_factor,
        config={
            "cleanup.policy": "delete",
            "max.message.bytes": str(max_message_bytes),
            "retention.ms": str(retention_ms),
        },
    )
