from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest

from models.errors import DataError
from models.vision.boxes import TENTATIVE, Tracks
from models.vision.object_events import ObjectEvent
from models.vision.rule_state import MAX_PATH, RuleState, pack_rules, unpack_rules, walked
from models.vision.rules import close, evaluate
from models.vision.rules_file import RuleBook
from tests.fakes.vision import CAR, HEIGHT, SUITCASE, WIDTH, book, both, tracks

NOBODY = tracks()
INSIDE, OUTSIDE = 0.25, 0.75
START_MS = 1_780_000_000_000  # a Thursday in May 2026, 20:26:40 UTC
ENTER = 'name = "yard"\nkind = "enter"\nzone = "west"\nclasses = ["person", "car"]\n'
CROSS = 'name = "gate"\nkind = "cross"\nline = "middle"\nclasses = ["person"]\n'
LOITER = 'name = "stay"\nkind = "loiter"\nzone = "west"\nclasses = ["person"]\nseconds = 5\n'
COUNT = 'name = "crowd"\nkind = "count"\nzone = "west"\nclasses = ["person"]\nlimit = 2\n'
LEFT = 'name = "bag"\nkind = "left"\nclasses = ["suitcase"]\nseconds = 5\n'


class Camera:
    """Plays frames into the rules and keeps what they tell."""

    def __init__(self, rules: RuleBook) -> None:
        self.rules, self.state, self.time_ms = rules, RuleState(), START_MS
        self.told: list[ObjectEvent] = []

    def see(self, frames: Iterable[Tracks], *, every_ms: int = 500) -> list[ObjectEvent]:
        """What is told meanwhile."""
        before = len(self.told)
        for frame in frames:
            self.state, events = evaluate(
                self.rules, self.state, frame, time_ms=self.time_ms, width=WIDTH, height=HEIGHT
            )
            self.told += events
            self.time_ms += every_ms
        return self.told[before:]


def statuses(events: list[ObjectEvent]) -> list[str]:
    return [event.status for event in events]


def test_without_tracks_or_rules_nothing_happens() -> None:
    assert Camera(book()).see([NOBODY, tracks((1, INSIDE, 0.5))]) == []
    assert Camera(book(ENTER, CROSS, LOITER, COUNT, LEFT)).see([NOBODY] * 3) == []


def test_an_entry_is_told_at_once_and_ends_when_the_object_has_left() -> None:
    camera = Camera(book(ENTER))
    assert camera.see([tracks((7, OUTSIDE, 0.5))]) == []
    (new,) = camera.see([tracks((7, INSIDE, 0.5))])
    assert (new.status, new.rule, new.kind, new.tracker_id) == ("new", "yard", "enter", 7)
    assert (new.class_name, new.reason) == ("person", "person entered west")
    assert new.started_ms == new.updated_ms == START_MS + 500
    assert new.evidence["confidence"] == pytest.approx(0.8)
    assert new.box == pytest.approx((0.225, 0.3, 0.275, 0.5), abs=1e-6)
    (end,) = camera.see([tracks((7, OUTSIDE, 0.5))] * 6)
    assert (end.status, end.cause, end.tracker_id) == ("end", "left", 7)
    assert end.started_ms == new.started_ms
    assert end.ended_ms == START_MS + 3000  # more than two seconds after it was inside


def test_an_event_says_which_zone_or_line_it_is_about_and_where_that_is() -> None:
    camera = Camera(book(ENTER, CROSS, LEFT))
    told = camera.see(
        [
            both(tracks((1, x, 0.5)), tracks((9, OUTSIDE, 0.5), class_id=SUITCASE))
            for x in (0.6, 0.6, *[0.4] * 20, *[0.6] * 20)
        ]
    )
    places = {(e.rule, e.status): (e.place, e.outline) for e in told}
    west = "west", ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    assert places["yard", "new"] == places["yard", "end"] == west
    assert places["gate", "new"] == ("middle", ((0.5, 0.0), (0.5, 1.0)))
    assert places["bag", "new"] == ("", ())


