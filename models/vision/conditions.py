"""To which objects of a frame a rule's condition applies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from models.vision.boxes import Tracks
from models.vision.rule_state import OPEN, SPENT, Box, Trail, Watch
from models.vision.rules_file import Count, Cross, Enter, Left, Loiter, Rule, RuleBook
from models.vision.zones import Points, anchors, crossings, inside

STILL_HEIGHTS = 0.25  # of the box: what a detector's boxes of a still object wander at most
SETTLED_S = 1.0  # before that a walker between two steps would be still
SAME_PLACE = 0.3  # overlap with where it was found: less, and it was taken away
BORDER = 0.01  # of the frame: a box that comes nearer may be cut off
BORDER_QUALITY = 0.25  # so that a picture of the whole object replaces one that is cut


@dataclass(frozen=True, slots=True)
class Subject:
    """One object, or for a count all of them together, in one frame.

    Attributes:
        track: its id; 0 for a count.
        class_id: place in the detector's list.
        box: in shares of the frame.
        confidence: of the detection.
        quality: of a picture of it, in [0, 1].
        since: clock before which the condition cannot have held.
        still: whether it stands still.
        number: of objects, for a count.
        side: to which it crossed a line, 1 right, -1 left, else 0.
    """

    track: int
    class_id: int
    box: Box
    confidence: float
    quality: float
    since: float
    still: bool
    number: int = 1
    side: int = 0

    @property
    def height(self) -> float:
        """In shares of the frame's height."""
        return self.box[3] - self.box[1]


@dataclass(frozen=True, slots=True)
class View:
    """The confirmed tracks that are seen in one frame, with what is known of their past.

    Attributes:
        clock: of the frame, seconds.
        subjects: by track id.
        anchors: (N, 2) where they stand, in the order of `subjects`.
        before: (N, 2) where they stood when they were seen last.
        trails: of these and of other recent tracks.
        aspect: width of the frame over its height.
    """

    clock: float
    subjects: dict[int, Subject]
    anchors: Points
    before: Points
    trails: dict[int, Trail]
    aspect: float


def look(
    tracks: Tracks, trails: Mapping[int, Trail], clock: float, width: int, height: int
) -> View:
    """What a frame shows.

    Args:
        tracks: of the frame; those unconfirmed or unseen are left out.
        trails: of the frames before.
        clock: of this frame, seconds.
        width: of the frame, pixels.
        height: of the frame, pixels.
    """
    seen = tracks.seen()
    here = anchors(seen.xyxy, width, height)
    shares = np.clip(seen.xyxy / np.array([width, height, width, height]), 0.0, 1.0)
    subjects, grown, before = {}, dict(trails), []
    columns = (seen.tracker_id, seen.class_id, seen.confidence, shares, here)
    for track, class_id, confidence, (x1, y1, x2, y2), (x, y) in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        at, trail = (x, y), trails.get(track)
        if trail is None:
            trail = Trail(anchor=at, seen=clock, born=clock, post=at, still=clock)
        before.append(trail.anchor)
        away = math.hypot((at[0] - trail.post[0]) * width / height, at[1] - trail.post[1])
        moved = away > STILL_HEIGHTS * (y2 - y1)
        post, still = (at, clock) if moved else (trail.post, trail.still)
        grown[track] = Trail(anchor=at, seen=clock, born=trail.born, post=post, still=still)
        whole = min(x1, y1, 1 - x2, 1 - y2) > BORDER
        subjects[track] = Subject(
            track=track,
            class_id=class_id,
            box=(x1, y1, x2, y2),
            confidence=confidence,
            quality=confidence * (x2 - x1) * (y2 - y1) * (1.0 if whole else BORDER_QUALITY),
            since=0.0,
            still=clock - still >= SETTLED_S,
        )
    stood = np.array(before, np.float64).reshape(-1, 2)
    return View(clock, subjects, here, stood, grown, width / height)


