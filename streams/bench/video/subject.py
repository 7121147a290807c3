"""The worker under test, with topics and a group of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streams.bench.subject import Worker
from streams.bench.systems import forget, fresh
from streams.bench.workload import create_topic
from streams.settings import Settings, picture_namespace
from streams.topics import dead_topic

READY_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Place:
    """Names that nothing else has."""

    frames: str
    group: str

    @property
    def alerts(self) -> str:
        """The topic of its alerts."""
        return f"{self.group}-alerts"


def new_place(settings: Settings, frames: str | None = None, **config: str) -> Place:
    """Create the topics of a run; `frames` is a topic that is there already.

    Args:
        settings: where.
        frames: a topic of frames.
        config: of the topic of frames, Kafka's own names with underscores.
    """
    place = Place(frames or fresh("frames"), fresh("vision"))
    if frames is None:
        largest = str(settings.vision.max_frame_bytes + 65_536)
        named = {name.replace("_", "."): value for name, value in config.items()}
        create_topic(settings.kafka, place.frames, {"max.message.bytes": largest, **named})
        create_topic(settings.kafka, dead_topic(settings, place.frames))
    create_topic(settings.kafka, place.alerts)
    return place


@contextmanager
def vision_worker(settings: Settings, place: Place, **vision: object) -> Iterator[Worker]:
    """Run a vision worker for the block, and delete its state afterwards.

    Args:
        settings: of the servers and the network.
        place: what it reads and writes.
        vision: settings of the agent that differ from the defaults.
    """
    chosen = {"model": model_of(settings), "device": settings.vision.device, **vision}
    environment = {
        "TOCSIN_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "TOCSIN_REDIS__URL": settings.redis.url,
        "TOCSIN_TOPICS__FRAMES": place.frames,
        "TOCSIN_TOPICS__ALERTS": place.alerts,
        "TOCSIN_VISION__GROUP": place.group,
        **{f"TOCSIN_VISION__{name.upper()}": str(value) for name, value in chosen.items()},
    }
    with Worker("vision", environment) as worker:
        yield worker
    for namespace in (place.group, picture_namespace(place.group)):
        forget(settings, namespace)


def model_of(settings: Settings) -> str:
    """The weights, for a process that runs in another folder."""
    named = settings.vision.model
    return str(Path(named).resolve()) if Path(named).is_file() else named
