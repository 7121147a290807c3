"""A decision is made once, and can be taken back until that has gone out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from streams.dashboard.access.users import LOCAL, Principal
from streams.dashboard.desk import Decided, Desk, Once, Step
from streams.dashboard.pages import decide, frame
from streams.dashboard.pages.decide import Decider
from streams.dashboard.view.records import Suppression, ViewedAlert
from streams.errors import BrokerError, StoreError, TocsinError
from streams.schemas import decode_action, decode_label
from streams.settings import Settings
from tests.dashboard import a_fraud
from tests.fakes.view import Memory, Sender

WHO = Principal(LOCAL, "analyst")


class Visit:
    """Who looks, before a desk that takes its time, and fails while it is told to."""

    def __init__(self) -> None:
        self.decided: list[Step] = []
        self.said: list[str] = []
        self.fails = False
        self.services = SimpleNamespace(desk=self)
        self.clock = SimpleNamespace(moment=str)

    async def acting(self) -> Principal:
        return WHO

    async def doing(self, work: Callable[[Principal], Awaitable[Any]]) -> Any:
        try:
            return await work(WHO)
        except TocsinError as error:
            self.said.append(str(error))

    def say(self, text: str, undo: Callable[[], Awaitable[None]] | None = None) -> None:
        self.said.append(text)

    def once(self) -> Once:
        return Once("1", 0)

    async def suppress(self, *_: Any, **__: Any) -> Suppression:
        await self._say({"suppressed": None})
        return Suppression("1", "fraud", "card-1", 0, 1, "me", "")

    async def note(self, *_: Any) -> str:
        await self._say({"noted": None})
        return "noted"

    async def judge(self, ids: Sequence[str], outcome: bool | None, *_: Any) -> Decided:
        await self._say(dict.fromkeys(ids, outcome))
        return Decided(dict.fromkeys(ids), {})

    async def take_back(self, decided: Decided, *_: Any) -> Step:
        await self._say(decided.before)
        return decided.before

    async def _say(self, outcomes: Step) -> None:
        await asyncio.sleep(0.01)
        if self.fails:
            raise BrokerError("no broker")
        self.decided.append(outcomes)


def decider(visit: Visit) -> tuple[Any, list[list[str]]]:
    done: list[list[str]] = []

    async def chosen() -> list[str]:
        await asyncio.sleep(0.01)
        return ["a"]

    async def note(ids: Sequence[str]) -> None:
        done.append(list(ids))

    made: Any = visit
    return Decider(made, chosen, note), done


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test ask for one thing right after another, as no person does."""
    monkeypatch.setattr(decide, "TWICE_S", 0.0)


def test_what_is_asked_for_twice_is_meant_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "TWICE_S", 0.2)
    visit = Visit()
    one, done = decider(visit)

    async def use() -> None:
        await asyncio.gather(one.confirm(), one.confirm(), one.undo(), one.undo())
        await asyncio.sleep(0.25)
        await one.confirm()

    asyncio.run(use())
    # An undo waits for what it takes back.
    assert visit.decided == [{"a": True}, {"a": None}, {"a": True}]
    assert visit.said == ["Confirmed 1 alert", "Took back 1 alert", "Confirmed 1 alert"]
    assert done == [["a"], [], ["a"]]


def test_a_double_click_does_not_decide_the_next_alert_whose_button_took_the_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decide, "TWICE_S", 0.2)
    visit = Visit()
    one, _ = decider(visit)

    async def use() -> None:
        await one.confirm("a")
        await one.confirm("b")
        await one.dismiss("b")
        await asyncio.sleep(0.25)
        await one.confirm("b")

    asyncio.run(use())
    assert visit.decided == [{"a": True}, {"b": True}]
    assert visit.said == ["Confirmed 1 alert"] * 2


def test_what_is_asked_for_while_a_decision_is_on_its_way_is_left_out_and_said() -> None:
    visit = Visit()
    one, _ = decider(visit)

    async def use() -> None:
        await asyncio.gather(one.confirm("a"), one.confirm("b"), one.dismiss("b"))

    asyncio.run(use())
    assert visit.decided == [{"a": True}]
    busy = "The decision before is still on its way: try again then"
    assert visit.said == [busy, busy, "Confirmed 1 alert"]


