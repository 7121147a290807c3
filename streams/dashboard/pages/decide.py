"""Decisions as they are made on a page: one key or one click, and a way back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import cache
from typing import Final

from nicegui import events, ui

from streams.dashboard.access.users import Principal
from streams.dashboard.desk import Decided, Once
from streams.dashboard.pages.dialog import Dialog, buttons, dialog
from streams.dashboard.pages.frame import Visit
from streams.dashboard.pages.keys import draw_keys
from streams.dashboard.pages.words import DISMISSALS
from streams.dashboard.view.records import Suppression
from streams.schemas import Alert

Done = Callable[[Sequence[str]], Awaitable[None]]
"""Called with the alerts that were decided; with none after something was taken back."""

TWICE_S: Final = 0.4
"""What is asked for twice, closer together than this, by key or by click, is meant once.

The second would be about the next alert, unseen: its buttons stand where those before it stood.
"""

_DURATIONS: Final = {
    60: "1 hour",
    480: "8 hours",
    1440: "1 day",
    10_080: "7 days",
    43_200: "30 days",
}

_NUMBERED: Final = {str(number): reason for number, reason in enumerate(DISMISSALS, 1)}
"""Reasons to dismiss, by the key that chooses each."""


class Decider:
    """Decides what is chosen; `done` is called when it is sent.

    One at a time: a decision that is asked for while another is on its way is left out, which is
    said; one right after it, in silence, for what is asked for twice is meant once. An undo waits.
    """

    def __init__(
        self, visit: Visit, chosen: Callable[[], Awaitable[Sequence[str]]], done: Done
    ) -> None:
        self._visit, self._chosen, self._done = visit, chosen, done
        self.on_its_way: Sequence[str] = ()
        """What is decided just now, until `done` has been called."""

        self._last: Decided | Suppression | None = None
        self._asked: list[tuple[Dialog, ui.radio | None]] = []  # with the reason that it asks for
        self._one = asyncio.Lock()
        self._asked_for = ("", -TWICE_S)

    @property
    def is_sending(self) -> bool:
        """Whether a decision is on its way, or the next alert still to be chosen."""
        return self._one.locked()

    @property
    def is_asking(self) -> bool:
        """Whether a dialog is open: keys are then not about the alerts behind it."""
        return bool(self._asking())

    async def press(self, event: events.KeyEventArguments, shown: str | None) -> None:
        """Do what a key says: c and d to what is chosen, s and n to the alert that is shown.

        A number is the answer to the dialog that asks for a reason.
        """
        held = event.modifiers.ctrl or event.modifiers.meta or event.modifiers.alt
        if not event.action.keydown or event.action.repeat or held:
            return
        key = str(event.key)
        if asking := self._asking():
            _, reason = asking[-1]
            if reason is not None and key in _NUMBERED:
                reason.set_value(_NUMBERED[key])
            return
        if key == "c":
            await self.confirm()
        elif key == "d":
            await self.dismiss()
        elif key == "u":
            await self.undo()
        elif key == "?":
            self._help()
        elif key in {"s", "n"} and shown is not None:
            (viewed,) = await self._visit.trying(self._visit.services.store.get([shown])) or [None]
            if viewed is not None:
                await (self.suppress if key == "s" else self.note)(viewed.alert)

    async def confirm(self, shown: str | None = None) -> None:
        """Say that it was one: of the alert that is `shown`, or of what is chosen."""
        if self._may_begin():
            async with self._one:
                await self._decide([shown] if shown else await self._chosen(), True, "")

    async def dismiss(self, shown: str | None = None) -> None:
        """Ask why, and say that it was none; of which, as `confirm`."""
        if not self._may_begin():
            return
        async with self._one:
            ids = [shown] if shown else await self._chosen()
            if self._has_none(ids) or await self._visit.acting() is None:
                return
        with dialog(f"Dismiss {_count(ids)}") as opened:
            numbered = {reason: f"{number} {reason}" for number, reason in _NUMBERED.items()}
            reason = ui.radio(numbered, value=DISMISSALS[0]).props(
                'aria-label="Reason" data-autofocus'
            )
            self._ask(opened, reason)
            text = ui.input("In words (optional)").props("maxlength=1900 outlined dense")

            async def send() -> None:
                if not opened.value or self._is_busy():
                    return
                words = ": ".join(filter(None, (reason.value, text.value.strip())))
                async with self._one:
                    await self._answer(opened, self._decide(ids, False, words), reason)

            # On its way down: a radio button would keep it to itself.
            reason.on("keydown.enter.capture.prevent", send)
            text.on("keydown.enter", send)
            buttons(opened, "Dismiss", send)

    async def undo(self) -> None:
        """Say again what was said before the last decision, or lift the suppression made since.

        It can be tried again if that fails. Where somebody has decided since, that stands.
        """
        if self._is_twice("undo"):
            return
        async with self._one:
            if (last := self._last) is None:
                self._visit.say("Nothing to take back")
                return
            said = await self._visit.doing(lambda who: self._undo(last, who))
            if said is None:
                return
            self._last = None
            self._visit.say(said)
            await self._done([])

    async def suppress(self, alert: Alert) -> None:
        """Ask for how long, and hide what opens from now on of the alert's card or camera."""
        if await self._visit.acting() is None:
            return
        with dialog(f"Suppress {alert.entity}") as opened:
            self._ask(opened)
            ui.label("What opens from now on stays on the topic, and is hidden here.").classes(
                "hint"
            )
            minutes = ui.select(_DURATIONS, value=480, label="For").props("outlined dense")
            reason = ui.input("Why (optional)").props("maxlength=1900 outlined dense autofocus")

            once = self._once()

            async def suppressed() -> bool:
                lasts, why = minutes.value, reason.value.strip()
                made = await self._visit.doing(
                    lambda who: self._visit.services.desk.suppress(
                        alert.kind,
                        alert.entity,
                        lasts,
                        who,
                        reason=why,
                        alert_id=alert.id,
                        once=once((lasts, why)),
                    )
                )
                if made is None:
                    return False
                self._last = made
                until = self._visit.clock.moment(made.until)
                self._visit.say(f"{alert.entity} is suppressed until {until}", self.undo)
                return True

            async def send() -> None:
                if opened.value:
                    await self._answer(opened, suppressed())

            reason.on("keydown.enter", send)
            buttons(opened, "Suppress", send)

    async def note(self, alert: Alert) -> None:
        """Ask for a note."""
        if await self._visit.acting() is None:
            return
        with dialog("Note") as opened:
            self._ask(opened)
            text = ui.textarea("What did you find out?").props("maxlength=2000 outlined autofocus")

            once = self._once()

            async def kept(words: str) -> bool:
                noted = await self._visit.doing(
                    lambda who: self._visit.services.desk.note(alert.id, who, words, once(words))
                )
                if noted is None:
                    return False
                self._last = None  # a note stays, and what came before it is not what `u` means
                self._visit.say("Note kept")
                return True

            async def send() -> None:
                words = text.value.strip()
                if words and opened.value:
                    await self._answer(opened, kept(words))

            text.on("keydown.ctrl.enter", send)
            text.on("keydown.meta.enter", send)
            buttons(opened, "Keep", send)

    def _help(self) -> None:
        with dialog("Keys") as opened:
            self._ask(opened)
            draw_keys()
            with ui.row().classes("buttons"):
                ui.button("Close", on_click=opened.close).props("flat no-caps autofocus")

    async def _undo(self, last: Decided | Suppression, who: Principal) -> str:
        """Take it back, and say what was."""
        desk = self._visit.services.desk
        if isinstance(last, Suppression):
            left = await desk.lift(last.id, who)
            if left is None:
                return f"{last.entity} is no longer suppressed"
            until = self._visit.clock.moment(left.until)
            return f"{last.entity} stays suppressed until {until}, by {left.by}"
        taken = await desk.take_back(last, who)
        return _taken_back(len(taken), len(last.before) - len(taken))

    def _asking(self) -> list[tuple[Dialog, ui.radio | None]]:
        """Give the dialogs that are open, the uppermost last."""
        return [one for one in self._asked if one[0].value]

    def _ask(self, opened: Dialog, reason: ui.radio | None = None) -> None:
        """Let keys be about a dialog that has opened."""
        self._asked = [*self._asking(), (opened, reason)]

    async def _answer(
        self, opened: Dialog, sending: Awaitable[bool], reason: ui.radio | None = None
    ) -> None:
        """Send what a dialog was told; keys are about it again where that opens it again."""
        await opened.answer(sending)
        if opened.value:
            self._ask(opened, reason)

    def _once(self) -> Callable[[Hashable], Once]:
        """Give the same for the same words: a dialog may send them again, and they count once."""
        return cache(lambda _: self._visit.services.desk.once())

    def _may_begin(self) -> bool:
        """Whether a decision that is asked for now is meant, and none is on its way."""
        return not self._is_twice("decide") and not self._is_busy()

    def _is_twice(self, what: str) -> bool:
        """Whether this was asked for a moment ago."""
        (before, since), now = self._asked_for, time.monotonic()
        self._asked_for = what, now
        return what == before and now - since < TWICE_S

    def _is_busy(self) -> bool:
        """Whether a decision is on its way, which is said."""
        if self._one.locked():
            self._visit.say("The decision before is still on its way: try again then")
        return self._one.locked()

    def _has_none(self, ids: Sequence[str]) -> bool:
        """Whether nothing is chosen, which is said: a key that does nothing looks broken."""
        if not ids:
            self._visit.say("No alert chosen")
        return not ids

    async def _decide(self, ids: Sequence[str], outcome: bool, text: str) -> bool:
        """Say what alerts are; False where that failed, which is told."""
        if self._has_none(ids):
            return False
        desk = self._visit.services.desk
        self.on_its_way = ids
        try:
            decided = await self._visit.doing(lambda who: desk.judge(ids, outcome, who, text))
            if decided is None:
                return False
            self._last = decided
            word = "Confirmed" if outcome else "Dismissed"
            self._visit.say(f"{word} {_count(ids)}{_otherwise(decided, outcome)}", self.undo)
            await self._done(ids)
        finally:
            self.on_its_way = ()
        return True


def _taken_back(count: int, left: int) -> str:
    """Say how many decisions were taken back, and how many stand for somebody's later one."""
    said = f"Took back {_alerts(count)}" if count else "Nothing was taken back"
    if left:
        said += f": on {_alerts(left)} somebody has decided since, and that stands"
    return said


def _otherwise(decided: Decided, outcome: bool) -> str:
    """Say of how many another decision stood: somebody may have made it a moment ago."""
    count = sum(before is not None and before != outcome for before in decided.before.values())
    if not count:
        return ""
    which = "which" if len(decided.before) == 1 else f"of which {count}"
    return f", {which} {'was' if count == 1 else 'were'} decided otherwise before"


def _count(ids: Sequence[str]) -> str:
    return _alerts(len(ids))


def _alerts(count: int) -> str:
    return f"{count} alert{'s' * (count != 1)}"