def holding(
    book: RuleBook,
    rule: Rule,
    view: View,
    watches: Mapping[int, Watch],
) -> dict[int, Subject]:
    """The objects to which the condition of `rule` applies now, by track id.

    Args:
        book: where the rule's zone or line is.
        rule: one of the book's.
        view: of this frame.
        watches: of the rule, by the track that they follow.
    """
    chosen = _chosen(book, rule.classes, view)
    match rule:
        case Enter() | Loiter():
            found = _within(book, rule.zone, view, chosen)
        case Cross():
            found = _crossing(book.lines[rule.line], rule, view, chosen, watches)
        case Count():
            found = _within(book, rule.zone, view, chosen)
            able = [
                s for s in found.values()
                if s.confidence >= rule.min_confidence and s.height >= rule.min_height
            ]  # fmt: skip
            found = {0: _together(able)} if len(able) > rule.limit else {}
        case Left():
            owners = list(_chosen(book, rule.owners, view).values())
            found = _left(rule, view, _within(book, rule.zone, view, chosen), owners, watches)
    return found


def _chosen(book: RuleBook, classes: tuple[str, ...], view: View) -> dict[int, Subject]:
    """Those of some classes."""
    ids = _class_ids(book.class_names, classes)
    return {track: s for track, s in view.subjects.items() if s.class_id in ids}


@lru_cache(maxsize=256)
def _class_ids(class_names: tuple[str, ...], classes: tuple[str, ...]) -> frozenset[int]:
    return frozenset(number for number, name in enumerate(class_names) if name in classes)


def _within(
    book: RuleBook, zone: str, view: View, chosen: dict[int, Subject]
) -> dict[int, Subject]:
    """Those that stand in a zone; all of them where none is named."""
    if not zone or not chosen:
        return chosen
    held = dict(zip(view.subjects, inside(view.anchors, book.zones[zone]).tolist(), strict=True))
    return {track: s for track, s in chosen.items() if held[track]}


def _crossing(
    line: Points,
    rule: Cross,
    view: View,
    chosen: dict[int, Subject],
    watches: Mapping[int, Watch],
) -> dict[int, Subject]:
    """Those that cross now, and those that did and are still followed."""
    wanted = {"left": (-1,), "right": (1,), "both": (-1, 1)}[rule.direction]
    sides = crossings(view.before, view.anchors, line).tolist()
    side = dict(zip(view.subjects, sides, strict=True))
    return {
        track: replace(s, side=side[track]) if side[track] in wanted else s
        for track, s in chosen.items()
        if side[track] in wanted
        or (track in watches and view.clock - watches[track].began < rule.follow_s)
    }


def _left(
    rule: Left,
    view: View,
    chosen: dict[int, Subject],
    owners: list[Subject],
    watches: Mapping[int, Watch],
) -> dict[int, Subject]:
    """Those that are still and have nobody near; once reported, those that are still there."""
    found = {}
    for track, s in chosen.items():
        watch = watches.get(track)
        if watch is not None and watch.phase in (OPEN, SPENT):
            if overlap(s.box, watch.home) >= SAME_PLACE:
                found[track] = s
        elif s.still and not any(_near(s, o, rule.near, view.aspect) for o in owners):
            found[track] = replace(s, since=view.trails[track].still)
    return found


def _near(thing: Subject, owner: Subject, heights: float, aspect: float) -> bool:
    """Whether a thing stands within some heights of an owner's box."""
    x, y = (thing.box[0] + thing.box[2]) / 2, thing.box[3]
    across = max(owner.box[0] - x, x - owner.box[2], 0.0) * aspect
    down = max(owner.box[1] - y, y - owner.box[3], 0.0)
    return math.hypot(across, down) <= heights * owner.height


def _together(several: list[Subject]) -> Subject:
    """One subject for a count: the box around them, the picture as good as all of theirs."""
    left, top, right, bottom = zip(*(s.box for s in several), strict=True)
    best = max(several, key=lambda s: s.quality)
    return replace(
        best,
        track=0,
        box=(min(left), min(top), max(right), max(bottom)),
        quality=min(sum(s.quality for s in several), 1.0),
        still=False,
        number=len(several),
    )


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    across = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0)
    down = max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - across * down
    return across * down / both if both > 0 else 0.0