def test_an_event_says_the_way_that_its_object_took_while_the_rule_applied() -> None:
    camera = Camera(book(ENTER))
    camera.see([tracks((7, OUTSIDE, 0.5))])
    xs = [0.45, 0.35, 0.25]
    camera.see([tracks((7, x, 0.5)) for x in xs for _ in range(2)])  # it stands between steps
    camera.state = unpack_rules(pack_rules(camera.state))
    (end,) = camera.see([tracks((7, OUTSIDE, 0.5))] * 6)
    assert [x for x, _ in end.path] == pytest.approx(xs, abs=1 / 255)
    assert [y for _, y in end.path] == pytest.approx([0.5] * 3, abs=1 / 255)  # its foot


def test_a_long_way_is_told_with_fewer_points_from_its_first_to_its_last() -> None:
    path = b""
    for step in range(400):
        x = abs((step * 5) % 510 - 255) / 255
        path = walked(path, (x, 0.0, x, step / 800))
        assert len(path) <= 2 * MAX_PATH + 2
    assert path[:2] == bytes((255, 0))
    assert path[-1] == round(255 * 399 / 800)
    assert walked(b"", (-0.5, 0.2, -0.1, 1.5)) == bytes((0, 255))


def test_state_of_before_there_were_paths_is_read() -> None:
    camera = Camera(book(ENTER))
    camera.see([tracks((7, INSIDE, 0.5))])
    whole = msgspec.msgpack.decode(pack_rules(camera.state))
    for watches in whole["watches"].values():
        for watch in watches:
            del watch[-1]
    (watch,) = unpack_rules(msgspec.msgpack.encode(whole)).watches["yard"]
    assert watch.path == b""


def test_an_object_that_is_not_seen_any_more_ends_it() -> None:
    camera = Camera(book(ENTER))
    camera.see([tracks((7, INSIDE, 0.5))])
    (end,) = camera.see([NOBODY] * 6)
    assert (end.status, end.cause) == ("end", "gone")


def test_a_blink_is_no_end() -> None:
    camera = Camera(book(ENTER))
    seen = [tracks((7, INSIDE, 0.5))]
    assert statuses(camera.see([*seen, NOBODY, NOBODY, NOBODY, *seen, NOBODY, *seen])) == ["new"]


@pytest.mark.parametrize("how", [{"status": TENTATIVE}, {"unseen_s": 0.3}])
def test_unconfirmed_and_unseen_tracks_never_count(how: dict[str, float]) -> None:
    camera = Camera(book(ENTER, CROSS, LOITER, COUNT))
    status = {"status": int(how["status"])} if "status" in how else {}
    unseen = {"unseen_s": how["unseen_s"]} if "unseen_s" in how else {}
    path = [OUTSIDE, *[INSIDE] * 20]
    frames = [tracks(*((i, x, 0.5) for i in range(1, 5)), **status, **unseen) for x in path]
    assert camera.see(frames) == []


def test_other_classes_never_count() -> None:
    camera = Camera(book(CROSS, LOITER, COUNT))
    path = [OUTSIDE, *[INSIDE] * 20]
    assert (
        camera.see(tracks((1, x, 0.5), (2, x, 0.6), (3, x, 0.7), class_id=CAR) for x in path) == []
    )


def test_too_unsure_or_too_small_is_not_told_until_it_is_not() -> None:
    camera = Camera(book(ENTER + "min_confidence = 0.7\nmin_height = 0.3\n"))
    at = (1, INSIDE, 0.9)
    assert camera.see([tracks(at, height=0.4, confidence=0.6)] * 2) == []
    assert camera.see([tracks(at, height=0.2, confidence=0.9)] * 2) == []
    assert statuses(camera.see([tracks(at, height=0.4, confidence=0.9)])) == ["new"]
    assert camera.see([tracks(at, height=0.4, confidence=0.2)] * 2) == []


