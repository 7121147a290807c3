"""The view in a real Redis: repeats change nothing, pages are complete, and it stays bounded."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from streams.dashboard.view import changes as changes_module
from streams.dashboard.view import query, waiting
from streams.dashboard.view.changes import Changes
from streams.dashboard.view.query import Filters, page_of
from streams.dashboard.view.records import Verdict, ViewedAlert
from streams.dashboard.view.store import ACTIONS, ViewStore
from streams.dashboard.view.sweep import sweep
from streams.devstack import RedisServer
from streams.ending import end
from streams.errors import SettingsError, StoreError, StoreUnavailable
from streams.schemas import Action, Alert, ObjectLabel, TransactionLabel
from streams.settings import Settings
from tests.dashboard import a_fraud, an_object

DAY_MS = 86_400_000
Use = Callable[[ViewStore], Awaitable[Any]]
InView = Callable[[Use], Any]


@pytest.fixture
def settings(redis_server: RedisServer, namespace: str) -> Settings:
    return Settings.model_validate(
        {"redis": {"url": redis_server.url}, "dashboard": {"group": namespace, "max_alerts": 100}}
    )


@pytest.fixture
def in_view(settings: Settings) -> InView:
    """Runs a coroutine on a store of its own, as another dashboard would."""

    def run(use: Use) -> Any:
        async def on_store() -> Any:
            store = ViewStore(settings)
            try:
                return await use(store)
            finally:
                await store.close()

        return asyncio.run(on_store())

    return run


def label_on(alert: Alert, at: int, *, fraud: bool | None) -> TransactionLabel:
    d = alert.detail
    return TransactionLabel(
        str(d["tx_id"]), alert.entity, str(d["terminal_id"]), 1.0, 0, at, fraud, "analyst", "ann"
    )


async def one(store: ViewStore, alert_id: str) -> ViewedAlert:
    (found,) = await store.get([alert_id])
    assert found is not None
    return found


def test_an_empty_view_has_an_empty_page(in_view: InView) -> None:
    page = in_view(lambda store: page_of(store, Filters()))

    assert (page.alerts, page.cursor) == ([], None)
    assert in_view(lambda store: store.get([])) == []
    assert in_view(lambda store: store.put_alerts([])) == 0


def test_of_several_revisions_the_newest_stays_whatever_the_order(in_view: InView) -> None:
    revisions = [an_object(1, 0), an_object(1, 1, status="update"), an_object(1, 2, status="end")]

    async def use(store: ViewStore) -> None:
        shuffled = [*revisions, *revisions]
        random.Random(3).shuffle(shuffled)
        for alert in shuffled:
            await store.put_alerts([alert])
        found = await one(store, revisions[0].id)
        assert found.alert == revisions[2]
        assert not found.is_open
        assert await store.count("open") == 0
        assert await store.count("kind:object") == 1
        assert await store.count() == 1

    in_view(use)


def test_what_is_applied_again_is_no_news(in_view: InView) -> None:
    alert = a_fraud(1)

    async def use(store: ViewStore) -> None:
        assert await store.put_alerts([alert]) == 1
        place = await Changes(store).last()
        assert await store.put_alerts([alert]) == 0
        assert await Changes(store).last() == place

    in_view(use)


def test_the_later_verdict_wins_and_a_tie_goes_to_the_later_offset(in_view: InView) -> None:
    alert = a_fraud(1)

    async def use(store: ViewStore) -> None:
        await store.put_alerts([alert])
        assert (await one(store, alert.id)).decision == "undecided"
        late = label_on(alert, 20, fraud=True), 7
        for label in (late, (label_on(alert, 10, fraud=False), 8), late):
            await store.put_labels([label])
        assert (await one(store, alert.id)).decision == "confirmed"
        await store.put_labels([(label_on(alert, 20, fraud=None), 9)])
        assert (await one(store, alert.id)).decision == "undecided"
        # Shown before it was on the topic; then it comes from there.
        await store.put_verdicts({alert.id: Verdict(False, 30, "ann", source="analyst")})
        await store.put_labels([(label_on(alert, 30, fraud=False), 10)])
        assert (await one(store, alert.id)).decision == "dismissed"
        assert await store.count("decision:dismissed") == 1
        assert await store.count("decision:undecided") == 0

    in_view(use)


def test_a_verdict_that_comes_before_its_alert_waits_for_it_at_any_dashboard(
    in_view: InView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MOST", 3)
    alert = a_fraud(1)
    late, early = label_on(alert, 20, fraud=True), label_on(alert, 10, fraud=False)
    in_view(lambda store: store.put_labels([(late, 1), (early, 2)]))

    async def another(store: ViewStore) -> None:
        await store.put_labels([(early, 3)])
        await store.put_alerts([alert])
        assert (await one(store, alert.id)).decision == "confirmed"
        # What waits no longer takes no room, and what no alert comes for not for ever.
        assert await store._waiting.find([alert]) == ([], [])
        others = [a_fraud(number) for number in range(2, 9)]
        await store.put_labels([(label_on(one, 5, fraud=True), n) for n, one in enumerate(others)])
        left, _ = await store._waiting.find(others)
        assert len(left) == 3

    in_view(another)


def test_what_is_said_of_an_object_alert_that_has_not_come_waits_for_it_at_any_dashboard(
    in_view: InView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three topics one may be read before another."""
    monkeypatch.setattr(waiting, "MOST", 3)
    monkeypatch.setattr(waiting, "MOST_ACTIONS", 3)
    alert, near = an_object(1), an_object(11)
    name, camera = alert.id, alert.entity
    late = ObjectLabel(name, camera, "person", 20, False, "analyst", "ann")
    early = replace(late, labelled_at=10, is_true=True)
    note = Action(id="n", at=5, by="ann", action="note", alert_id=name, text="a\ncat")
    said = replace(note, id="v", at=6, action="verdict", outcome=False, text="")
    stranger = replace(note, id="o", alert_id=near.id)
    in_view(lambda store: store.put_labels([(late, 1), (early, 2)]))
    in_view(lambda store: store.put_actions([said, note, stranger]))

    async def another(store: ViewStore) -> None:
        await store.put_actions([note])
        await store.put_alerts([alert])
        found = await one(store, name)
        assert found.decision == "dismissed"
        assert found.actions == (note, said)
        assert await store._waiting.find([alert]) == ([], [])
        assert await store._waiting.find([near]) == ([], [stranger])
        numbers = range(20, 29)
        await store.put_labels([(replace(late, alert_id=an_object(n).id), n) for n in numbers])
        await store.put_actions([replace(note, alert_id=an_object(n).id) for n in numbers])
        labels, actions = await store._waiting.find([near, *map(an_object, numbers)])
        assert (len(labels), len(actions)) == (3, 3)

    in_view(another)