def test_what_is_decided_just_now_is_said_until_the_next_one_is_chosen() -> None:
    visit = Visit()
    one, _ = decider(visit)
    seen: list[Sequence[str]] = []

    async def done(ids: Sequence[str]) -> None:
        seen.append(one.on_its_way)

    one._done = done

    async def use() -> None:
        deciding = asyncio.ensure_future(one.confirm())
        await asyncio.sleep(0.015)
        seen.append(one.on_its_way)
        await deciding
        assert one.on_its_way == ()
        visit.fails = True
        await one.confirm()

    asyncio.run(use())
    assert seen == [["a"], ["a"]]
    assert one.on_its_way == ()


def test_a_key_right_after_a_decision_is_left_out_and_a_later_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decide, "TWICE_S", 0.2)
    visit = Visit()
    one, _ = decider(visit)

    async def use() -> None:
        await one.press(key("c"), None)
        await one.press(key("c"), None)
        await asyncio.sleep(0.25)
        await one.press(key("c", held=True), None)
        await one.press(key("c"), None)

    asyncio.run(use())
    assert visit.decided == [{"a": True}] * 2


def test_an_undo_that_fails_can_be_tried_again() -> None:
    visit = Visit()
    one, done = decider(visit)

    async def use() -> None:
        await one.confirm()
        visit.fails = True
        await one.undo()
        visit.fails = False
        await one.undo()
        await one.undo()  # there is nothing left to take back

    asyncio.run(use())
    assert visit.decided == [{"a": True}, {"a": None}]
    assert visit.said == [
        *("Confirmed 1 alert", "no broker", "Took back 1 alert"),
        "Nothing to take back",
    ]
    assert done == [["a"], []]


def key(name: str, *, held: bool = False) -> Any:
    modifiers = SimpleNamespace(ctrl=False, meta=False, alt=False)
    action = SimpleNamespace(keydown=True, repeat=held)
    return SimpleNamespace(key=name, modifiers=modifiers, action=action)


class Store:
    """A view that holds one alert, in a Redis that takes nothing."""

    def __init__(self, viewed: ViewedAlert) -> None:
        self.viewed = viewed

    async def get(self, ids: Sequence[str]) -> list[ViewedAlert]:
        return [self.viewed]

    async def put_actions(self, actions: object) -> None:
        raise StoreError("Redis does not answer")

    put_verdicts = put_actions


def test_what_went_out_is_decided_though_it_cannot_be_shown_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    alert = a_fraud(1)
    store: Any = Store(ViewedAlert(alert, 1, None, (), suppressed=False))
    sender: Any = Sender()
    desk = Desk(Settings(), store, sender)

    async def use() -> None:
        assert (await desk.judge([alert.id], True, WHO)).before == {alert.id: None}
        await desk.note(alert.id, WHO, "called")

    asyncio.run(use())
    (label,) = map(decode_label, sender.sent["labels"])
    assert label.is_fraud
    assert [decode_action(one).action for one in sender.sent["audit"]] == ["verdict", "note"]
    assert "shown later: Redis does not answer" in caplog.text


def test_an_undo_leaves_what_somebody_has_decided_since() -> None:
    alerts = [a_fraud(number) for number in range(3)]
    store, sender = Memory(alerts), Sender()
    view: Any = store
    outlet: Any = sender
    desk = Desk(Settings(), view, outlet)
    ours, theirs, not_shown = (alert.id for alert in alerts)

    async def use() -> Step:
        decided = await desk.judge([ours, theirs, not_shown], True, WHO)
        await desk.judge([theirs], False, Principal("bob", "analyst"))
        store.viewed[not_shown] = replace(store.viewed[not_shown], verdict=None)
        return await desk.take_back(decided, WHO)

    assert asyncio.run(use()) == {ours: None, not_shown: None}
    outcomes = [(viewed.verdict and viewed.verdict.outcome) for viewed in store.viewed.values()]
    assert outcomes == [None, False, None]
    assert len(sender.sent["labels"]) == 6