def test_a_better_picture_is_an_update_but_not_too_often() -> None:
    camera = Camera(book(ENTER))
    sizes = [0.2, 0.21, 0.4, 0.5, 0.6, 0.6, 0.3]
    events = camera.see(tracks((1, INSIDE, 0.9), height=size) for size in sizes)
    assert statuses(events) == ["new", "update", "update"]
    assert [event.updated_ms - START_MS for event in events] == [0, 1000, 2000]
    assert events[0].quality < events[1].quality < events[2].quality


def test_a_picture_cut_off_by_the_border_is_worth_less() -> None:
    camera = Camera(book(ENTER))
    new, update = camera.see([tracks((1, x, 0.5)) for x in (0.02, 0.1, 0.2)])
    assert update.quality == pytest.approx(4 * new.quality / 0.9, rel=0.01)


def test_a_still_object_does_not_alert_for_ever() -> None:
    """A parked car: told once, over after the longest time, and not again though it is lost."""
    camera = Camera(book(ENTER + "max_s = 20\n"))
    parked = tracks((1, INSIDE, 0.5), class_id=CAR)
    events = camera.see([parked] * 100)
    assert statuses(events) == ["new", "end"]
    assert events[1].cause == "too long"
    for number in range(2, 8):
        found_again = tracks((number, INSIDE, 0.5), class_id=CAR)
        assert camera.see([NOBODY] * 8 + [found_again] * 8) == []
    # It drives off, and another one comes to the same place: that is a new thing.
    away = [tracks((7, x, 0.5), class_id=CAR) for x in (0.3, 0.4, 0.6, 0.8, 0.8, 0.8, 0.8, 0.8)]
    assert camera.see([*away, NOBODY]) == []
    other = [tracks((9, x, 0.5), class_id=CAR) for x in (0.8, 0.6, 0.4, 0.3, INSIDE)]
    assert statuses(camera.see(other)) == ["new"]


def test_a_new_id_for_a_followed_object_is_no_new_event() -> None:
    camera = Camera(book(ENTER))
    camera.see([tracks((1, INSIDE, 0.5))])
    assert camera.see([NOBODY, tracks((2, INSIDE, 0.5)), tracks((2, 0.3, 0.5))]) == []
    (end,) = camera.see([NOBODY] * 6)
    assert (end.tracker_id, end.track) == (1, 2)


def test_an_id_that_still_names_an_event_does_not_name_a_second_one() -> None:
    camera = Camera(book(ENTER))
    camera.see([tracks((1, 0.1, 0.5)), tracks((2, 0.1, 0.5))])  # 2 has become what 1 was
    assert camera.see([tracks((1, 0.4, 0.5), (2, 0.1, 0.5))] * 10) == []
    events = camera.see([tracks((1, 0.4, 0.5))] * 6)
    assert [(e.status, e.tracker_id, e.track) for e in events] == [("end", 1, 2), ("new", 1, 1)]


def test_two_objects_are_two_events() -> None:
    camera = Camera(book(ENTER))
    events = camera.see([tracks((1, 0.1, 0.5), (2, 0.4, 0.5))])
    assert [(event.status, event.tracker_id) for event in events] == [("new", 1), ("new", 2)]


def test_within_the_cooldown_nothing_else_begins() -> None:
    camera = Camera(book(ENTER + "cooldown_s = 10\n"))
    camera.see([tracks((1, 0.1, 0.5))])
    one, two = (1, 0.1, 0.5), (2, 0.4, 0.5)
    assert camera.see([tracks(one, two)] * 19) == []
    (new,) = camera.see([tracks(one, two)])  # it is still there
    assert (new.tracker_id, new.status) == (2, "new")


