"""One rule's objects from frame to frame: waiting, open, spent, over."""

from __future__ import annotations

from typing import Literal

import msgspec

from models.vision.conditions import Subject, View, holding, overlap
from models.vision.object_events import Cause, ObjectEvent, tell, tell_end
from models.vision.rule_state import (
    MAX_PLACES,
    MAX_WATCHES,
    OPEN,
    SPENT,
    WAITING,
    Place,
    RuleState,
    Watch,
    walked,
)
from models.vision.rules_file import Count, Cross, Left, Loiter, Rule, RuleBook
from models.vision.schedule import armed, zone_of

ADOPT_OVERLAP = 0.3  # a new id where a followed one was just lost is the same object
SAME_POST = 0.5  # overlap of a still object with itself: its boxes wander little
REMEMBER_S = 600.0  # a parked car that the detector loses now and then alerts once in that time
BETTER = 1.25  # times the best picture so far: less is not worth a message
UPDATE_S = 1.0  # between messages on one event


class Turn:
    """One rule at one frame.

    Attributes:
        watches: what the rule follows after the frame.
        places: where still objects were lost.
        opened: clock of the rule's last `new`.
        events: what is to be told.
    """

    def __init__(
        self,
        *,
        book: RuleBook,
        rule: Rule,
        state: RuleState,
        view: View,
        time_ms: int,
    ) -> None:
        self.watches: list[Watch] = []
        self.places = [p for p in state.places.get(rule.name, ()) if p.until > view.clock]
        self.opened = state.opened.get(rule.name)
        self.events: list[ObjectEvent] = []
        self._book, self._rule = book, rule
        self._view, self._clock, self._time_ms = view, view.clock, time_ms
        zone = zone_of(rule.schedule.time_zone or book.time_zone)
        self._armed = armed(rule.schedule, zone, time_ms)
        self._seconds = rule.seconds if isinstance(rule, Loiter | Count | Left) else 0.0
        self._run(state.watches.get(rule.name, ()))

    def _run(self, before: tuple[Watch, ...]) -> None:
        followed = {watch.track: watch for watch in before}
        found = holding(self._book, self._rule, self._view, followed)
        # 1. A new id where a followed object was just lost is that object.
        lost = [w for w in before if w.track and w.track not in self._view.subjects]
        heirs = self._heirs(lost, {t: s for t, s in found.items() if t not in followed})
        # 2. What is followed goes on, or is over.
        for old in before:
            watch = msgspec.structs.replace(old, track=heirs.get(old.track, old.track))
            subject = found.pop(watch.track, None)
            if subject is not None:
                self.watches.append(self._again(watch, subject))
            elif self._clock - watch.held > self._rule.gone_s:
                self._over(watch)
            else:
                self.watches.append(self._limited(watch))
        # 3. What is new is followed. An id that still names an event cannot name a second one.
        named = {watch.tracker_id for watch in self.watches}
        for subject in found.values():
            if subject.track not in named and len(self.watches) < MAX_WATCHES:
                self.watches.append(self._again(self._begin(subject), subject))

    def _heirs(self, lost: list[Watch], new: dict[int, Subject]) -> dict[int, int]:
        """The new track that each lost one has become, as far as there is one."""
        heirs: dict[int, int] = {}
        for watch in lost:
            near = {
                track: overlap(watch.box, s.box)
                for track, s in new.items()
                if s.class_id == watch.class_id and track not in heirs.values()
            }
            best = max(near, key=lambda track: near[track], default=0)
            if best and near[best] >= ADOPT_OVERLAP:
                heirs[watch.track] = best
        return heirs

    def _begin(self, subject: Subject) -> Watch:
        """Follow an object; silently, if it is a still one that was lost and is found again."""
        trail = self._view.trails.get(subject.track)
        unmoved = trail is not None and trail.still == trail.born
        known = unmoved and any(
            p.class_id == subject.class_id and overlap(p.box, subject.box) >= SAME_POST
            for p in self.places
        )
        return Watch(
            tracker_id=subject.track,
            track=subject.track,
            class_id=subject.class_id,
            phase=SPENT if known else WAITING,
            began=self._clock,
            held=self._clock,
            opened=self._clock,
            told=self._clock,
            started_ms=self._time_ms,
            best=0.0,
            box=subject.box,
            home=subject.box,
            still=subject.still,
            side=subject.side,
            confidence=subject.confidence,
        )

    def _again(self, watch: Watch, subject: Subject) -> Watch:
        """The condition holds in this frame."""
        watch = msgspec.structs.replace(
            watch,
            held=self._clock,
            box=subject.box,
            class_id=subject.class_id,
            still=subject.still,
            confidence=subject.confidence,
            path=walked(watch.path, subject.box) if subject.track else b"",
        )
        if watch.phase == WAITING and isinstance(self._rule, Cross) and self._is_cooling():
            return msgspec.structs.replace(watch, phase=SPENT)  # afterwards it is elsewhere
        if watch.phase == WAITING and self._due(watch, subject):
            watch = msgspec.structs.replace(
                watch,
                phase=OPEN,
                opened=self._clock,
                told=self._clock,
                started_ms=self._time_ms,
                best=subject.quality,
                home=subject.box,
            )
            self.opened = self._clock
            self._tell(watch, subject, "new")
            return watch
        watch = self._limited(watch)
        better = subject.quality > BETTER * watch.best
        if watch.phase == OPEN and better and self._clock - watch.told >= UPDATE_S:
            watch = msgspec.structs.replace(watch, told=self._clock, best=subject.quality)
            self._tell(watch, subject, "update")
        return watch

    def _due(self, watch: Watch, subject: Subject) -> bool:
        """Whether what was waited for has come."""
        rule = self._rule
        return (
            self._armed
            and self._clock - max(watch.began, subject.since) >= self._seconds
            and subject.confidence >= rule.min_confidence
            and subject.height >= rule.min_height
            and not self._is_cooling()
        )

    def _is_cooling(self) -> bool:
        """Whether the last `new` of the rule is too recent for another one."""
        return self.opened is not None and self._clock - self.opened < self._rule.cooldown_s

    def _limited(self, watch: Watch) -> Watch:
        """End what is open for too long or is no longer armed."""
        if watch.phase != OPEN:
            return watch
        if self._clock - watch.opened >= self._rule.max_s:
            self._tell_end(watch, "too long")
            return msgspec.structs.replace(watch, phase=SPENT)
        if not self._armed:
            self._tell_end(watch, "off schedule")
            return msgspec.structs.replace(watch, phase=WAITING)
        return watch

    def _over(self, watch: Watch) -> None:
        """The condition has not held for long enough."""
        gone = watch.track != 0 and watch.track not in self._view.subjects
        if watch.phase == OPEN:
            self._tell_end(watch, "gone" if gone else "left")
        if watch.phase == WAITING:
            return
        # Forget the place where it was found before, and remember that where it was lost.
        self.places = [
            p
            for p in self.places
            if p.class_id != watch.class_id or overlap(p.box, watch.home) < SAME_POST
        ]
        if gone and watch.still:
            place = Place(watch.class_id, watch.box, self._clock + REMEMBER_S)
            self.places = [*self.places, place][-MAX_PLACES:]

    def _tell(self, watch: Watch, subject: Subject, status: Literal["new", "update"]) -> None:
        self.events.append(
            tell(
                self._book,
                self._rule,
                watch,
                status,
                class_name=self._book.class_name(watch.class_id),
                quality=subject.quality,
                number=subject.number,
                lasted_s=self._clock - max(watch.began, subject.since),
                time_ms=self._time_ms,
            )
        )

    def _tell_end(self, watch: Watch, cause: Cause) -> None:
        self.events.append(
            tell_end(
                self._book,
                self._rule.name,
                self._rule,
                watch,
                cause,
                class_name=self._book.class_name(watch.class_id),
                lasted_s=self._clock - watch.opened,
                time_ms=self._time_ms,
            )
        )
