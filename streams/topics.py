"""The topics that Tocsin uses and how each one is made. No connection is opened here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from streams.settings import Settings

# Kafka's own default: 1 MiB of payload and the 12 bytes that frame it. Written out so that a
# cluster with another default does not accept records that our consumers would not fetch.
_RECORD_BYTES = 1024 * 1024 + 12

_HEADER_BYTES = 64 * 1024
"""What headers may add to a picture, those of a trace included."""

NAMED = ("transactions", "labels", "frames", "alerts", "scores", "tracks", "audit", "forgotten")
"""The settings that name a topic; the names of all others are made of these."""

FORGOTTEN = "which cards are forgotten, keyed by group and digest"

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS

_LETTERS_LONGER_MS = 8 * _DAY_MS
"""A record outlives its retention by as much as its segment may take to fill, by Kafka's default a
week. Were its letter gone by then, a rebuild would apply what was buried and sent back."""


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


def replayed_topic(settings: Settings, topic: str) -> str:
    """Name the journal of the dead letters that were sent back to `topic`."""
    return f"{dead_topic(settings, topic)}.replayed"


def replayable(settings: Settings) -> tuple[str, ...]:
    """Name the topics whose dead letters can be sent back.

    Frames are not among them: a picture is stale by then, and alerts hang on the order of frames.
    """
    return settings.topics.transactions, settings.topics.labels


def readers(settings: Settings, groups: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Name the topics that each of our consumer groups reads.

    Of `groups`, those that Kafka knows, the ones of webhooks are added: their endpoints stand in
    the settings of `tocsin webhooks` alone.
    """
    topics = settings.topics
    hooks = {group for group in groups if group.startswith(settings.webhooks.prefix)}
    return {
        settings.fraud.group: (topics.transactions,),
        settings.labels.group: (topics.labels,),
        settings.vision.group: (topics.frames,),
        settings.dashboard.group: (topics.alerts, topics.labels, topics.audit),
        **dict.fromkeys(sorted({*settings.webhooks.groups().values(), *hooks}), (topics.alerts,)),
    }


def topic_table(settings: Settings) -> tuple[TopicSpec, ...]:
    """List every topic with its partitions, retention and record size.

    Retention is explicit, because no rebuild of state reaches further back than it, and the
    policy is delete: compaction would drop alerts and verdicts that share a key. Compacted and
    kept for ever are the journals of what was replayed, for an entry that went before its letter,
    whose segment may outlive the retention, would let the letter be sent twice; and what is
    forgotten, which nothing may bring back.
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
        (
            names.audit,
            "what people did at the dashboard, keyed by entity",
            _RECORD_BYTES,
            settings.topics.audit_retention_days * _DAY_MS,
        ),
    )
    # A dead letter is as large as what it buries, its headers come on top, and it stays longer.
    dead = tuple(
        (
            dead_topic(settings, name),
            f"what could not be processed on {name}",
            settings.kafka.max_request_bytes,
            days_ms + _LETTERS_LONGER_MS,
        )
        for name in (names.transactions, names.labels, names.frames, names.alerts)
    )
    specs = (_spec(settings, *row) for row in live + dead)
    return (*specs, *_journals(settings), _compacted(settings, names.forgotten, FORGOTTEN))


def _journals(settings: Settings) -> Iterator[TopicSpec]:
    for topic in replayable(settings):
        purpose = f"which dead letters went back to {topic}"
        # A run that is held up must still find the claim that was made before its own.
        lag = {"min.compaction.lag.ms": str(_DAY_MS)}
        yield _compacted(settings, replayed_topic(settings, topic), purpose, lag)


def _compacted(
    settings: Settings, name: str, purpose: str, config: Mapping[str, str] | None = None
) -> TopicSpec:
    return TopicSpec(
        name=name,
        purpose=purpose,
        partitions=1,  # one order for all who write to it
        replication_factor=settings.topics.replication_factor,
        config={"cleanup.policy": "compact", **(config or {})},
    )


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
