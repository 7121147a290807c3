"""What a person can do: decide, take back, suppress, note. Each leaves a record on `audit`.

A verdict goes to `labels`, where the agents learn from it, as `tocsin label` sends it. Records go
out first; then they are shown at once, and again when they come back from Kafka, which changes
nothing. Whoever calls has checked that the person may.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from streams.dashboard.access.users import Principal
from streams.dashboard.sender import Sender
from streams.dashboard.view.records import (
    LONGEST_SUPPRESSION_MS,
    OUTCOMES,
    Suppression,
    Verdict,
    ViewedAlert,
)
from streams.dashboard.view.store import ViewStore
from streams.errors import NotFound, SettingsError, StoreError
from streams.figures import DAY_MS
from streams.producers.verdicts import Statement, checked, label_of
from streams.schemas import Action, encode
from streams.settings import Settings
from streams.tracing import verdict_headers

if TYPE_CHECKING:  # an extra
    from streams.tracing.spans import Spans

log = logging.getLogger(__name__)

MOST: Final = 500
"""Alerts that are decided at once."""

LONGEST_TEXT: Final = 2_000
"""Characters of the text of a record on `audit`."""

Step = dict[str, bool | None]
"""What is decided on each alert."""


class Once(NamedTuple):
    """Makes what is sent again, because nobody knows whether it was taken, one and the same."""

    id: str
    at: int
    """Milliseconds."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What had been decided on each alert before, and what was said of it now."""

    before: Step
    said: Mapping[str, Verdict]