def test_who_crosses_a_line_within_the_cooldown_is_not_told_of_when_it_is_elsewhere() -> None:
    camera = Camera(book(CROSS + "cooldown_s = 2\n"))
    first = [tracks((1, x, 0.5)) for x in (0.6, 0.45, 0.4)]
    second = [both(tracks((1, 0.4, 0.5)), tracks((2, x, 0.5))) for x in (0.6, 0.45, *[0.1] * 40)]
    events = camera.see([*first, *second])
    assert [e.tracker_id for e in events if e.status == "new"] == [1]
    third = [tracks((3, x, 0.5)) for x in (0.6, 0.45)]
    assert [e.tracker_id for e in camera.see(third) if e.status == "new"] == [3]


@pytest.mark.parametrize(
    ("direction", "expected"),
    [("both", ["right", "left"]), ("right", ["right"]), ("left", ["left"])],
)
def test_a_line_tells_the_direction(direction: str, expected: list[str]) -> None:
    camera = Camera(book(CROSS + f'direction = "{direction}"\n'))
    there = [tracks((1, x, 0.5)) for x in (0.7, 0.6, 0.45, *[0.3] * 20)]
    back = [tracks((1, x, 0.5)) for x in (0.4, 0.6, *[0.7] * 20)]
    events = camera.see([*there, *back])
    news = [event for event in events if event.status == "new"]
    assert [event.evidence["direction"] for event in news] == expected
    assert statuses(events) == ["new", "end"] * len(expected)
    assert news[0].reason == f"person crossed middle to the {expected[0]}"


def test_who_wavers_on_the_line_crosses_it_once() -> None:
    camera = Camera(book(CROSS))
    wavering = [tracks((1, x, 0.5)) for x in (0.6, *[0.49, 0.51] * 10, *[0.4] * 20)]
    assert statuses(camera.see(wavering)) == ["new", "end"]


def test_who_appears_beyond_the_line_has_not_crossed_it() -> None:
    assert Camera(book(CROSS)).see([tracks((1, INSIDE, 0.5))] * 5) == []


def test_loitering_is_told_after_its_time_and_leaving_resets_it() -> None:
    camera = Camera(book(LOITER))
    inside, outside = tracks((1, INSIDE, 0.5)), tracks((1, OUTSIDE, 0.5))
    assert camera.see([inside] * 9 + [outside] * 6 + [inside] * 10) == []
    (new,) = camera.see([inside])
    assert new.reason == "person in west for 5 s, limit 5 s"
    assert new.evidence["lasted_s"] == 5


def test_a_crowd_is_one_event_however_many_come_and_go() -> None:
    camera = Camera(book(COUNT))
    three = tracks((1, 0.1, 0.5), (2, 0.2, 0.5), (3, 0.3, 0.5))
    four = tracks((1, 0.1, 0.5), (5, 0.2, 0.5), (3, 0.3, 0.5), (4, 0.4, 0.5))
    two = tracks((1, 0.1, 0.5), (2, 0.2, 0.5))
    assert camera.see([two] * 10 + [three] * 2) == []
    events = camera.see([three, four, four, four, three, *[two] * 6])
    assert statuses(events) == ["new", "update", "end"]
    assert events[0].evidence["count"] == 3
    assert events[0].reason == "3 x person in west, limit 2"
    assert {event.tracker_id for event in events} == {0}
    assert events[-1].cause == "left"


def bag(x: float = 0.6) -> Tracks:
    return tracks((9, x, 0.8), class_id=SUITCASE, height=0.1)


def test_an_object_left_behind_is_told_when_nobody_was_near_for_its_time() -> None:
    camera = Camera(book(LEFT))
    owner_near, owner_far = tracks((1, 0.62, 0.8)), tracks((1, 0.1, 0.8))
    assert camera.see([both(bag(), owner_near)] * 30) == []
    assert camera.see([both(bag(), owner_far)] * 10) == []
    (new,) = camera.see([both(bag(), owner_far)])
    assert (new.tracker_id, new.class_name) == (9, "suitcase")
    assert new.reason == "suitcase left alone for 5 s, limit 5 s"
    # People who walk past do not end it; whoever takes it does.
    assert camera.see([both(bag(), owner_near)] * 10) == []
    (end,) = camera.see([both(bag(x), owner_near) for x in (0.5, 0.4, 0.3, 0.2, 0.2, 0.2)])
    assert end.status == "end"


