"""A camera that sends no more, without word that it is down, ends all the same, and once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streams.frames import FrameHeaders
from streams.metrics import Metrics
from streams.pipeline import silence
from streams.pipeline.lane import Lane
from streams.pipeline.positions import Positions
from streams.schemas import Alert
from streams.state.memory import MemoryServer
from streams.state.outbox import load_outbox
from streams.status import Status
from tests.fakes.blobs import PASSING
from tests.fakes.pictures import frame
from tests.fakes.records import FakeRecord
from tests.fakes.vision_agent import NOW, PARTITIONS, STEP_MS, Worker, records

SILENCE_S = 30.0


class Listener(Worker):
    """A worker with a clock of its own that asks who is silent."""

    def __init__(
        self, server: MemoryServer | None = None, *, now: float = 1000.0, **settings: Any
    ) -> None:
        super().__init__(server, silence_s=SILENCE_S, motion_gate=False, **settings)
        self.now = now
        hearing = self.detector._follower.hearing
        hearing._clock = hearing._wall = lambda: self.now

    def listen(self, read_to: float | None = None) -> list[Alert]:
        """Close who is silent, all partitions being read up to `read_to`; return what is told."""
        before = len(self.held)
        times = dict.fromkeys(PARTITIONS, self.now if read_to is None else read_to)
        silent = self.detector.silent(self.detector.known(PARTITIONS), times)
        if silent:
            self.take([], silent=silent)
        return self.held[before:]


pytestmark = pytest.mark.usefixtures("blobs")


def opened(alerts: Sequence[Alert]) -> set[str]:
    return {alert.id for alert in alerts if alert.status == "new"}


def check(alerts: Sequence[Alert]) -> None:
    """Each id has one `new`, one `end` and no gap in its revisions."""
    for status in ("new", "end"):
        assert Counter(a.id for a in alerts if a.status == status) == Counter(opened(alerts))
    last = {alert.id: alert.revision for alert in alerts if alert.status == "end"}
    assert {alert.id: alert.revision for alert in alerts} == last


def test_its_alerts_end_after_the_silence_once_and_it_shows(rules: Path) -> None:
    worker = Listener(rules=rules)
    assert worker.listen() == []
    worker.take(records(PASSING[:40]))
    worker.now += SILENCE_S - 0.1
    assert worker.listen() == []
    assert worker.metric("camera_up", camera="gate") == 1
    worker.now += 0.1
    ends = worker.listen()

    assert [(alert.status, alert.detail["cause"]) for alert in ends] == [("end", "closed")] * 2
    assert {alert.ended_at for alert in ends} == {NOW + 39 * STEP_MS}  # when it was seen last
    told = ends[0].reasons[-1].text
    assert told.endswith("the camera is closed: nothing of it was seen for 30 s")
    check(worker.held)
    assert worker.metric("camera_up", camera="gate") == 0
    worker.now += 10 * SILENCE_S
    assert worker.listen() == []


def test_a_worker_without_partitions_does_not_call_its_cameras_up_for_ever(
    rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "LOOK_EVERY_S", 0.01)
    worker = Listener(rules=rules)
    worker.take(records(PASSING[:40]))
    assert worker.metric("camera_up", camera="gate") == 1
    delivery: Any = SimpleNamespace(
        positions=Positions(Status()), close_silent=lambda silent: worker.take([], silent=silent)
    )

    async def left() -> None:
        lane = Lane(worker.detector, Metrics("vision"))
        await lane.drop({0})
        listening = silence.listen(
            watcher=worker.detector, lane=lane, delivery=delivery, progress=dict
        )
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(listening, 0.5)
        lane.close()

    asyncio.run(left())
    assert [one.samples for one in worker.agent.metrics.camera_up.collect()] == [[]]


def test_the_end_is_held_for_the_flush_as_every_alert_is(rules: Path) -> None:
    worker = Listener(rules=rules)
    worker.take(records(PASSING[:40]))
    worker.flush({0: 39})
    worker.now += SILENCE_S
    ends = worker.listen()
    worker.flush({0: 39})
    values = [pending.value for pending in load_outbox(worker.agent.store, 0)]
    assert len(values) == len(ends) == 2
    assert worker.server.markers == {0: 39}


def test_frames_in_time_keep_it_going_and_a_partition_that_is_not_read_says_nothing(
    rules: Path,
) -> None:
    worker = Listener(rules=rules)
    for i in range(40):
        worker.take(records(PASSING[i : i + 1], first=i))
        worker.now += 1.0
    assert worker.listen() == []
    worker.now += 10 * SILENCE_S
    assert worker.listen(read_to=worker.now - 10 * SILENCE_S) == []  # its frames may wait there
    assert len(worker.listen()) == 2


@pytest.mark.parametrize("after_ms", [1_000, 3_600_000])
def test_a_camera_that_comes_back_has_other_alerts(rules: Path, after_ms: int) -> None:
    worker = Listener(rules=rules)
    worker.take(records(PASSING[:40]))
    worker.now += SILENCE_S
    worker.listen()
    before = opened(worker.held)
    back = NOW + 39 * STEP_MS + after_ms
    worker.take(
        [frame(40 + i, v, captured_at=back + STEP_MS * i) for i, v in enumerate(PASSING[30:])]
    )
    after = opened(worker.held) - before
    assert len(before) == len(after) == 2
    assert worker.metric("camera_up", camera="gate") == 1
    check(worker.held)


def test_a_frame_that_comes_while_the_end_is_on_its_way_prevents_it(rules: Path) -> None:
    worker = Listener(rules=rules)
    worker.take(records(PASSING[:39]))
    worker.now += SILENCE_S
    silent = worker.detector.silent(worker.detector.known([0]), {0: worker.now})
    assert list(silent) == [(0, "gate")]
    told = len(worker.held)
    worker.take(records(PASSING[39:40], first=39))
    worker.take([], silent=silent)
    assert [alert for alert in worker.held[told:] if alert.status == "end"] == []


@pytest.mark.parametrize("where", ["_intake", "_lapses"])
def test_frames_that_are_all_too_old_to_be_seen_keep_nothing_open(rules: Path, where: str) -> None:
    worker = Listener(rules=rules, policy="freshest")
    shown = 0  # frames, whose time it is

    def clock() -> int:
        return NOW + STEP_MS * shown

    worker.detector._intake._clock = worker.detector._lapses._clock = clock
    for shown in range(40):
        worker.take(records(PASSING[shown : shown + 1], first=shown))
    before = opened(worker.held)
    assert len(before) == 2
    getattr(worker.detector, where)._clock = lambda: clock() + 60000
    for shown in range(40, 44):
        worker.now += SILENCE_S / 4
        outcome = worker.take(records(PASSING[39:40], first=shown))
        assert outcome.held == []
    assert worker.metric("camera_frames", camera="gate", fate="stale") == 4
    ends = worker.listen()

    assert {alert.reasons[-1].text.rpartition(": ")[2] for alert in ends} == {
        "nothing of it was seen for 30 s"
    }
    assert {alert.id for alert in ends} == before
    getattr(worker.detector, where)._clock = clock
    for shown in range(44, 62):
        worker.take(records(PASSING[30 + shown - 44 :][:1], first=shown))
    assert len(opened(worker.held) - before) == 2
    assert worker.metric("camera_up", camera="gate") == 1


def test_word_that_it_is_down_leaves_nothing_to_end(rules: Path) -> None:
    worker = Listener(rules=rules)
    worker.take(records(PASSING[:40]))
    down = FrameHeaders(camera_id="gate", captured_at=NOW + 40 * STEP_MS, state="down")
    worker.take([FakeRecord(40, None, b"gate", down.to_headers())])
    worker.now += SILENCE_S
    assert worker.listen() == []
    check(worker.held)


# -- across workers -------------------------------------------------------------------------------
def test_a_worker_that_takes_over_ends_what_the_one_before_left_open(rules: Path) -> None:
    first = Listener(rules=rules)
    first.take(records(PASSING[:40]))
    first.flush({0: 39})
    second = Listener(first.server, rules=rules, now=first.now + SILENCE_S - 1)
    assert second.listen() == []
    second.now += 1
    second.listen()
    second.flush({0: 39})
    check([*first.held, *second.held])

    third = Listener(first.server, rules=rules, now=second.now)
    third.listen()
    third.now += SILENCE_S
    assert third.listen() == []


def test_workers_that_do_not_last_count_one_silence_together(rules: Path) -> None:
    first = Listener(rules=rules)
    first.take(records(PASSING[:39]))
    first.flush({0: 38})
    first.now += 10
    first.take(records(PASSING[39:40], first=39))  # seen again while its alerts are open
    first.flush({0: 39})
    for lived_s in (10, 20, SILENCE_S - 1):
        worker = Listener(first.server, rules=rules, now=first.now + lived_s)
        assert worker.listen() == []  # and it dies
    last = Listener(first.server, rules=rules, now=first.now + SILENCE_S)
    last.listen()
    check([*first.held, *last.held])


def test_an_end_that_was_not_stored_is_told_again_under_the_same_id(rules: Path) -> None:
    first = Listener(rules=rules)
    first.take(records(PASSING[:40]))
    first.flush({0: 39})
    first.now += SILENCE_S
    ends = first.listen()
    second = Listener(first.server, rules=rules, now=first.now)
    assert [alert.event_id for alert in second.listen()] == [alert.event_id for alert in ends]


def test_after_a_batch_that_failed_it_is_found_in_the_store_again(rules: Path) -> None:
    worker = Listener(rules=rules)
    worker.take(records(PASSING[:40]))
    worker.flush({0: 39})
    worker.now += SILENCE_S
    ends = worker.listen()
    worker.detector.drop(None)
    worker.held = [alert for alert in worker.held if alert.status != "end"]
    assert [alert.event_id for alert in worker.listen()] == [alert.event_id for alert in ends]
    worker.flush({0: 39})
    check(worker.held)


def test_a_partition_that_went_elsewhere_is_nobodys_business(rules: Path) -> None:
    worker = Listener(rules=rules)
    worker.take(records(PASSING[:40]))
    worker.take(records(PASSING[:40], camera="door"), partition=1)
    worker.flush({0: 39, 1: 39})
    worker.detector.drop({1})
    worker.now += SILENCE_S
    silent = worker.detector.silent(worker.detector.known([0]), {0: worker.now, 1: worker.now})
    assert list(silent) == [(0, "gate")]


def test_a_camera_for_which_there_was_no_room_is_not_forgotten(rules: Path) -> None:
    worker = Listener(rules=rules, cameras=1)
    worker.take(records(PASSING[:40]))
    worker.flush({0: 39})
    for i, camera in enumerate(("door", "yard", "roof")):
        worker.take(records(PASSING[:1], first=40 + i, camera=camera))
        worker.flush({0: 40 + i})
    assert (0, "gate") not in worker.detector._follower.watches._watches
    worker.now += SILENCE_S
    ends = worker.listen()
    assert [alert.entity for alert in ends] == ["gate"] * 2
    check(worker.held)
    assert len(worker.detector._follower.hearing._heard) <= 3