def test_an_undo_that_takes_nothing_back_says_so_and_sends_nothing() -> None:
    alert = a_fraud(1)
    store, sender = Memory([alert]), Sender()
    view: Any = store
    outlet: Any = sender
    desk = Desk(Settings(), view, outlet)
    visit = Visit()
    one, _ = decider(visit)

    async def use() -> None:
        decided = await desk.judge([alert.id], True, WHO)
        await desk.judge([alert.id], False, Principal("bob", "analyst"))
        one._last = decided
        visit.services.desk = desk
        await one.undo()

    asyncio.run(use())
    assert visit.said == [
        "Nothing was taken back: on 1 alert somebody has decided since, and that stands"
    ]
    assert len(sender.sent["labels"]) == 2


def test_a_decision_says_where_a_colleague_decided_otherwise_meanwhile() -> None:
    alerts = [a_fraud(number) for number in range(3)]
    view: Any = Memory(alerts)
    outlet: Any = Sender()
    desk = Desk(Settings(), view, outlet)
    visit = Visit()
    visit.services.desk = desk
    one, _ = decider(visit)
    first, second, third = (alert.id for alert in alerts)

    async def chosen() -> list[str]:
        return [first, second, third]

    async def use() -> None:
        await desk.judge([first, second], False, Principal("bob", "analyst"))
        await one.confirm(first)
        one._chosen = chosen
        await one.confirm()
        await desk.judge([first, second], False, Principal("bob", "analyst"))
        await one.confirm()
        await one.confirm()

    asyncio.run(use())
    assert visit.said == [
        "Confirmed 1 alert, which was decided otherwise before",
        "Confirmed 3 alerts, of which 1 was decided otherwise before",
        "Confirmed 3 alerts, of which 2 were decided otherwise before",
        "Confirmed 3 alerts",
    ]


def test_a_decision_on_nothing_says_that_nothing_is_chosen() -> None:
    visit = Visit()
    one, done = decider(visit)

    async def none() -> list[str]:
        return []

    one._chosen = none

    async def use() -> None:
        await one.confirm()
        await one.dismiss()

    asyncio.run(use())
    assert visit.said == ["No alert chosen"] * 2
    assert visit.decided == []
    assert done == []


