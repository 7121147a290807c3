"""The judge of a history: what it lets pass and what it calls by which name."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest

from streams.pipeline.batch import Message
from streams.simulation.broker import LogRecord
from streams.simulation.chain import BAD, START, STATE, Link, after, alert_value, alerts
from streams.simulation.check import Check, Violated
from streams.simulation.clock import Clock
from streams.simulation.store import Server
from streams.state.store import PartitionSnapshot, digests
from streams.state.table import ROW_VERSION, row_dtype

KEY = "k"
EVENTS = [3, 1, 4, 1, 5, 9, 2, 6]


class Bed:
    """A partition with a key's events, and what a worker makes of it by hand."""

    def __init__(self, values: Sequence[bytes], poison: frozenset[bytes] = frozenset()) -> None:
        self.server = Server(Clock(Random(1)))
        self.check = Check(self.server, 1, poison)
        self.records = [LogRecord(i, KEY.encode(), value) for i, value in enumerate(values)]
        for record in self.records:
            self.check.produced(0, record)
        self.marker: int | None = None

    def publish(self, until: int, skip: Sequence[int] = ()) -> None:
        """Publish the alerts of the first events, as they should be."""
        link = START
        for record in self.records[:until]:
            link = after(link, int(record.value or b"0"))
            if alerts(link) and record.offset not in skip:
                value = alert_value(0, record.offset, link)
                self.check.published("alerts", [Message("alerts", None, value)])

    def store(self, link: Link, marker: int) -> None:
        """Flush a row and a marker."""
        row = np.zeros(1, row_dtype(STATE))
        row["version"], row["offset"] = ROW_VERSION, marker
        row["state"]["count"], row["state"]["prepared"] = link.applied, link.prepared
        value = row.tobytes() + np.array([link.inferred], "<u8").tobytes()
        keys = digests([KEY])
        self.server.rows[0, keys[0].tobytes()] = value
        values = np.frombuffer(value, np.uint8).reshape(1, -1)
        before, self.marker = self.marker, marker
        self.check.flushed(PartitionSnapshot(0, keys, values, marker), before, 0)


def encoded(events: Sequence[int]) -> list[bytes]:
    return [b"%d" % event for event in events]


def state(events: Sequence[int]) -> Link:
    link = START
    for event in events:
        link = after(link, event)
    return link


def violation(bed: Bed) -> str:
    assert bed.check.violation is not None
    return bed.check.violation.kind


def test_nothing_at_all_is_in_order() -> None:
    Check(Server(Clock(Random(1))), 1, frozenset()).ended()


def test_one_application_in_order_is_in_order() -> None:
    bed = Bed(encoded(EVENTS))
    bed.publish(8)
    bed.store(state(EVENTS[:3]), 2)
    bed.check.committed(0, 3)
    bed.store(state(EVENTS), 7)
    bed.check.committed(0, 8)
    bed.check.ended()


@pytest.mark.parametrize(
    ("applied", "kind"),
    [
        (EVENTS[:-1], "lost"),
        ([*EVENTS, 6], "double_applied"),
        ([*EVENTS[:-2], 6, 2], "reordered"),
        ([*EVENTS[1:], 3], "reordered"),
    ],
)
def test_a_wrong_state_has_a_name(applied: Sequence[int], kind: str) -> None:
    bed = Bed(encoded(EVENTS))
    bed.publish(8)
    with pytest.raises(Violated):
        bed.store(state(applied), 7)
    assert violation(bed) == kind


def test_a_flush_before_its_alerts_are_published_loses_them() -> None:
    bed = Bed(encoded(range(20)))
    with pytest.raises(Violated, match="no output of 0-"):
        bed.store(state(range(20)), 19)
    assert violation(bed) == "lost"


def test_a_commit_ahead_of_the_store_is_early() -> None:
    bed = Bed(encoded(EVENTS))
    bed.publish(8)
    bed.store(state(EVENTS[:3]), 2)
    with pytest.raises(Violated, match="committed to 4 and stored to 2"):
        bed.check.committed(0, 4)
    assert violation(bed) == "early_commits"


def test_a_marker_that_goes_back_is_a_loss() -> None:
    bed = Bed(encoded(EVENTS))
    bed.publish(8)
    bed.store(state(EVENTS), 7)
    with pytest.raises(Violated, match="went back to 2"):
        bed.store(state(EVENTS[:3]), 2)


def test_an_alert_from_a_wrong_state_is_invented() -> None:
    bed = Bed(encoded(EVENTS))
    bed.publish(8)
    bed.store(state(EVENTS), 7)
    wrong = alert_value(0, 3, state([7]))
    bed.check.published("alerts", [Message("alerts", None, wrong)])
    with pytest.raises(Violated, match="0-3"):
        bed.check.ended()
    assert violation(bed) == "invented"


def test_an_alert_that_comes_twice_is_counted_and_in_order() -> None:
    bed = Bed(encoded(range(20)))
    bed.publish(20)
    assert bed.check.duplicates == 0
    bed.publish(20)
    bed.store(state(range(20)), 19)
    bed.check.ended()
    assert bed.check.duplicates == len(bed.check.written) > 0


@pytest.mark.parametrize("bad", [BAD, b"13"])
def test_a_record_that_cannot_be_processed_must_be_buried(bad: bytes) -> None:
    letter = [("tocsin-partition", b"0"), ("tocsin-offset", b"1")]
    bed = Bed([b"3", bad], frozenset({b"13"}))
    bed.publish(1)
    with pytest.raises(Violated, match="no output of 0-1"):
        bed.store(state([3]), 1)
    bed = Bed([b"3", bad], frozenset({b"13"}))
    bed.publish(1)
    bed.check.published("dead", [Message("dead", None, bad, letter)])
    bed.store(state([3]), 1)
    bed.check.ended()


def test_a_sound_record_that_is_buried_is_invented_unless_the_network_refused_it_alone() -> None:
    letter = Message("dead", None, b"", [("tocsin-partition", b"0"), ("tocsin-offset", b"1")])
    for is_refused in (False, True):
        bed = Bed(encoded([3, 1, 4]))
        if is_refused:
            bed.check.refused(0, bed.records[1])
        bed.publish(3)
        bed.check.published("dead", [letter])
        bed.store(state([3, 1, 4]), 2)
        if is_refused:
            bed.check.ended()
            assert bed.check.violation is None
        else:
            with pytest.raises(Violated):
                bed.check.ended()
            assert violation(bed) == "invented"


def test_a_record_refused_alone_may_be_missing_from_the_state() -> None:
    bed = Bed(encoded([3, 1, 4]))
    letter = Message("dead", None, b"", [("tocsin-partition", b"0"), ("tocsin-offset", b"1")])
    bed.check.refused(0, bed.records[1])
    bed.check.published("dead", [letter])
    link = START
    for offset, event in ((0, 3), (2, 4)):
        link = after(link, event)
        if alerts(link):
            value = alert_value(0, offset, link)
            bed.check.published("alerts", [Message("alerts", None, value)])
    bed.store(state([3, 4]), 2)
    bed.check.ended()
