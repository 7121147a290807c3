"""Whatever moves wherever: every event begins once and ends once, also across a restart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.vision.boxes import CONFIRMED, TENTATIVE, Tracks
from models.vision.object_events import ObjectEvent
from models.vision.rule_state import RuleState, pack_rules, unpack_rules
from models.vision.rules import close, evaluate
from models.vision.zones import crossings, inside
from tests.fakes.vision import HEIGHT, WIDTH, book, tracks

RULES = book(
    'name = "enter"\nkind = "enter"\nzone = "west"\nclasses = ["person", "car"]\ngone_s = 1\n',
    'name = "slow"\nkind = "enter"\nzone = "west"\nclasses = ["person"]\n'
    "cooldown_s = 3\nmax_s = 2\n",
    'name = "cross"\nkind = "cross"\nline = "middle"\nclasses = ["person", "car"]\nfollow_s = 1\n',
    'name = "stay"\nkind = "loiter"\nzone = "west"\nclasses = ["person"]\nseconds = 1\n',
    'name = "crowd"\nkind = "count"\nclasses = ["person"]\nlimit = 1\n'
    "seconds = 0.5\ngone_s = 0.5\n",
    'name = "bag"\nkind = "left"\nclasses = ["suitcase"]\nseconds = 1\nmax_s = 5\n',
)

share = st.floats(0, 1)
seen = st.tuples(
    st.integers(1, 6), share, st.floats(0.2, 1), st.floats(0.05, 1), st.booleans(), st.booleans()
)
frame = st.tuples(
    st.lists(seen, max_size=5, unique_by=lambda s: s[0]),
    st.one_of(st.integers(0, 1200), st.just(-5000)),
)
scenes = st.lists(frame, max_size=25)
Scene = list[tuple[list[tuple[int, float, float, float, bool, bool]], int]]


def shown(several: list[tuple[int, float, float, float, bool, bool]], *, believed: bool) -> Tracks:
    """Each id has its class for good, as the tracker's have."""
    rows = tracks(*((number, x, y) for number, x, y, *_ in several))
    return replace(
        rows,
        confidence=np.array([s[3] for s in several], np.float32),
        class_id=rows.tracker_id % 3,
        unseen_s=np.array([0.0 if s[4] else 0.4 for s in several]),
        status=np.array(
            [CONFIRMED if believed and s[5] else TENTATIVE for s in several], np.uint8
        ),
    )  # fmt: skip


def play(scene: Scene, cut: int | None = None, *, believed: bool = True) -> list[ObjectEvent]:
    """All that is told, the closing included; the state is packed and unpacked before `cut`."""
    state, time_ms, told = RuleState(), 1_780_000_000_000, list[ObjectEvent]()
    for number, (several, elapsed) in enumerate(scene):
        time_ms += elapsed
        if number == cut:
            state = unpack_rules(pack_rules(state))
        state, events = evaluate(
            RULES,
            state,
            shown(several, believed=believed),
            time_ms=time_ms,
            width=WIDTH,
            height=HEIGHT,
        )
        told += events
    return told + close(RULES, state, time_ms=time_ms)[1]


@settings(max_examples=150, deadline=None)
@given(scenes)
def test_every_event_begins_once_and_ends_once(scene: Scene) -> None:
    begun = dict[tuple[str, int], ObjectEvent]()
    for event in play(scene):
        name = event.rule, event.tracker_id
        if event.status == "new":
            assert name not in begun
            begun[name] = event
        else:
            assert begun[name].started_ms == event.started_ms
        assert (event.ended_ms is not None) == (event.cause is not None) == (event.status == "end")
        assert all(0 <= number <= 1 for number in (*event.box, event.quality, event.confidence))
        if event.status == "end":
            del begun[name]
    assert not begun


@settings(max_examples=80, deadline=None)
@given(scenes, st.integers(0, 24))
def test_a_restart_anywhere_changes_nothing(scene: Scene, cut: int) -> None:
    assert play(scene, cut % max(len(scene), 1)) == play(scene)


@settings(max_examples=50, deadline=None)
@given(scenes)
def test_unconfirmed_tracks_never_tell_anything(scene: Scene) -> None:
    assert play(scene, believed=False) == []


points = st.tuples(share, share)
grid = st.tuples(*[st.integers(0, 4).map(lambda i: i / 4)] * 2)  # so that points meet lines
either = st.one_of(points, grid)


@given(either, either, either, either)
def test_the_way_back_crosses_in_the_opposite_direction(
    a: tuple[float, float], b: tuple[float, float], p: tuple[float, float], q: tuple[float, float]
) -> None:
    before, after, line = np.array([p]), np.array([q]), np.array([a, b])
    there, back = crossings(before, after, line), crossings(after, before, line)
    assert there[0] == -back[0]
    assert there[0] in {-1, 0, 1}


@given(st.lists(grid, min_size=3, max_size=6), points)
def test_a_point_in_a_polygon_winds_around_it(
    corners: list[tuple[float, float]], point: tuple[float, float]
) -> None:
    """The even-odd rule against the parity of the winding number, by angles."""
    polygon, at = np.array(corners), np.array(point)
    towards = polygon - at
    ends = np.roll(towards, -1, axis=0)
    cross = towards[:, 0] * ends[:, 1] - towards[:, 1] * ends[:, 0]
    dot = (towards * ends).sum(1)
    if (np.abs(cross) < 1e-6).any():
        return  # on an edge or in line with one: angles decide nothing there
    winding = round(float(np.arctan2(cross, dot).sum()) / (2 * np.pi))
    assert inside(at[None], polygon)[0] == (winding % 2 == 1)