class Widget:
    """Any part of a dialog; `value` is what was written in it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def props(self, _: str) -> Widget:
        return self

    classes = props

    set_value = __init__

    def on(self, *_: Any) -> None: ...

    def open(self) -> None:
        self.value = True

    def close(self) -> None:
        self.value = False

    async def answer(self, sending: Awaitable[bool]) -> None:
        self.close()
        self.value = not await sending


@pytest.mark.parametrize("what", ["dismiss", "suppress", "note"])
def test_a_dialog_whose_answer_could_not_be_sent_opens_again_with_the_words_in_it(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, sends = Widget(True), list[Callable[[], Awaitable[None]]]()
    monkeypatch.setattr(decide, "dialog", lambda title: nullcontext(asked))
    monkeypatch.setattr(decide, "buttons", lambda opened, word, send: sends.append(send))
    for name in ("radio", "input", "textarea", "select", "label"):
        monkeypatch.setattr(decide.ui, name, lambda *_, **__: Widget("Known customer"))
    visit = Visit()
    visit.fails = True
    one, _ = decider(visit)

    async def use() -> None:
        await getattr(one, what)(*([] if what == "dismiss" else [a_fraud(1)]))
        (send,) = sends
        await send()
        assert visit.said == ["no broker"]
        assert asked.value, "what was written is gone"
        visit.fails = False
        await send()
        assert not asked.value

    asyncio.run(use())
    assert len(visit.decided) == 1


def test_keys_are_about_a_dialog_that_opens_again_though_another_was_open_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, reason = Widget(True), Widget("Known customer")
    keys, sends = Widget(True), list[Callable[[], Awaitable[None]]]()
    dialogs = iter([asked, keys])
    monkeypatch.setattr(decide, "dialog", lambda title: nullcontext(next(dialogs)))
    monkeypatch.setattr(decide, "buttons", lambda opened, word, send: sends.append(send))
    monkeypatch.setattr(decide, "draw_keys", lambda: None)
    monkeypatch.setattr(decide.ui, "radio", lambda *_, **__: reason)
    monkeypatch.setattr(decide.ui, "input", lambda *_: Widget(""))
    monkeypatch.setattr(decide.ui, "row", lambda: SimpleNamespace(classes=nullcontext))
    monkeypatch.setattr(decide.ui, "button", lambda *_, **__: Widget(None))
    visit = Visit()
    visit.fails = True
    one, _ = decider(visit)

    async def use() -> None:
        await one.press(key("d"), None)
        (send,) = sends
        sending = asyncio.ensure_future(send())
        await asyncio.sleep(0)
        await one.press(key("?"), None)
        keys.close()
        await sending
        assert one.is_asking
        await one.press(key("2"), None)
        await one.press(key("c"), None)

    asyncio.run(use())
    assert reason.value == list(decide.DISMISSALS)[1]
    assert visit.said == ["no broker"], "it decided what is behind the dialog"


class Unsure(Sender):
    """Takes what is sent, and tells nobody."""

    async def send(self, *sent: Any) -> None:
        await super().send(*sent)
        raise BrokerError("did not confirm this")


@pytest.mark.parametrize("what", ["suppress", "note"])
def test_what_a_dialog_sends_again_counts_once_and_other_words_are_another(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, words, sends = Widget(True), Widget("called"), list[Callable[[], Awaitable[None]]]()
    monkeypatch.setattr(decide, "dialog", lambda title: nullcontext(asked))
    monkeypatch.setattr(decide, "buttons", lambda opened, word, send: sends.append(send))
    for name, widget in {"input": words, "textarea": words, "select": Widget(480)}.items():
        monkeypatch.setattr(decide.ui, name, lambda *_, widget=widget, **__: widget)
    monkeypatch.setattr(decide.ui, "label", lambda *_: Widget(None))
    alert, sender, ticks = a_fraud(1), Unsure(), count()
    view: Any = Memory([alert])
    outlet: Any = sender
    visit = Visit()
    visit.services.desk = Desk(Settings(), view, outlet, lambda: next(ticks))
    one, _ = decider(visit)

    async def use() -> None:
        await getattr(one, what)(alert)
        (send,) = sends
        await send()
        await send()
        words.value = "called twice"
        await send()

    asyncio.run(use())
    first, again, other = map(decode_action, sender.sent["audit"])
    assert first == again
    assert other.id != first.id


def test_a_suppression_that_is_lifted_says_whose_other_one_still_hides() -> None:
    view: Any = Memory([])
    outlet: Any = Sender()
    visit = Visit()
    visit.services.desk = Desk(Settings(), view, outlet, lambda: 1.0)
    one, _ = decider(visit)
    mine = Suppression("1", "fraud", "card-1", 0, 5_000, "me")
    elsewhere = Suppression("3", "fraud", "card-2", 0, 9_000, "bob")
    over = Suppression("4", "fraud", "card-1", 0, 500, "bob")
    bobs = Suppression("2", "fraud", "card-1", 0, 8_000, "bob")

    async def use() -> None:
        for others in ([bobs], [bobs.lifted(700)], []):
            view.suppressed = [elsewhere, *others, mine, over]
            one._last = mine
            await one.undo()

    asyncio.run(use())
    assert visit.said == [
        "card-1 stays suppressed until 8000, by bob",
        *["card-1 is no longer suppressed"] * 2,
    ]


def test_a_visit_that_cannot_be_looked_up_says_that_nothing_was_done() -> None:
    said: list[str] = []

    class Sessions:
        async def find(self, cookie: str) -> None:
            raise StoreError("Redis does not answer")

    services: Any = SimpleNamespace(sessions=Sessions())
    visit = SimpleNamespace(services=services, cookie="c", principal=WHO, say=said.append)
    made: Any = visit
    assert asyncio.run(frame.Visit.acting(made)) is None
    assert said == ["Nothing was done: Redis does not answer"]