def test_a_position_without_what_was_before_it_is_noticed(in_view: InView) -> None:
    async def use(store: ViewStore) -> None:
        with pytest.raises(StoreError, match="read anew"):
            await store.advance("alerts:0", 0, 5)
        await store.begin({"alerts:0": 3})
        await store.begin({"alerts:0": 9})  # another one was there first
        await store.advance("alerts:0", 3, 8)
        await store.advance("alerts:0", 3, 5)
        assert await store.positions() == {"alerts:0": 8}
        with pytest.raises(StoreError, match="read anew"):
            await store.advance("alerts:0", 9, 12)

    in_view(use)


def test_an_entity_is_found_among_both_kinds_however_far_back(
    in_view: InView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "_CHUNK", 2)
    monkeypatch.setattr(query, "_MAX_CHUNKS", 2)
    same = [
        *(replace(a_fraud(n, card="yard"), processed_at=10 + 2 * n) for n in range(3)),
        *(replace(an_object(n, camera="yard"), processed_at=11 + 2 * n) for n in range(3)),
    ]
    newer = [replace(a_fraud(100 + n), processed_at=1_000 + n) for n in range(30)]

    async def use(store: ViewStore) -> None:
        await store.put_alerts([*same, *newer])
        found: list[tuple[int, str]] = []
        cursor = None
        for _ in range(9):
            page = await page_of(store, Filters(entity="yard"), limit=2, cursor=cursor)
            assert page.alerts  # no page of none, though newer alerts are many
            found += [(one.opened, one.alert.id) for one in page.alerts]
            if (cursor := page.cursor) is None:
                break
        assert found == sorted(((a.processed_at, a.id) for a in same), reverse=True)

    in_view(use)


