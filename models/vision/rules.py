"""Rules over tracks: from what is where to things that happen, each with a beginning and an end.

A pure function of its state, as the tracker is, so what happens goes on across a worker's
restart. One thing that happens is one `new`, as early as it is certain, any number of `update`
where a better picture comes, and one `end`.
"""

from __future__ import annotations

from models.vision.boxes import Tracks
from models.vision.conditions import look
from models.vision.lifecycle import Turn
from models.vision.object_events import Cause, ObjectEvent, tell_end
from models.vision.rule_state import MAX_TRAILS, OPEN, RuleState, Trail, Watch
from models.vision.rules_file import RuleBook

FORGET_S = 10.0  # a track that was not seen for so long does not come back: the tracker dropped it


def evaluate(
    book: RuleBook, state: RuleState, tracks: Tracks, *, time_ms: int, width: int, height: int
) -> tuple[RuleState, list[ObjectEvent]]:
    """Apply the rules of one camera to one frame.

    Args:
        book: the rules of this camera.
        state: after the frame before.
        tracks: of this frame; those unconfirmed never count.
        time_ms: when the frame was captured.
        width: of the frame, pixels.
        height: of the frame, pixels.

    Returns:
        The state after the frame, and what is to be told, at most one message an event.
    """
    # 1. The clock and the trails.
    elapsed = 0.0 if state.time_ms is None else max(time_ms - state.time_ms, 0) / 1000
    clock = state.clock + elapsed
    view = look(tracks, _recent(state.trails, clock), clock, width, height)
    # 2. Each rule by itself.
    turns = {
        rule.name: Turn(book=book, rule=rule, state=state, view=view, time_ms=time_ms)
        for rule in book.rules
    }
    # 3. What belongs to a rule that is gone from the file ends.
    orphans = {name: state.watches[name] for name in state.watches if name not in turns}
    events = _ends(book, orphans, "rule removed", clock=clock, time_ms=time_ms)
    for turn in turns.values():
        events += turn.events
    after = RuleState(
        clock=clock,
        time_ms=time_ms,
        trails=view.trails,
        watches={name: tuple(turn.watches) for name, turn in turns.items() if turn.watches},
        places={name: tuple(turn.places) for name, turn in turns.items() if turn.places},
        opened={name: turn.opened for name, turn in turns.items() if turn.opened is not None},
    )
    return after, events


def close(book: RuleBook, state: RuleState, *, time_ms: int) -> tuple[RuleState, list[ObjectEvent]]:
    """End everything that is open, because no frame will come."""
    events = _ends(book, state.watches, "closed", clock=state.clock, time_ms=time_ms)
    return RuleState(clock=state.clock, time_ms=state.time_ms, opened=state.opened), events


def _recent(trails: dict[int, Trail], clock: float) -> dict[int, Trail]:
    """Those of tracks that may come back, the latest if there are too many."""
    recent = {t: trail for t, trail in trails.items() if clock - trail.seen <= FORGET_S}
    if len(recent) <= MAX_TRAILS:
        return recent
    latest = sorted(recent, key=lambda track: (recent[track].seen, track))[-MAX_TRAILS:]
    return {track: recent[track] for track in latest}


def _ends(
    book: RuleBook,
    watches: dict[str, tuple[Watch, ...]],
    cause: Cause,
    *,
    clock: float,
    time_ms: int,
) -> list[ObjectEvent]:
    """`end` of every open watch."""
    rules = {rule.name: rule for rule in book.rules}
    return [
        tell_end(
            book,
            name,
            rules.get(name),
            watch,
            cause,
            class_name=book.class_name(watch.class_id),
            lasted_s=clock - watch.opened,
            time_ms=time_ms,
        )
        for name, several in watches.items()
        for watch in several
        if watch.phase == OPEN
    ]
