"""Settings of the servers that everything talks to, and of the topics on them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from streams.settings.section import Seconds, Section, TlsSettings

PASSWORD_IN_URL = re.compile(r"(?<=://)([^:@]*):.*@")
"""The user and the password of a URL: up to the last @, because passwords hold anything."""


class KafkaSettings(TlsSettings):
    """How to reach Kafka and how a worker behaves in its consumer group."""

    bootstrap_servers: str = "127.0.0.1:9092"
    """Brokers to begin with, ``host:port`` with commas between."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT"] = "PLAINTEXT"
    """How brokers are spoken to: ``SSL`` encrypts, ``SASL`` logs in with a password."""

    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How the password is proven."""

    sasl_username: str = ""
    """Who logs in."""

    sasl_password: SecretStr = SecretStr("")
    """Of the user; best from a file, see the secrets above."""

    allow_sasl_plaintext: bool = False
    """SASL over an unencrypted connection sends the password in the clear; opt in to allow it."""

    session_timeout_s: Seconds = 10.0
    """A worker of which the group has heard nothing for this long has lost its partitions."""

    heartbeat_interval_s: Seconds = 3.0
    """How often a worker is heard of; a third of the time above."""

    rebalance_timeout_s: Seconds = 60.0
    """How long the group waits for a worker to flush and give back its partitions."""

    group_instance_id: str = ""
    """Static membership (KIP-345): unique per worker; empty for a dynamic member."""

    fetch_max_wait_ms: int = 20
    """How long a broker waits for the bytes below to come together."""

    fetch_min_bytes: int = 65_536
    """With the wait above: a linger that trades latency for CPU (`tocsin bench latency`)."""

    max_partition_fetch_bytes: int = 4 * 1024 * 1024
    """Of one partition in one answer; a record that is larger comes alone."""

    isolation_level: Literal["read_uncommitted", "read_committed"] = "read_uncommitted"
    """Whether what a producer aborted is read: ``read_committed`` leaves it out, and is slower."""

    max_request_bytes: int = 16 * 1024 * 1024
    """Largest record that may be produced: a dead letter is as large as what it buries."""


class RedisSettings(TlsSettings):
    """Where state lives. ``memory://`` keeps it in the process (tests, experiments)."""

    url: str = "redis://127.0.0.1:6379/0"
    """``rediss://`` speaks TLS."""

    username: str = ""
    """A user of Redis's ACL; empty for the default one."""

    password: SecretStr = SecretStr("")
    """Of the user; best from a file."""

    timeout_s: Seconds = 5.0
    """For connecting and for each answer; then it is away, and waited for."""

    @property
    def in_process(self) -> bool:
        """Whether there is no Redis at all."""
        return self.url == "memory://"


class TopicSettings(Section):
    """Topic names and how `tocsin topics create` makes them."""

    transactions: str = "transactions"
    """Payments, by card."""

    labels: str = "labels"
    """Verdicts of people, by terminal or camera."""

    frames: str = "frames"
    """Pictures, by camera."""

    alerts: str = "alerts"
    """What fraud teams and operators act on."""

    scores: str = "scores"
    """The score of every payment, where `fraud.publish_scores` is on."""

    tracks: str = "tracks"
    """What is in every frame, where `vision.publish_tracks` is on."""

    audit: str = "audit"
    """What was done on the dashboard, and by whom."""

    forgotten: str = "forgotten"
    """Digests of cards that were erased, kept for ever."""

    dead_suffix: str = ".dead"
    """Of a topic's dead letters, after its name."""

    partitions: Annotated[int, Field(ge=1)] = 4
    """Of each topic: as many workers of a kind can share the work."""

    replication_factor: Annotated[int, Field(ge=1)] = 1
    """Copies of each partition: 3 where records must outlive a broker."""

    retention_days: Annotated[int, Field(ge=1)] = 60
    """How long records stay; what a rebuild of the state can read again. Dead letters stay for
    eight days more."""

    audit_retention_days: Annotated[int, Field(ge=1)] = 400
    """How long it is on record who decided what: longer than any suppression lasts."""

    frames_retention_hours: Annotated[int, Field(ge=1)] = 6
    """Pictures are large and soon worthless: no state is ever rebuilt from them."""