def test_pages_hold_every_alert_once_in_order(in_view: InView) -> None:
    alerts = [replace(a_fraud(i), processed_at=1_000 + i // 3) for i in range(40)]

    async def use(store: ViewStore) -> None:
        await store.put_alerts(alerts)
        found: list[tuple[int, str]] = []
        cursor = None
        while True:
            page = await page_of(store, Filters(kind="fraud"), limit=7, cursor=cursor)
            found += [(one.opened, one.alert.id) for one in page.alerts]
            # What opens meanwhile does not disturb.
            await store.put_alerts([a_fraud(1000 + len(found))])
            if (cursor := page.cursor) is None:
                break
        assert found == sorted(((a.processed_at, a.id) for a in alerts), reverse=True)

    in_view(use)


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (Filters(), {"f1", "f2", "o1", "o2"}),
        (Filters(kind="object"), {"o1", "o2"}),
        (Filters(kind="fraud", entity="card-2"), {"f2"}),
        (Filters(entity="card-2"), {"f2"}),
        (Filters(open=True), {"o1"}),
        (Filters(open=False), {"f1", "f2", "o2"}),
        (Filters(decision="confirmed"), {"f1"}),
        (Filters(kind="object", decision="undecided"), {"o1", "o2"}),
        (Filters(severity="critical", kind="object"), set()),
        (Filters(since=2**52), set()),
        (Filters(until=1), set()),
    ],
)
def test_filters(filters: Filters, ids: set[str], in_view: InView) -> None:
    made = {
        "f1": a_fraud(1),
        "f2": a_fraud(2, card="card-2"),
        "o1": an_object(1),
        "o2": an_object(2, status="end"),
    }

    async def use(store: ViewStore) -> None:
        await store.put_alerts(list(made.values()))
        await store.put_labels([(label_on(made["f1"], 1, fraud=True), 0)])
        page = await page_of(store, filters)
        assert {one.alert.id for one in page.alerts} == {made[name].id for name in ids}

    in_view(use)


def test_a_cursor_of_somebody_else_is_refused(in_view: InView) -> None:
    for cursor in ("", "x", "AAAA", "W10", "WzEsMl0"):
        with pytest.raises(SettingsError, match="no cursor"):
            in_view(lambda store, cursor=cursor: page_of(store, Filters(), cursor=cursor))


def test_a_suppression_hides_what_opens_while_it_lasts(in_view: InView) -> None:
    now = round(time.time() * 1000)
    before = replace(an_object(1), processed_at=now - 10)
    within = replace(an_object(2), processed_at=now + 10)
    after_lift = replace(an_object(3), processed_at=now + 30)
    suppress = Action(
        id="s1", at=now, by="ann", action="suppress", kind="object", entity="yard", until=now + 99
    )
    lift = Action(id="l1", at=now + 20, by="ann", action="lift", of="s1", entity="yard")

    async def use(store: ViewStore) -> None:
        await store.put_alerts([before, within, after_lift])
        again = replace(lift, id="l2", at=now + 60)
        await store.put_actions([suppress, lift, suppress, again])
        shown = await page_of(store, Filters())
        assert {one.alert.id for one in shown.alerts} == {before.id, after_lift.id}
        everything = await page_of(store, Filters(suppressed=True))
        assert [one.suppressed for one in everything.alerts] == [False, True, False]
        (made,) = await store.suppressions()
        assert made.lifted_at == now + 20

    in_view(use)


