"""Where the demo runs: servers of its own, or given ones that it leaves as they were."""

from __future__ import annotations

import logging
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from streams import admin
from streams.devstack import EmbeddedBroker, EmbeddedRedis
from streams.errors import TocsinError
from streams.settings import Settings, access_namespace, load_settings, picture_namespace
from streams.state.redis import RedisStateStore
from streams.topics import NAMED, topic_table

log = logging.getLogger(__name__)

# The embedded broker lets a consumer join after half of this.
_REBALANCE_S = 3.0

# Fewer, larger batches: the embedded broker slows down with the number that it holds.
_PARTITIONS = 1

_LOG_LINES = 8

STREET_RULES = Path(__file__).with_name("street.toml")
"""What raises an alert before the simulated camera."""

Overrides = dict[str, dict[str, Any]]

SIMULATED: Overrides = {"dashboard": {"clock": "event"}, "fraud": {"max_future_s": 1e10}}
"""Settings for the simulated calendar. It is thousands of times as fast as the clock, and passes
today in an hour."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Servers that answer, topics that exist, and a folder that is deleted afterwards."""

    settings: Settings
    environment: Mapping[str, str]
    """The same settings, for the workers."""

    log: Path
    """Where the workers' log goes."""

    broker: str
    redis: str
    """Both in words, for the screen."""

    def log_tail(self) -> str:
        """Return the last lines of the workers' log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-_LOG_LINES:])


@contextmanager
def prepared(
    bootstrap: str | None, redis_url: str | None, vision: Mapping[str, Any] | None = None
) -> Iterator[Ground]:
    """Start the servers that are not given, and create the topics.

    `vision` holds settings of the vision agent. On a given server every name carries a mark of
    this run, and everything is removed again.

    Raises:
        ServerMissing: the packages with the embedded servers are not installed.
        ServerFailed: one does not start.
        BrokerError: the given broker does not answer.
        StoreError: the given Redis does not.
    """
    with ExitStack() as stack:
        folder = tempfile.TemporaryDirectory(prefix="tocsin-demo-", ignore_cleanup_errors=True)
        scratch = Path(stack.enter_context(folder))
        overrides: Overrides = {
            "dashboard": {**SIMULATED["dashboard"]},
            "fraud": {**SIMULATED["fraud"], "publish_scores": True},
            "health": {"host": "127.0.0.1"},
            "kafka": {},
            "labels": {},
            "redis": {},
            "topics": {},
            "vision": {},
        }
        overrides["vision"].update(vision or {})
        if overrides["vision"].get("rules") == STREET_RULES:  # the dashboard may change them
            overrides["vision"]["rules"] = shutil.copy(STREET_RULES, scratch)
        # 1. Servers.
        if bootstrap is None:
            overrides["kafka"]["security_protocol"] = "PLAINTEXT"
            overrides["kafka"]["rebalance_timeout_s"] = _REBALANCE_S
            overrides["topics"]["replication_factor"] = 1
            overrides["topics"]["partitions"] = _PARTITIONS
            broker = stack.enter_context(EmbeddedBroker()).bootstrap
        else:
            broker = bootstrap
        if redis_url is None:
            overrides["redis"].update(dict.fromkeys(("username", "password"), ""))
            redis = stack.enter_context(EmbeddedRedis()).url
        else:
            redis = redis_url
        overrides["kafka"]["bootstrap_servers"], overrides["redis"]["url"] = broker, redis
        # 2. Names, so that nobody else's topic or state is touched.
        if bootstrap or redis_url:
            _mark(overrides)
        settings = load_settings(**overrides)
        # 3. What is to be removed again, then what is to be there.
        if redis_url:
            stack.callback(_clear, settings)
        with admin.connect(settings.kafka) as cluster:
            if bootstrap:
                stack.callback(_delete, settings)
            cluster.ensure(topic_table(settings))
        yield Ground(
            settings=settings,
            environment={**_environment(overrides), "TMPDIR": str(scratch)},
            log=scratch / "workers.log",
            broker=f"{broker} ({'given' if bootstrap else 'embedded'})",
            redis=f"{_place(redis)} ({'given' if redis_url else 'embedded'})",
        )


def _mark(overrides: Overrides) -> None:
    mark = f"demo-{uuid.uuid4().hex[:6]}"
    for agent in ("dashboard", "fraud", "labels", "vision"):
        overrides[agent]["group"] = f"{mark}-{agent}"
    for topic in NAMED:
        overrides["topics"][topic] = f"{mark}-{topic}"


def _environment(overrides: Overrides) -> dict[str, str]:
    return {
        f"TOCSIN_{section}__{name}".upper(): str(value)
        for section, values in overrides.items()
        for name, value in values.items()
    }


def _place(url: str) -> str:
    """Host and port alone: a URL may hold a password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 6379}"


def _clear(settings: Settings) -> None:
    try:
        groups = _groups(settings)
        # Pictures and sessions have namespaces beside their owners'.
        beside = picture_namespace(settings.vision.group), access_namespace(settings.dashboard)
        for namespace in (*groups, *beside):
            store = RedisStateStore(settings.redis, namespace)
            store.clear()
            store.close()
    except TocsinError as error:
        log.warning("the demo's state stays in Redis: %s", error)


def _groups(settings: Settings) -> list[str]:
    sections = settings.dashboard, settings.fraud, settings.labels, settings.vision
    return [section.group for section in sections]


def _delete(settings: Settings) -> None:
    try:
        with admin.connect(settings.kafka) as cluster:
            cluster.delete(
                topics=[spec.name for spec in topic_table(settings)],
                groups=_groups(settings),
            )
    except TocsinError as error:
        log.warning("the demo's topics stay on the broker: %s", error)
