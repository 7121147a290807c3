"""The least that each part of Tocsin must be allowed, in Kafka and in Redis.

One list: `tocsin rights` prints and grants it, the documents are generated from it, the secured
compose stack lives by it, and the tests run every part with it against servers that refuse
everything else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from streams.settings import Settings, access_namespace, picture_namespace
from streams.topics import dead_topic, replayable, replayed_topic, topic_table

Role = Literal[
    "operator",
    "payments",
    "cameras",
    "cases",
    "simulator",
    "fraud",
    "labels",
    "vision",
    "dashboard",
    "webhooks",
    "consumer",
    "monitor",
]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

WHO: Final[dict[Role, str]] = {
    "operator": "makes topics, looks after dead letters and state, trains",
    "payments": "sends transactions",
    "cameras": "sends frames",
    "cases": "sends verdicts, also by `tocsin label`",
    "simulator": "is `tocsin produce transactions`: sends payments and verdicts",
    "fraud": "is `tocsin worker fraud`",
    "labels": "is `tocsin worker labels`",
    "vision": "is `tocsin worker vision`",
    "dashboard": "is `tocsin dashboard`",
    "webhooks": "is `tocsin webhooks`",
    "consumer": "reads alerts, also by `tocsin alerts`",
    "monitor": "is told of lag: the Kafka exporter, or what scales workers by it",
}

Operation = Literal["Create", "Describe", "DescribeConfigs", "Read", "Write"]


@dataclass(frozen=True, slots=True)
class KafkaRight:
    """An operation on one resource, by its full name. Read and Write imply Describe."""

    resource: Literal["topic", "group"]
    name: str
    operation: Operation
    is_prefix: bool = False
    """The right is for every resource whose name begins so."""


def kafka_rights(role: Role, settings: Settings) -> tuple[KafkaRight, ...]:
    """List what `role` needs with these settings; an idempotent producer needs Write alone."""
    reads, writes = _reads_and_writes(settings)[role]
    found = [KafkaRight("topic", topic, "Read") for topic in reads]
    found += [KafkaRight("topic", topic, "Write") for topic in writes]
    groups = _groups(settings)
    if role in groups:
        found.append(KafkaRight("group", groups[role], "Read", role in _SEVERAL))
    if role == "dashboard":  # before it sends letters back, it looks whether the journal keeps all
        found += [KafkaRight("topic", name, "DescribeConfigs") for name in _journals(settings)]
    if role == "operator":
        for spec in topic_table(settings):
            found.append(KafkaRight("topic", spec.name, "Create"))
            found.append(KafkaRight("topic", spec.name, "DescribeConfigs"))
    if role in _WATCHERS:
        names = [spec.name for spec in topic_table(settings)]
        unread = [name for name in names if name not in {*reads, *writes}]
        found += [KafkaRight("topic", name, "Describe") for name in unread]
        found += [
            KafkaRight("group", group, "Describe", one in _SEVERAL)
            for one, group in groups.items()
            if one != role
        ]
    if role == "operator":  # to let one fraud group begin where another one is
        found.append(KafkaRight("group", groups["fraud"], "Read"))
    return tuple(found)


def by_resource(rights: Iterable[KafkaRight]) -> dict[tuple[str, str], list[Operation]]:
    """Gather the operations on each (resource, name), in order; a prefix ends with ``*``."""
    found: dict[tuple[str, str], list[Operation]] = {}
    for right in rights:
        name = f"{right.name}*" if right.is_prefix else right.name
        found.setdefault((right.resource, name), []).append(right.operation)
    return found


def _reads_and_writes(settings: Settings) -> dict[Role, tuple[list[str], list[str]]]:
    topics, journals = settings.topics, _journals(settings)
    everything = [spec.name for spec in topic_table(settings)]
    dead = {
        topic: dead_topic(settings, topic)
        for topic in (topics.transactions, topics.labels, topics.frames, topics.alerts)
    }
    scores = [topics.scores] if settings.fraud.publish_scores else []
    tracks = [topics.tracks] if settings.vision.publish_tracks else []
    ways_back = [*replayable(settings), *journals]
    return {
        "operator": (everything, [*ways_back, topics.forgotten]),
        "payments": ([], [topics.transactions]),
        "cameras": ([], [topics.frames]),
        "cases": ([topics.alerts], [topics.labels]),
        "simulator": ([], [topics.transactions, topics.labels]),
        # What is forgotten or buried, before state is rebuilt.
        "fraud": (
            [topics.transactions, topics.forgotten, dead[topics.transactions]],
            [topics.alerts, dead[topics.transactions], *scores],
        ),
        # Alerts, for live precision and recall; what is buried, before state is rebuilt.
        "labels": (
            [topics.labels, topics.alerts, dead[topics.labels]],
            [dead[topics.labels]],
        ),
        # Alerts, to end those that are open where state was lost.
        "vision": (
            [topics.frames, topics.alerts],
            [topics.alerts, dead[topics.frames], *tracks],
        ),
        # Transactions and scores, for what else a card paid.
        "dashboard": (
            [
                *(topics.alerts, topics.labels, topics.audit, topics.frames, topics.transactions),
                *(*scores, *dead.values(), *journals),
            ],
            [topics.audit, *ways_back],
        ),
        "webhooks": ([topics.alerts], [dead[topics.alerts]]),
        "consumer": ([topics.alerts], []),
        "monitor": ([], []),
    }


def _journals(settings: Settings) -> list[str]:
    return [replayed_topic(settings, topic) for topic in replayable(settings)]


_WATCHERS: Final[frozenset[Role]] = frozenset({"operator", "dashboard", "monitor"})
"""Roles that look at every topic and how far every group is."""

_SEVERAL: Final[frozenset[Role]] = frozenset({"webhooks"})
"""Roles with several groups, whose names begin alike."""


def _groups(settings: Settings) -> dict[Role, str]:
    return {
        "fraud": settings.fraud.group,
        "labels": settings.labels.group,
        "vision": settings.vision.group,
        "dashboard": settings.dashboard.group,
        "webhooks": settings.webhooks.prefix,
    }


_CONNECTION: Final = "ping select"
_SCRIPT: Final = "evalsha script|load script|exists"
_STATE: Final = "get set setnx mget mset incr watch unwatch multi exec discard info scan unlink"
_PICTURES: Final = f"{_SCRIPT} hget hset hincrby hdel zadd zrem zrange zrangebyscore"
_VIEW: Final = (
    f"{_SCRIPT} exists hget hmget hgetall hkeys hvals hset hsetnx hexists hdel "
    "zadd zrem zrange zrangebyscore zrevrangebyscore zscore zmscore zcard "
    "xadd xrange xrevrange xread xinfo|stream unlink"
)
_SESSIONS: Final = "get set del incr decr expire ttl multi exec discard"
_CARDS: Final = "mget"


def redis_rule(role: Role, settings: Settings) -> str | None:
    """Give what an ACL says of the user of `role`, without a name and a password.

    None for a role that needs no Redis. Keys are those of the role's own namespaces, and those of
    others that it only reads (``%R~``, from Redis 7.0 on).
    """
    groups = _groups(settings)
    pictures = picture_namespace(settings.vision.group)
    access = access_namespace(settings.dashboard)
    agents = [groups[name] for name in ("fraud", "labels", "vision", "dashboard")]
    needs: dict[Role, tuple[list[str], list[str], str]] = {  # own, read, commands
        "operator": (agents, [], "scan unlink info get set setnx mget"),
        "fraud": ([groups["fraud"]], [groups["labels"]], _STATE),
        "labels": ([groups["labels"]], [groups["fraud"]], _STATE),
        "vision": ([groups["vision"], pictures], [], f"{_STATE} {_PICTURES}"),
        "dashboard": (
            [groups["dashboard"], access],
            [groups["fraud"], groups["labels"], pictures],
            f"{_VIEW} {_SESSIONS} {_CARDS} info",
        ),
        "webhooks": ([settings.webhooks.group], [], "exists set"),
        "consumer": ([], [pictures], "get"),
    }
    if role not in needs:
        return None
    own, read, commands = needs[role]
    keys = [f"~{_literal(name)}:*" for name in own] + [f"%R~{_literal(name)}:*" for name in read]
    if role == "operator":  # who else keeps state of a topic
        keys.append("%R~*:identity")
    allowed = dict.fromkeys(f"{_CONNECTION} {commands}".split())
    return " ".join(["resetkeys", *keys, "resetchannels", "-@all", *(f"+{one}" for one in allowed)])


def redis_user(role: Role, settings: Settings) -> str | None:
    """Give the line of an ACL file that makes `redis.username` the user of `role`.

    It holds the SHA-256 of `redis.password` in place of it. None for a role without Redis.
    """
    rule = redis_rule(role, settings)
    if rule is None:
        return None
    password = settings.redis.password.get_secret_value().encode()
    known = f"#{hashlib.sha256(password).hexdigest()}"
    return f"user {settings.redis.username or role} reset on {known} {rule}"


def _literal(name: str) -> str:
    """A name as a glob that matches nothing else."""
    return re.sub(r"[\\*?\[\]]", r"\\\g<0>", name)
