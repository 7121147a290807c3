"""The way back from a dead-letter topic, and which of its letters may take it."""

from __future__ import annotations

from dataclasses import dataclass

from streams.admin import connect
from streams.dead_letters.fate import Fate
from streams.dead_letters.index import Letter
from streams.dead_letters.journal import Journal
from streams.errors import SettingsError, TocsinError, TopicMissing
from streams.schemas import CUT_HEADERS
from streams.settings import Settings
from streams.topics import dead_topic, replayable, replayed_topic, topic_table


@dataclass(frozen=True, slots=True)
class Order:
    """What to send beside the letters of which nothing is known."""

    doubtful: bool = False
    """Those that a run has claimed and not settled: it was killed, or is at work."""

    again: bool = False
    """Those that were sent before."""

    limit: int | None = None
    """At most so many are sent."""


@dataclass(frozen=True, slots=True)
class Route:
    """The way back from a dead-letter topic; without a journal there is none."""

    topic: str
    partitions: int = 0
    journal: Journal | None = None
    why_none: str = ""

    def obstacle(self, letter: Letter) -> str | None:
        """Say why a letter cannot go back, if it cannot."""
        content = letter.content
        if self.journal is None:
            return self.why_none
        if any(name in CUT_HEADERS for name, _ in content.headers):
            return "larger than its dead-letter topic takes: its bytes are not there"
        if content.topic != self.topic:
            return f"it names another topic than {self.topic}"
        if not 0 <= content.partition < self.partitions:
            return f"{self.topic} does not have its partition"
        return None

    def fate(self, letter: Letter, order: Order) -> tuple[Fate, str]:
        """Decide what is to become of a letter."""
        obstacle = self.obstacle(letter)
        if obstacle is not None or self.journal is None:
            return Fate.CANNOT, obstacle or ""
        state = self.journal.state(letter.record)
        if state == "sent" and not order.again:
            return Fate.REPLAYED, ""
        if state == "sending" and not order.doubtful:
            return Fate.DOUBTFUL, ""
        return Fate.SENT, ""


def find_route(settings: Settings, dead: str) -> Route:
    """Look up where the letters of topic `dead` go; blocks. Its journal is not read yet.

    Raises:
        SettingsError: it is no dead-letter topic.
        BrokerError: no broker answers, or one of the topics is missing.
        TocsinError: the journal is not made as the table of topics says.
    """
    frames, alerts = settings.topics.frames, settings.topics.alerts
    stale = "a picture is stale by now, and alerts hang on the order of frames"
    sent = "it is an alert that a webhook did not take, and everybody else has it"
    one_way = {
        dead_topic(settings, frames): Route(frames, why_none=stale),
        dead_topic(settings, alerts): Route(alerts, why_none=sent),
    }
    if dead in one_way:
        return one_way[dead]
    by_dead = {dead_topic(settings, topic): topic for topic in replayable(settings)}
    if dead not in by_dead:
        raise SettingsError(f"{dead!r} is no dead-letter topic: one of {', '.join(by_dead)}")
    source = by_dead[dead]
    name = replayed_topic(settings, source)
    with connect(settings.kafka) as admin:
        partitions, topic_id = admin.describe(source).partitions, admin.describe(dead).topic_id
        (report,) = admin.ensure(
            [spec for spec in topic_table(settings) if spec.name == name], create=False
        )
    if report.state == "missing":
        raise TopicMissing(f"topic {name!r} does not exist: run `tocsin topics create`")
    if report.drift:
        raise TocsinError(
            f"topic {name!r} forgets or disorders what was replayed: {'; '.join(report.drift)}: "
            "delete it, and run `tocsin topics create`"
        )
    return Route(source, partitions, Journal(settings.kafka, name, dead, topic_id))