class Desk:
    """Does what people ask for."""

    def __init__(
        self,
        settings: Settings,
        store: ViewStore,
        sender: Sender,
        now: Callable[[], float] = time.time,
        spans: Spans | None = None,
    ) -> None:
        self._settings, self._store, self._sender = settings, store, sender
        self._clock, self._spans = now, spans

    def once(self) -> Once:
        """Give what makes a note or a suppression of now count once, however often it is sent."""
        return Once(uuid.uuid4().hex, self._now())

    async def judge(
        self, ids: Sequence[str], outcome: bool | None, who: Principal, text: str = ""
    ) -> Decided:
        """Say what alerts turned out to be: True confirmed, False dismissed, None withdrawn.

        Raises:
            NotFound: one is not in the view; nothing was sent.
            SettingsError: none, or too many, are named.
            TocsinError: one lacks what a label needs, or is too old; nothing was sent.
        """
        return await self.decide(dict.fromkeys(ids, outcome), who, text)

    async def decide(self, outcomes: Step, who: Principal, text: str = "") -> Decided:
        """Say it of each alert by itself, as `judge`."""
        if not 1 <= len(outcomes) <= MOST:
            raise SettingsError(f"name 1 to {MOST} alerts")
        return await self._say(await self._find(list(outcomes)), outcomes, who, text)

    async def take_back(self, decided: Decided, who: Principal) -> Step:
        """Say again what had been decided before, where nobody has said anything since.

        Returns what was said again; the others stand.

        Raises:
            TocsinError: as `judge`; nothing was sent.
        """
        found = [
            viewed
            for viewed in await self._find(list(decided.before))
            if not _is_later(viewed.verdict, decided.said[viewed.alert.id])
        ]
        again = {viewed.alert.id: decided.before[viewed.alert.id] for viewed in found}
        if found:
            await self._say(found, again, who, "undone")
        return again

    async def _say(
        self, found: Sequence[ViewedAlert], outcomes: Step, who: Principal, text: str
    ) -> Decided:
        is_replayed, now = self._settings.dashboard.clock == "event", self._now()
        base = await self._store.newest_event() if is_replayed else now
        horizon_days = self._settings.labels.horizon_days
        labels, verdicts, actions = [], dict[str, Verdict](), list[Action]()
        for viewed in found:
            alert, before, outcome = viewed.alert, viewed.verdict, outcomes[viewed.alert.id]
            # A calendar that is replayed, or simulated, goes on by weeks while somebody reads.
            latest = alert.event_time + (horizon_days - 1) * DAY_MS if is_replayed else base
            at = max(min(base, latest), alert.event_time, 0 if before is None else before.at + 1)
            labels.append(label_of(alert, outcome, Statement(at, who.name, text)))
            verdicts[alert.id] = Verdict(outcome, at, who.name, text, "analyst")
            actions.append(self._about(viewed, who, "verdict", outcome=outcome, text=text))
        records = checked(labels, horizon_days)
        # On record first: no verdict may go out of which nobody knows whose it is.
        await self._send(actions)
        topic = self._settings.topics.labels
        traces = verdict_headers([one.alert.traceparent for one in found], topic, self._spans)
        await self._sender.send(topic, records, traces)
        await _shown(self._store.put_actions(actions), self._store.put_verdicts(verdicts))
        were = {one.alert.id: None if one.verdict is None else one.verdict.outcome for one in found}
        return Decided(were, verdicts)

    async def note(
        self, alert_id: str, who: Principal, text: str, once: Once | None = None
    ) -> Action:
        """Write something down about an alert.

        Raises:
            NotFound: it is not in the view.
        """
        (viewed,) = await self._find([alert_id])
        action = self._about(viewed, who, "note", once=once, text=text)
        await self._record(action)
        return action

    async def suppress(
        self,
        kind: Literal["fraud", "object"],
        entity: str,
        minutes: float,
        who: Principal,
        *,
        reason: str = "",
        alert_id: str = "",
        once: Once | None = None,
    ) -> Suppression:
        """Hide alerts of an entity that open from now on, for so many minutes.

        They stay on the topic, and in the view, marked.

        Raises:
            SettingsError: `minutes` is out of range.
        """
        once, lasts = once or self.once(), minutes * 60_000
        if not 60_000 <= lasts <= LONGEST_SUPPRESSION_MS:
            raise SettingsError("suppress for 1 minute to 366 days")
        until = once.at + round(lasts)
        action = self._action(
            who,
            "suppress",
            once=once,
            kind=kind,
            entity=entity,
            until=until,
            text=reason,
            alert_id=alert_id,
        )
        await self._record(action)
        return Suppression(action.id, kind, entity, once.at, until, by=who.name, reason=reason)

    async def lift(self, suppression_id: str, who: Principal) -> Suppression | None:
        """End a suppression now.

        Returns that which hides the entity for longest now, if there is one: others may have made
        some too.

        Raises:
            NotFound: there is none of that id.
        """
        held = {one.id: one for one in await self._store.suppressions()}
        found = held.pop(suppression_id, None)
        if found is None:
            raise NotFound(f"no suppression {suppression_id!r}")
        await self._record(
            self._action(who, "lift", kind=found.kind, entity=found.entity, of=found.id)
        )
        now = self._now()
        left = (one for one in held.values() if one.covers(found.kind, found.entity, now))
        return next(left, None)

    async def record(
        self,
        who: str,
        action: Literal["replay", "rules", "login", "login refused", "logout"],
        text: str = "",
        *,
        camera: str = "",
    ) -> None:
        """Write down what else somebody did; about a camera, if one is named.

        Raises:
            BrokerError: the broker does not take it.
        """
        made = Action(
            id=uuid.uuid4().hex,
            at=self._now(),
            by=who[:128],
            action=action,
            kind="object" if camera else "",
            entity=camera,
            text=text[:LONGEST_TEXT],
        )
        await self._record(made)

    async def _find(self, ids: list[str]) -> list[ViewedAlert]:
        found = []
        for alert_id, viewed in zip(ids, await self._store.get(ids), strict=True):
            if viewed is None:
                raise NotFound(f"no alert {alert_id!r} in the view: nothing was sent")
            found.append(viewed)
        return found

    async def _record(self, action: Action) -> None:
        await self._send([action])
        await _shown(self._store.put_actions([action]))

    async def _send(self, actions: list[Action]) -> None:
        records = [((one.entity or one.by or "-").encode(), encode(one)) for one in actions]
        await self._sender.send(self._settings.topics.audit, records)

    def _about(self, viewed: ViewedAlert, who: Principal, action: Any, **rest: Any) -> Action:
        alert = viewed.alert
        return self._action(
            who, action, alert_id=alert.id, kind=alert.kind, entity=alert.entity, **rest
        )

    def _action(
        self, who: Principal, action: Any, *, once: Once | None = None, **rest: Any
    ) -> Action:
        name, at = once or self.once()
        return Action(id=name, at=at, by=who.name, action=action, **rest)

    def _now(self) -> int:
        return round(self._clock() * 1000)


def _is_later(verdict: Verdict | None, ours: Verdict) -> bool:
    """Whether somebody said something after us; what we said may not be shown yet."""
    if verdict is None or verdict.at < ours.at:
        return False
    return (verdict.at, verdict.by) != (ours.at, ours.by)


async def _shown(*showing: Awaitable[None]) -> None:
    """Show at once what went out; it is done, and shown when it comes back, where that fails."""
    for done in await asyncio.gather(*showing, return_exceptions=True):
        if isinstance(done, StoreError):
            log.warning("what was done is shown later: %s", done)
        elif isinstance(done, BaseException):
            raise done


DECISIONS: Final = {decision: outcome for outcome, decision in OUTCOMES.items()}
"""The outcome of each decision."""