def test_a_note_is_kept_once(in_view: InView) -> None:
    alert = a_fraud(1)
    note = Action(id="n", at=5, by="ann", action="note", alert_id=alert.id, text="called")

    async def use(store: ViewStore) -> None:
        await store.put_alerts([alert])
        await store.put_actions([note, note])
        assert (await one(store, alert.id)).actions == (note,)

    in_view(use)


def test_of_what_was_done_about_an_alert_the_newest_stays_whatever_the_order(
    in_view: InView,
) -> None:
    alert = a_fraud(1)
    done = [
        Action(id=f"n{at % 7}-{at}", at=at, by="bot", action="verdict", alert_id=alert.id)
        for at in (*range(90, ACTIONS + 200), 2**41)
    ]

    async def use(store: ViewStore) -> None:
        await store.put_alerts([alert])
        shuffled = [*done, *done]
        random.Random(3).shuffle(shuffled)
        await store.put_actions(shuffled)
        assert (await one(store, alert.id)).actions == tuple(done[-ACTIONS:])
        place = await Changes(store).last()
        await store.put_actions(done[:5])
        assert await Changes(store).last() == place  # nothing that was dropped is news

    in_view(use)


@pytest.mark.parametrize("name", ["a\nb", "a\\nb", "\n", "open\nkind:fraud"])
def test_a_name_of_several_lines_stands_in_its_index_and_leaves_it(
    name: str, in_view: InView
) -> None:
    alert = a_fraud(1, card=name)
    alert = replace(alert, detail={**alert.detail, "tx_id": f"tx {name}"})

    async def use(store: ViewStore) -> None:
        await store.put_alerts([alert, a_fraud(2)])
        await store.put_alerts([replace(alert, revision=1)])
        await store.put_labels([(label_on(alert, 9, fraud=True), 1)])
        page = await page_of(store, Filters(kind="fraud", entity=name))
        assert [one.decision for one in page.alerts] == ["confirmed"]
        await store.drop([alert.id])
        left = [key async for key in store.client.scan_iter(f"{store.index('')}*")]
        members = [await store.client.zrange(key, 0, -1) for key in left]
        assert {one for found in members for one in found} == {a_fraud(2).id.encode()}

    in_view(use)


def test_the_oldest_leave_first_and_what_is_open_outlasts_its_days(
    in_view: InView, settings: Settings
) -> None:
    now = round(time.time() * 1000)
    old = now - 15 * DAY_MS
    ended = replace(an_object(1, status="end"), processed_at=old)
    still_open = replace(an_object(2), processed_at=old)
    young = [replace(a_fraud(i), processed_at=now - i) for i in range(99)]

    async def use(store: ViewStore) -> None:
        await store.put_alerts([ended, still_open, *young])
        await sweep(store, settings.dashboard, now)
        assert await store.get([ended.id]) == [None]
        assert (await one(store, still_open.id)).is_open
        await store.put_alerts([a_fraud(5000 + i) for i in range(10)])
        await sweep(store, settings.dashboard, now)
        assert await store.count() == settings.dashboard.max_alerts == 100
        assert await store.get([still_open.id]) == [None]  # more than there is room for
        # No index holds what is gone.
        assert await store.count("kind:object") == await store.count("open") == 0
        assert await store.count("kind:fraud") == await store.count("decision:undecided") == 100

    in_view(use)


