"""The vision agent over a store in memory: frames in, object alerts out, in any batches."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.errors import DataError
from models.vision.images import decode
from streams.alerts.envelope import CLOUD_EVENT_HEADERS
from streams.frames import FrameHeaders
from streams.pipeline.batch import Batch, Outcome
from streams.state.outbox import load_outbox
from streams.state.store import digest
from tests.fakes import blobs as vision
from tests.fakes.blobs import PASSING, RULES, empty, walk
from tests.fakes.pictures import frame
from tests.fakes.records import FakeRecord
from tests.fakes.vision_agent import NOW, STEP_MS, Worker, records, story

pytestmark = pytest.mark.usefixtures("blobs")


# -- one thing that happens -----------------------------------------------------------------------
def test_an_empty_batch_passes() -> None:
    assert replace(Worker().take([]), tallies=[]) == Outcome()


def test_a_probe_goes_through_the_network_and_changes_nothing() -> None:
    worker = Worker()
    worker.detector.probe()
    assert worker.detector._network.batches == [1]
    assert replace(worker.take([]), tallies=[]) == Outcome()


def test_who_walks_through_the_picture_is_one_alert_of_each_rule(rules: Path) -> None:
    worker = Worker(rules=rules)
    worker.take(records(PASSING))

    told = worker.held
    assert {alert.kind for alert in told} == {"object"}
    for rule in ("anyone", "right-half"):
        mine = [alert for alert in told if alert.detail["rule"] == rule]
        assert mine[0].status == "new"
        assert mine[-1].status == "end"
        assert {alert.status for alert in mine[1:-1]} <= {"update"}
        assert [alert.revision for alert in mine] == list(range(len(mine)))
        (name,) = {alert.id for alert in mine}
        topic, partition, offset, track, ruled = name.split(":")
        assert (topic, partition, track, ruled) == ("frames", "0", "1", rule)
        assert int(offset) == mine[0].source.offset
        assert all(alert.event_id == f"{name}:{alert.revision}" for alert in mine)
        assert mine[-1].ended_at is not None
        assert mine[-1].started_at == mine[0].started_at
        assert mine[-1].reasons[0] == mine[0].reasons[0]  # why there was an alert
        assert [one.code for one in mine[-1].reasons] == ["enter", "ended"]
    first, second = (
        next(alert for alert in told if alert.detail["rule"] == rule)
        for rule in ("anyone", "right-half")
    )
    assert first.source.offset < second.source.offset
    assert (first.severity, second.severity) == ("low", "high")
    assert first.entity == "gate"
    assert first.model == vision.MODEL
    assert first.reasons[0].code == "enter"
    assert second.detail["zone"] == "right"
    assert second.detail["outline"] == "0.5,0 1,0 1,1 0.5,1"
    assert 0 <= float(first.detail["x1"]) < float(first.detail["x2"]) <= 1  # type: ignore[arg-type]


def test_alerts_carry_cloud_events_headers_and_the_frames_trace(rules: Path) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    outcome = Worker(rules=rules).take(records(PASSING, traceparent=trace))
    for message in outcome.held:
        names = [name for name, _ in message.headers]
        assert names == [*CLOUD_EVENT_HEADERS, "traceparent"]
        assert dict(message.headers)["traceparent"] == trace.encode()
        assert message.key == b"gate"
        assert message.sent_at >= NOW


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=30), st.booleans())
def test_batches_of_any_size_tell_the_same_story(sizes: list[int], gate: bool) -> None:
    everything = records(PASSING)
    whole = Worker(motion_gate=gate)
    whole.take(everything)
    split, at = Worker(motion_gate=gate), 0
    for size in [*sizes, len(everything)]:
        split.take(everything[at : at + size])
        at += size
    assert [a.event_id for a in split.held] == [a.event_id for a in whole.held]
    assert [a.detail for a in split.held] == [a.detail for a in whole.held]


def test_cameras_in_one_batch_do_not_disturb_one_another() -> None:
    apart, together = Worker(motion_gate=False), Worker(motion_gate=False)
    for camera in ("gate", "door"):
        apart.take(records(PASSING, camera=camera))
    mixed = [
        record
        for pair in zip(*(records(PASSING, camera=c) for c in ("gate", "door")), strict=True)
        for record in pair
    ]
    together.take(mixed)
    key = lambda alert: (alert.entity, alert.event_id)  # noqa: E731
    assert sorted(map(key, apart.held)) == sorted(map(key, together.held))
    assert apart.detector._network.batches == [53, 53]
    assert together.detector._network.batches == [106]


def test_a_rule_that_did_not_change_goes_on_where_others_are_changed(rules: Path) -> None:
    everything = records(PASSING)
    worker = Worker(rules=rules)
    worker.take(everything[:30])
    (going_on,) = {alert.id for alert in worker.held if alert.detail["rule"] == "anyone"}
    kept, _, _ = RULES.partition('[[rule]]\nname = "right-half"')
    other = 'name = "all"\nkind = "enter"\nzone = "right"\nclasses = ["person"]\ngone_s = 0.5\n'
    rules.write_text(f"{kept}[[rule]]\n{other}")
    worker.detector._follower._rules._looked -= 10  # seconds
    worker.take(everything[30:])

    anyone = [alert for alert in worker.held if alert.detail["rule"] == "anyone"]
    assert {alert.id for alert in anyone} == {going_on}
    assert [alert.status for alert in anyone if alert.status != "update"] == ["new", "end"]
    assert [alert.status for alert in worker.held if alert.detail["rule"] == "all"] == [
        "new",
        "end",
    ]


# -- across a restart -----------------------------------------------------------------------------
@pytest.mark.parametrize("at", [12, 30, 45, 52])
def test_ids_survive_a_restart_and_each_new_has_one_end(rules: Path, at: int) -> None:
    everything = records(PASSING)
    whole = Worker(rules=rules)
    whole.take(everything)

    first = Worker(rules=rules)
    first.take(everything[:at])
    first.flush({0: at - 1})
    second = Worker(first.server, rules=rules)
    second.take(everything, done_below={0: at})

    told = [*first.held, *second.held]
    assert {alert.id for alert in told} == {alert.id for alert in whole.held}
    for status in ("new", "end"):
        assert sorted(a.id for a in told if a.status == status) == sorted(
            {a.id for a in whole.held}
        )
    assert len({alert.event_id for alert in told}) == len(told)


def test_what_was_not_flushed_is_told_again_with_the_same_ids(rules: Path) -> None:
    everything = records(PASSING)
    first = Worker(rules=rules, motion_gate=False)
    first.take(everything[:10])
    first.flush({0: 9})
    first.held.clear()
    first.take(everything[10:40])
    second = Worker(first.server, rules=rules, motion_gate=False)
    second.take(everything[10:40])
    assert [a.event_id for a in first.held] == [a.event_id for a in second.held] != []


def test_the_flush_stores_what_is_held_and_the_next_one_clears_it(rules: Path) -> None:
    worker = Worker(rules=rules)
    outcome = worker.take(records(PASSING[:30]))
    worker.flush({0: 29, 1: 4})
    stored = load_outbox(worker.agent.store, 0)
    assert [pending.value for pending in stored] == [message.value for message in outcome.held]
    assert [pending.headers for pending in stored] == [m.headers for m in outcome.held]
    assert load_outbox(worker.agent.store, 1) == []

    worker.take(records(PASSING[30:32], first=30))
    worker.flush({0: 31})
    assert load_outbox(worker.agent.store, 0) == []
    assert worker.server.markers == {0: 31, 1: 4}


def test_a_dropped_batch_leaves_nothing_behind(rules: Path) -> None:
    everything = records(PASSING)
    worker = Worker(rules=rules, motion_gate=False)
    worker.take(everything[:10])
    worker.flush({0: 9})
    worker.take(everything[10:40])  # fails after this, say
    worker.detector.drop(None)
    worker.held = [alert for alert in worker.held if alert.source.offset < 10]
    worker.take(everything[10:11])
    worker.flush({0: 10})
    assert load_outbox(worker.agent.store, 0) == []

    worker.take(everything[11:])
    whole = Worker(rules=rules, motion_gate=False)
    whole.take(everything)
    assert {a.event_id for a in worker.held} == {a.event_id for a in whole.held}


def test_a_partition_that_went_elsewhere_is_loaded_again(rules: Path) -> None:
    everything = records(PASSING)
    worker = Worker(rules=rules, motion_gate=False)
    worker.take(everything[:20])
    worker.flush({0: 19})
    worker.detector.drop({0})
    other = Worker(worker.server, rules=rules, motion_gate=False)
    other.take(everything[20:40])
    other.flush({0: 39})
    worker.agent.store.claim([0], 3)
    worker.held.clear()
    worker.take(everything[40:])
    assert [alert.status for alert in worker.held if alert.status != "update"] == ["end", "end"]


# -- cameras --------------------------------------------------------------------------------------
def test_cameras_beyond_the_capacity_come_back_from_the_store() -> None:
    worker = Worker(cameras=4, motion_gate=False)
    offset = 0
    for step in range(40):
        for camera in range(12):
            value = PASSING[10 + step]
            captured = NOW + STEP_MS * step
            worker.take([frame(offset, value, camera_id=f"c{camera}", captured_at=captured)])
            worker.flush({0: offset})
            offset += 1
    assert len(worker.detector._pasts) <= 6
    assert len(worker.detector._follower.watches._watches) <= 6
    for camera in range(12):
        told = [alert for alert in worker.held if alert.entity == f"c{camera}"]
        assert [alert.status for alert in told if alert.status != "update"] == ["new"]
    series = [s for m in worker.agent.metrics.camera_up.collect() for s in m.samples]
    assert len(series) <= 6


def test_the_store_forgets_a_camera_in_time_but_never_one_with_open_alerts(rules: Path) -> None:
    worker = Worker(rules=rules)
    gate, door = ((0, digest(camera)) for camera in ("gate", "door"))
    worker.take([*records(PASSING[:30]), *records(empty(3), first=30, camera="door")])
    worker.flush({0: 32})
    assert {gate, door} <= worker.server.rows.keys()
    assert list(worker.server.ends) == [door]
    worker.take(records(PASSING[30:], first=33))
    worker.flush({0: 70})
    assert set(worker.server.ends) == {gate, door}


def test_a_camera_that_is_down_ends_its_alerts_and_shows(rules: Path) -> None:
    worker = Worker(rules=rules)
    worker.take(records(PASSING[:40]))
    assert worker.metric("camera_up", camera="gate") == 1
    worker.held.clear()

    down = FrameHeaders(camera_id="gate", captured_at=NOW + 40 * STEP_MS, state="down")
    outcome = worker.take([FakeRecord(40, None, b"gate", down.to_headers())])

    assert {(a.status, a.detail["cause"]) for a in worker.held} == {("end", "closed")}
    assert "the camera is down" in worker.held[0].reasons[-1].text
    assert len(worker.held) == 2
    assert worker.metric("camera_up", camera="gate") == 0
    assert (outcome.events, outcome.dead_letters) == (1, 0)
    worker.held.clear()
    worker.take(records(PASSING[40:44], first=41))
    assert worker.metric("camera_up", camera="gate") == 1
    assert {a.source.offset for a in worker.held} <= set(range(41, 45))  # other alerts


def test_a_clock_that_is_set_back_ends_what_was_followed(rules: Path) -> None:
    worker = Worker(rules=rules)
    worker.take(records(PASSING[:40]))
    worker.held.clear()
    back = [frame(40 + i, PASSING[i], captured_at=NOW - 3_600_000 + STEP_MS * i) for i in range(20)]
    worker.take(back)
    assert [alert.status for alert in worker.held[:2]] == ["end", "end"]
    assert "clock was set back" in worker.held[0].reasons[-1].text
    assert {a.id.split(":")[3] for a in worker.held[2:]} == {"2"}  # ids are not used again


def test_a_damaged_frame_at_the_jump_of_a_clock_does_not_hide_the_jump(rules: Path) -> None:
    worker = Worker(rules=rules)
    worker.take(records(PASSING[:40]))
    worker.held.clear()
    back = [frame(40 + i, PASSING[i], captured_at=NOW - 3_600_000 + STEP_MS * i) for i in range(20)]
    worker.take([replace(back[0], value=PASSING[0][:700]), *back[1:]])
    assert worker.letters
    assert [alert.status for alert in worker.held[:2]] == ["end", "end"]
    assert "clock was set back" in worker.held[0].reasons[-1].text
    assert all(alert.started_at <= alert.updated_at for alert in worker.held)


def test_the_rules_of_a_camera_are_its_own(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(RULES.replace('classes = ["person"]', 'classes = ["person"]\ncameras = ["d*"]'))
    worker = Worker(rules=path)
    worker.take(records(PASSING))
    assert worker.held == []
    worker.take(records(PASSING, camera="door"))
    assert worker.held != []


# -- the network sees what it must ----------------------------------------------------------------
def test_still_frames_keep_their_objects_without_the_network() -> None:
    standing = [walk(50)[25]] * 60
    worker = Worker(heartbeat_s=2.0)
    worker.take(records(standing))
    assert worker.detector._network.batches == [3]  # at 0, 2 and 4 s
    assert [alert.status for alert in worker.held if alert.status != "update"] == ["new"]
    assert worker.metric("frames", fate="detected") == 3
    assert worker.metric("frames", fate="still") == 57


def test_boxes_are_in_shares_of_the_picture_however_it_was_decoded(rules: Path) -> None:
    big = [vision.encode(np.kron(vision.street(60), np.ones((8, 8, 1), np.uint8)))] * 4
    small = [vision.encode(vision.street(60))] * 4
    boxes = []
    for values in (big, small):
        worker = Worker(rules=rules, motion_gate=False)
        worker.take(records(values))
        boxes.append([worker.held[0].detail[name] for name in ("x1", "y1", "x2", "y2")])
    assert boxes[0] == pytest.approx(boxes[1], abs=0.02)
    assert boxes[1] == pytest.approx([60 / 160, 40 / 120, 80 / 160, 90 / 120], abs=0.02)


def test_sizes_that_change_do_not_end_the_camera() -> None:
    values = [vision.encode(vision.street(10 + 2 * i, width=160 + 40 * (i % 3))) for i in range(12)]
    worker = Worker(motion_gate=False)
    outcome = worker.take(records(values))
    assert (outcome.events, outcome.dead_letters) == (12, 0)


def test_bad_frames_are_buried_and_the_others_tell_the_same_story() -> None:
    clean, mixed = Worker(motion_gate=False), Worker(motion_gate=False)
    clean.take(records(PASSING))
    everything: list[FakeRecord] = records(PASSING)
    bad = [b"", b"hello", PASSING[0][:-40]]
    for at, value in zip((40, 20, 3), bad, strict=True):
        everything.insert(at, frame(1000 + at, value, captured_at=NOW + STEP_MS * at))
    outcome = mixed.take(everything)
    assert [a.event_id for a in mixed.held] == [a.event_id for a in clean.held]
    assert outcome.dead_letters == 3
    assert min(mixed.letters).startswith("damaged")
    assert mixed.metric("frames", fate="rejected") == 3


def test_frames_that_cannot_be_looked_at_are_rejected_and_counted() -> None:
    worker = Worker()
    outcome = worker.detector.reject(worker.batch(records(PASSING[:3])), "no device")
    assert outcome.dead_letters == 3
    assert worker.metric("frames", fate="rejected") == 0
    worker.stored(outcome)
    assert worker.metric("frames", fate="rejected") == 3


def test_a_batch_that_is_scored_again_counts_once() -> None:
    worker = Worker(motion_gate=False)
    some = records(PASSING[:8])
    worker.detector.infer(worker.detector.prepare(worker.batch(some)))  # never stored
    worker.detector.drop(None)
    worker.take(some)
    assert worker.metric("frames", fate="detected") == 8
    assert worker.metric("camera_frames", camera="gate", fate="detected") == 8
    assert [worker.metric(name) for name in ("age", "detect", "batch")] == [8, 8, 1]  # counts


def test_every_frame_has_one_fate() -> None:
    worker = Worker(policy="freshest")
    worker.detector._intake._clock = lambda: NOW + 6000
    values: list[bytes | None] = [*PASSING]
    values[10] = b"no picture"
    outcome = worker.take(records(values))
    fates = sum(
        s.value
        for m in worker.agent.metrics.frames.collect()
        for s in m.samples
        if s.name.endswith("_total")
    )
    assert fates == len(values) == outcome.events + outcome.dead_letters
    assert worker.metric("camera_frames", camera="gate", fate="stale") > 20


# -- pictures -------------------------------------------------------------------------------------
def test_alerts_have_a_picture_and_a_crop_that_show_the_object(rules: Path) -> None:
    worker = Worker(rules=rules)
    worker.take(records(PASSING))
    pictures = worker.detector._follower._alerts._pictures
    for alert in worker.held:
        assert alert.snapshot is not None
        shown = decode(pictures.get(alert.snapshot))
        assert shown.shape == (120, 160, 3)
        cut = decode(pictures.get(alert.snapshot + ":crop"))
        assert (cut > 200).mean() > 0.1


def test_without_room_for_pictures_alerts_go_out_all_the_same() -> None:
    worker = Worker(snapshot_max_bytes=0)
    worker.take(records(PASSING))
    assert worker.held
    assert {alert.snapshot for alert in worker.held} == {None}


def test_people_whom_the_alert_is_not_about_are_blurred(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(
        RULES.replace(
            'name = "anyone"\nkind = "enter"\nzone = "picture"',
            'name = "anyone"\nkind = "enter"\nzone = "right"',
        )
    )
    shown = {}
    for blur in (False, True):
        worker = Worker(rules=path, snapshot_blur=blur, motion_gate=False)
        picture = vision.street(20, 100)
        picture[40:90:4, 20:40] = 205  # stripes, to be seen or not
        worker.take(records([vision.encode(picture, quality=95)] * 5))
        reference = worker.held[0].snapshot
        shown[blur] = decode(worker.detector._follower._alerts._pictures.get(reference))
    left, right = np.s_[50:80, 24:36], np.s_[48:85, 104:118]
    assert shown[True][left].std() < 5
    assert shown[False][left].std() > 10
    assert np.abs(shown[True][right].astype(int) - shown[False][right]).mean() < 3


# -- rules ----------------------------------------------------------------------------------------
def test_rules_are_read_again_when_the_file_changes_and_bad_ones_change_nothing(
    rules: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(rules=rules)
    clock = iter(range(10, 1000, 10))
    worker.detector._follower._rules._clock, worker.detector._follower._rules._looked = (
        lambda: next(clock),
        0.0,
    )
    worker.take(records(PASSING[:30]))
    assert {alert.detail["rule"] for alert in worker.held} == {"anyone", "right-half"}

    rules.write_text("[[rule]]\nname = 3")
    with caplog.at_level(logging.ERROR):
        worker.take(records(PASSING[30:31], first=30))
        worker.take(records(PASSING[31:32], first=31))
    assert [m for m in caplog.messages if "the rules stay as they were" in m] == caplog.messages
    assert len(caplog.messages) == 1

    worker.held.clear()
    rules.write_text(RULES[: RULES.rindex("[[rule]]")])
    worker.take(records(PASSING[32:33], first=32))
    assert story(worker.held)[0][:2] == ("right-half", "end")
    assert worker.held[0].detail["cause"] == "rule removed"


def test_a_rules_file_that_does_not_parse_keeps_the_agent_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    with pytest.raises(DataError, match=r"cannot read the rules .*rules\.toml"):
        Worker(rules=path)
    path.write_text("rule = 3")
    with pytest.raises(DataError, match=r"rules\.toml"):
        Worker(rules=path)


def test_a_network_that_fails_fails_its_batch_and_the_next_one_is_seen() -> None:
    worker = Worker(motion_gate=False)
    see = worker.detector._network.core
    worker.detector._network.core = lambda _: 1 / 0
    with pytest.raises(ZeroDivisionError):
        worker.take(records(PASSING[:8]))
    with pytest.raises(ZeroDivisionError):
        worker.detector.probe()
    worker.detector._network.core = see
    worker.detector.probe()
    worker.detector.drop(None)
    worker.take(records(PASSING[:8]))
    assert worker.metric("frames", fate="detected") == 8


# -- too much to do -------------------------------------------------------------------------------
def test_a_frame_that_grows_old_between_the_halves_is_skipped_and_counted() -> None:
    worker = Worker(policy="freshest", max_age_s=0.5, motion_gate=False)
    begun = round(time.time() * 1000)
    shots = [frame(n, empty(1)[0], captured_at=begun + n, camera_id=f"c{n}") for n in range(2)]
    batch = Batch(shots, np.zeros(2, np.int32), 1)
    prepared = worker.detector.prepare(batch)
    time.sleep(0.6)
    outcome = worker.detector.infer(prepared)
    worker.stored(outcome)

    assert outcome.events == 2
    assert worker.metric("frames", fate="stale") == 2
    assert worker.metric("frames", fate="detected") == 0
    later = frame(2, empty(1)[0], captured_at=round(time.time() * 1000), camera_id="c0")
    worker.take([later])
    assert worker.metric("camera_frames", camera="c0", fate="stale") == 1
    assert worker.metric("camera_frames", camera="c0", fate="detected") == 1


def test_the_garbage_of_frames_is_collected_before_it_holds_many_pictures() -> None:
    assert Worker().agent.gc_thresholds[0] <= 1000