def test_an_object_that_moves_is_not_left_behind() -> None:
    camera = Camera(book(LEFT))
    assert camera.see([bag(0.1 + 0.02 * i) for i in range(40)]) == []


def test_a_rule_that_is_not_armed_says_nothing_and_ends_what_is_open() -> None:
    schedule = "schedule = { begin = 20:26:50, end = 20:27:00 }\n"
    camera = Camera(book(ENTER + schedule))
    events = camera.see([tracks((1, INSIDE, 0.5))] * 60)
    assert [(e.status, e.updated_ms - START_MS) for e in events] == [
        ("new", 10_000),  # it was there when the rule was armed
        ("end", 20_000),
    ]
    assert events[1].cause == "off schedule"


def test_a_rule_that_is_gone_from_the_file_ends_what_is_open() -> None:
    camera = Camera(book(ENTER, LOITER))
    camera.see([tracks((1, INSIDE, 0.5))])
    camera.rules = book(LOITER)
    (end,) = camera.see([tracks((1, INSIDE, 0.5))])
    assert (end.rule, end.status, end.cause, end.kind) == ("yard", "end", "rule removed", None)
    assert camera.see([NOBODY] * 10) == []


def test_closing_a_camera_ends_everything_once() -> None:
    camera = Camera(book(ENTER, LOITER))
    camera.see([tracks((1, 0.1, 0.5), (2, 0.3, 0.5))])
    state, events = close(camera.rules, camera.state, time_ms=START_MS + 5000)
    assert [(e.tracker_id, e.status, e.cause) for e in events] == [
        (1, "end", "closed"), (2, "end", "closed"),
    ]  # fmt: skip
    assert close(camera.rules, state, time_ms=START_MS + 6000)[1] == []


def test_a_clock_set_back_neither_ends_nor_hurries_anything() -> None:
    camera = Camera(book(LOITER))
    inside = tracks((1, INSIDE, 0.5))
    camera.see([inside] * 5)
    camera.time_ms -= 3_600_000
    assert camera.see([inside] * 6) == []
    assert statuses(camera.see([inside] * 2)) == ["new"]


def test_the_state_given_is_left_as_it_is() -> None:
    camera = Camera(book(ENTER, CROSS, LOITER, COUNT, LEFT))
    camera.see([tracks((1, INSIDE, 0.5))])
    state, before = camera.state, pack_rules(camera.state)
    camera.see([NOBODY] * 10)
    assert pack_rules(state) == before


def test_a_damaged_state_is_refused() -> None:
    camera = Camera(book(ENTER))
    camera.see([tracks((1, INSIDE, 0.5))])
    packed = pack_rules(camera.state)
    assert unpack_rules(packed) == camera.state
    for damaged in (b"", packed[:-1], b"\xc1" + packed, b"x" * (5 << 20)):
        with pytest.raises(DataError, match="state of rules"):
            unpack_rules(damaged)
    other = packed.replace(b"version\x01", b"version\x02")
    with pytest.raises(DataError, match="version 2, expected 1"):
        unpack_rules(other)


def test_ids_that_change_all_the_time_do_not_fill_the_memory() -> None:
    camera = Camera(book(ENTER))
    crowds = (
        tracks(*((1 + 200 * i + n, (n % 20) / 20, 0.5) for n in range(200))) for i in range(40)
    )
    camera.see(crowds, every_ms=10)
    assert len(camera.state.trails) <= 1224
    assert len(camera.state.watches["yard"]) <= 256