def test_an_old_end_closes_what_is_held_and_brings_nothing_else(
    in_view: InView, settings: Settings
) -> None:
    now = round(time.time() * 1000)
    old = now - 15 * DAY_MS
    opened = replace(an_object(1), processed_at=old)
    ended = replace(an_object(1, 1, status="end"), processed_at=old + 1)
    unknown = replace(an_object(2, 1, status="end"), processed_at=old)

    async def use(store: ViewStore) -> None:
        await store.put_ends([])
        await store.put_alerts([opened])
        await store.put_ends([unknown, ended])
        assert not (await one(store, opened.id)).is_open
        assert await store.count("open") == 0
        assert await store.get([unknown.id]) == [None]
        await sweep(store, settings.dashboard, now)
        assert await store.count() == 0

    in_view(use)


def test_who_looks_on_is_told_and_one_that_is_slow_is_told_to_load_anew(in_view: InView) -> None:
    async def use(store: ViewStore) -> None:
        changes = Changes(store)
        following = asyncio.create_task(changes.follow())
        await asyncio.sleep(0.1)
        with changes.subscribe() as quick, changes.subscribe() as slow:
            sent = [a_fraud(i) for i in range(2_100)]
            told: dict[str, str] = {}
            for start in range(0, len(sent), 300):
                await store.put_alerts(sent[start : start + 300])
                while await quick.wait(0.3):
                    told |= {change.viewed.alert.id: change.place for change in quick.take()}
            assert told.keys() == {alert.id for alert in sent}
            assert not quick.lost
            assert slow.lost
            assert len(slow.take()) < 2_000
        assert changes.watching == 0
        # And whoever was away goes on from any place.
        place = told[sent[99].id]
        missed = [
            change.viewed.alert.id async for batch in changes.since(place) for change in batch
        ]
        assert missed == [alert.id for alert in sent[100:]]
        assert await changes.reaches(place)
        assert await changes.reaches("1-0")  # nothing has left the stream yet
        await store.client.xtrim(store.changes_key, 10, approximate=False)
        assert not await changes.reaches("1-0")
        assert not await changes.reaches("nonsense")
        await end(following)

    in_view(use)


def test_a_redis_that_goes_away_between_reading_and_loading_hides_no_change(
    in_view: InView, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(store: ViewStore) -> None:
        changes, get, failing = Changes(store), store.get, [StoreUnavailable("gone")] * 2

        async def fail_first(ids: Sequence[str]) -> list[ViewedAlert | None]:
            if failing:
                raise failing.pop()
            return await get(ids)

        monkeypatch.setattr(store, "get", fail_first)
        monkeypatch.setattr(changes_module, "_RETRY_S", 0.01)
        following = asyncio.create_task(changes.follow())
        await asyncio.sleep(0.1)
        with changes.subscribe() as subscription:
            await store.put_alerts([a_fraud(1)])
            assert await subscription.wait(5)
            assert [change.viewed.alert.id for change in subscription.take()] == [a_fraud(1).id]
            assert failing == []
            # What begins it again after a crash goes on where it was.
            await end(following)
            await store.put_alerts([a_fraud(2)])
            following = asyncio.create_task(changes.follow())
            assert await subscription.wait(5)
            assert [change.viewed.alert.id for change in subscription.take()] == [a_fraud(2).id]
        await end(following)

    in_view(use)


def test_who_looks_on_is_told_to_load_anew_when_more_changed_than_is_kept(in_view: InView) -> None:
    async def use(store: ViewStore) -> None:
        changes = Changes(store)
        await store.put_alerts([a_fraud(0)])
        following = asyncio.create_task(changes.follow())
        await asyncio.sleep(0.1)
        await end(following)
        with changes.subscribe() as subscription:
            await store.put_alerts([a_fraud(number) for number in range(1, 20)])
            await store.client.xtrim(store.changes_key, 10, approximate=False)
            following = asyncio.create_task(changes.follow())
            assert await subscription.wait(5)
            assert subscription.lost
            assert subscription.take() == []
            # What comes afterwards is told as ever.
            subscription.lost = False
            await store.put_alerts([a_fraud(20)])
            assert await subscription.wait(5)
            assert [change.viewed.alert.id for change in subscription.take()] == [a_fraud(20).id]
            assert not subscription.lost
        await end(following)

    in_view(use)
