"""Find dead letters: read the dead-letter topics to their present end, a fetch at a time.

Nothing is kept of what is read but one line for each kind of reason, so that a topic with millions
of letters takes no more memory than one with ten.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from streams.errors import SettingsError, TocsinError, TopicMissing
from streams.reading import read_record, read_topic
from streams.schemas import REPLAY_OF_HEADER, DeadLetter
from streams.settings import Settings
from streams.topics import dead_topic

MAX_KINDS = 500
"""Kinds of reasons told apart: a reason that quotes its record would make one for each letter."""

OTHER = "(other reasons)"

_NUMBER = re.compile(r"(?<![A-Za-z_])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter and where it lies; `buried_at` is when (ms, epoch)."""

    dead_topic: str
    partition: int
    offset: int
    buried_at: int
    content: DeadLetter

    @property
    def name(self) -> str:
        """Name it as ``topic:partition:offset`` of the dead-letter topic."""
        return f"{self.dead_topic}:{self.partition}:{self.offset}"

    @property
    def origin(self) -> str:
        """Name the record that was buried, likewise, on its own topic."""
        return f"{self.content.topic}:{self.content.partition}:{self.content.offset}"

    @property
    def record(self) -> str:
        """Name that record apart from those that lay there before its topic was made again.

        A worker that crashes before its flush, or replays a batch that failed, buries a record
        again: letters with this name are of one record.
        """
        return f"{self.origin}@{self.content.timestamp}"

    @property
    def replay_of(self) -> str | None:
        """Name the letter from which the record had been sent again, if it had."""
        found = dict(self.content.headers).get(REPLAY_OF_HEADER)
        return None if found is None else found.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters: all unless told otherwise. Times are those of the burial (ms, epoch)."""

    topics: tuple[str, ...] = ()
    """Topics that the records came from, or their dead-letter topics; none for all."""

    reason: str | None = None
    """Part of the reason, in upper or lower case."""

    since_ms: int | None = None
    until_ms: int | None = None

    def includes(self, letter: Letter) -> bool:
        """Whether a letter of one of the topics is wanted."""
        if self.reason is not None and self.reason.lower() not in letter.content.reason.lower():
            return False
        if self.since_ms is not None and letter.buried_at < self.since_ms:
            return False
        return self.until_ms is None or letter.buried_at < self.until_ms


class Strangers:
    """Counts records of dead-letter topics that are no dead letters, and keeps one's name."""

    def __init__(self) -> None:
        self.count = 0
        self.example = ""

    def add(self, where: str, why: object) -> None:
        """Count one."""
        self.count += 1
        self.example = f"{where}: {why}"


def dead_topics(settings: Settings, topics: Sequence[str] = ()) -> list[str]:
    """Name the dead-letter topics of `topics`, or all of them.

    Raises:
        SettingsError: one of `topics` has none.
    """
    names = settings.topics
    sources = (names.transactions, names.labels, names.frames, names.alerts)
    known = {source: dead_topic(settings, source) for source in sources}
    for topic in topics:
        if topic not in known and topic not in known.values():
            raise SettingsError(f"--topic {topic}: one of {', '.join(known)}")
    return [
        dead for source, dead in known.items() if not topics or source in topics or dead in topics
    ]


async def find_letters(
    settings: Settings, wanted: Wanted, strangers: Strangers, *, newest: int | None = None
) -> AsyncGenerator[Letter, None]:
    """Yield the letters that are wanted, topic by topic, in order of each partition.

    With `newest` only so many records before the end of each partition are read.

    Raises:
        BrokerError: no broker answers, or a topic that was named, or every one, does not exist.
        SettingsError: a topic was named that has no dead letters.
    """
    missing: list[TopicMissing] = []
    topics = dead_topics(settings, wanted.topics)
    for topic in topics:
        batches = read_topic(
            settings.kafka,
            topic,
            from_beginning=True,
            follow=False,
            since_ms=wanted.since_ms,
            newest=newest,
        )
        try:
            async with aclosing(batches):
                async for records in batches:
                    for letter in letters_of(topic, records, strangers):
                        if wanted.includes(letter):
                            yield letter
        except TopicMissing as error:
            missing.append(error)
            if wanted.topics or len(missing) == len(topics):
                raise


def letters_of(topic: str, records: Sequence[Any], strangers: Strangers) -> list[Letter]:
    """Read aiokafka's records of one dead-letter topic; what is none goes to `strangers`."""
    found = []
    for record in records:
        try:
            content = DeadLetter.from_record(record.key, record.value, tuple(record.headers))
        except ValueError as error:
            strangers.add(f"{topic}:{record.partition}:{record.offset}", error)
            continue
        found.append(Letter(topic, record.partition, record.offset, record.timestamp, content))
    return found


async def find_letter(settings: Settings, name: str) -> Letter:
    """Read the letter with this name.

    Raises:
        TocsinError: it is not there (any more), or no dead letter.
    """
    topic, partition, offset = place_of(name)
    record = await read_record(settings.kafka, topic, partition, offset)
    strangers = Strangers()
    found = letters_of(topic, [record], strangers)
    if not found:
        raise TocsinError(f"{strangers.example}: tocsin dead-letters list --each names letters")
    return found[0]


async def find_named(settings: Settings, names: Iterable[str]) -> AsyncGenerator[Letter, None]:
    """Yield the letters with these names, each once, topic by topic and in order of partitions.

    Raises:
        SettingsError: one is no name of a letter; before the first is looked for.
        TocsinError: one is not there (any more), or no dead letter.
    """
    for place in sorted({place_of(name) for name in names}):
        yield await find_letter(settings, ":".join(map(str, place)))


def place_of(name: str) -> tuple[str, int, int]:
    """Parse ``topic:partition:offset``.

    Raises:
        SettingsError: it is something else.
    """
    parts = name.rsplit(":", 2)
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts[1:]):
        raise SettingsError(f"{name!r} is no letter: write TOPIC:PARTITION:OFFSET")
    return parts[0], int(parts[1]), int(parts[2])


@dataclass(slots=True)
class Kind:
    """How many letters of one topic and step have one kind of reason, and when (ms, epoch)."""

    topic: str
    step: str
    reason: str
    """With N for each number."""

    letters: int = 0
    first: int = 0
    last: int = 0
    again: int = 0
    """How many of them had been replayed before, and were buried again."""

    newest: str = ""
    """Name of the last letter."""


class Tally:
    """Counts letters by topic, step and kind of reason, in bounded memory."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str, str], Kind] = {}

    def add(self, letter: Letter) -> None:
        """Count one."""
        content = letter.content
        key = content.topic, content.step, _NUMBER.sub("N", content.reason)
        if key not in self._kinds and len(self._kinds) >= MAX_KINDS:
            key = content.topic, content.step, OTHER
        kind = self._kinds.setdefault(key, Kind(*key, first=letter.buried_at))
        kind.letters += 1
        kind.again += letter.replay_of is not None
        kind.first = min(kind.first, letter.buried_at)
        if letter.buried_at >= kind.last:
            kind.last, kind.newest = letter.buried_at, letter.name

    @property
    def letters(self) -> int:
        """How many were counted."""
        return sum(kind.letters for kind in self._kinds.values())

    def kinds(self) -> list[Kind]:
        """Return what was counted, the most frequent first."""
        return sorted(self._kinds.values(), key=lambda kind: (-kind.letters, kind.reason))
