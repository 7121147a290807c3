"""Which records of a topic are buried, of those that a rebuild or an audit of state comes by."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Mapping
from contextlib import aclosing

import numpy as np

from streams.dead_letters.index import Strangers, Wanted, find_letters
from streams.pipeline.dead_letter import Buried
from streams.settings import Settings

log = logging.getLogger(__name__)


async def find_buried(
    settings: Settings, topic: str, spans: Mapping[int, range]
) -> dict[int, Buried]:
    """Read the dead letters of `topic`; keep 16 bytes for each whose record lies within `spans`.

    These are offsets by partition.

    Raises:
        BrokerError: no broker answers, or the dead-letter topic does not exist.
    """
    found = {partition: (array("q"), array("q")) for partition in spans}
    strangers = Strangers()
    async with aclosing(find_letters(settings, Wanted((topic,)), strangers)) as letters:
        async for letter in letters:
            origin = letter.content
            if origin.topic == topic and origin.offset in spans.get(origin.partition, ()):
                offsets, timestamps = found[origin.partition]
                offsets.append(origin.offset)
                timestamps.append(origin.timestamp)
    if strangers.count:
        log.warning("%d records are no dead letters: %s", strangers.count, strangers.example)
    return {
        partition: Buried(*(np.frombuffer(column, np.int64) for column in columns))
        for partition, columns in found.items()
    }
