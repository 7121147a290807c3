"""`tocsin dashboard` on Apache Kafka and Redis, as programs and browsers meet it."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import hypothesis
import pytest
import redis
import schemathesis
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from streams.dashboard import letters
from streams.dashboard.access.users import hash_password, new_token
from streams.dead_letters.index import Wanted
from streams.schemas import Action, ObjectLabel, TransactionLabel, decode_action, decode_label
from tests.conftest import ROOT, Stack
from tests.dashboard import (
    DEADLINE_S,
    Dashboard,
    a_fraud,
    an_object,
    dashboard_bed,
    send_alerts,
    serving,
)
from tests.worker import Bed, Produced

PASSWORD = "correct horse battery"
TOKEN, TOKEN_HASH = new_token()
USERS = {
    "ann": {"role": "analyst", "password": hash_password(PASSWORD)},
    "vic": {"role": "viewer", "password": hash_password(PASSWORD)},
    "bot": {"role": "analyst", "token": TOKEN_HASH},
}


@pytest.fixture(scope="module")
def bed(real_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    name, folder = f"d{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("dashboard")
    made = dashboard_bed(real_stack.bootstrap, real_stack.redis_url, name, folder)
    yield made
    made.close()


@pytest.fixture(scope="module")
def dashboard(bed: Bed) -> Iterator[Dashboard]:
    """One to which nobody has to log in. Each test has cards and cameras of its own."""
    with serving(bed, log_level="DEBUG") as running:
        yield running


@pytest.fixture(scope="module")
def beside(bed: Bed) -> Iterator[Dashboard]:
    """Another one with the same view, and users."""
    with serving(bed, users=USERS) as running:
        yield running


@pytest.fixture
def guarded(beside: Dashboard) -> Iterator[Dashboard]:
    """The one with users, and nobody logged in."""
    yield beside
    beside.client.cookies.clear()
    beside.client.headers.pop("x-csrf-token", None)


def log_in(dashboard: Dashboard, user: str, password: str = PASSWORD) -> httpx.Response:
    body = {"user": user, "password": password}
    answer = dashboard.client.post("/api/session", json=body)
    if answer.status_code == 200:
        dashboard.client.headers["x-csrf-token"] = answer.json()["csrf"]
    return answer


def actions(bed: Bed) -> list[Action]:
    return [decode_action(record.value) for record in bed.read(bed.settings.topics.audit)]


def labelled(bed: Bed) -> list[Any]:
    return [decode_label(record.value) for record in bed.read(bed.settings.topics.labels)]


def test_alerts_are_decided_taken_back_and_noted(bed: Bed, dashboard: Dashboard) -> None:
    fraud, thing = a_fraud(1), an_object(2)
    send_alerts(bed, [fraud, thing, fraud])
    dashboard.until_alerts(1, "yard")
    dashboard.until_alerts(1, "card-1")

    said = {"alerts": [fraud.id, thing.id], "decision": "confirmed", "text": "called"}
    answer = dashboard.client.post("/api/verdicts", json=said)
    assert answer.json() == {"before": {fraud.id: "undecided", thing.id: "undecided"}}
    assert len(dashboard.alerts("card-1", decision="confirmed")) == 1  # at once
    again = {"alerts": [thing.id], "decision": "dismissed"}
    answer = dashboard.client.post("/api/verdicts", json=again)
    assert answer.json() == {"before": {thing.id: "confirmed"}}
    note = dashboard.client.post(f"/api/alerts/{fraud.id}/notes", json={"text": "a known shop"})
    assert note.status_code == 201

    (one,) = (label for label in labelled(bed) if isinstance(label, TransactionLabel))
    assert (one.tx_id, one.is_fraud, one.by, one.note) == ("tx-1", True, "local", "called")
    things = [label for label in labelled(bed) if isinstance(label, ObjectLabel)]
    assert [label.is_true for label in things] == [True, False]
    assert things[0].labelled_at < things[1].labelled_at
    about = [(one.action, one.by) for one in actions(bed) if one.alert_id == fraud.id]
    assert about == [("verdict", "local"), ("note", "local")]
    found = dashboard.alert(fraud.id)
    assert [action["text"] for action in found["actions"]] == ["called", "a known shop"]
    assert found["alert"]["reasons"][0]["text"] == "its terminal had 4 frauds in 7 days"


def test_all_alerts_are_decided_or_none(bed: Bed, dashboard: Dashboard) -> None:
    fraud = a_fraud(11, card="card-11")
    send_alerts(bed, [fraud])
    dashboard.until_alerts(1, "card-11")

    said = {"alerts": [fraud.id, "nobody"], "decision": "confirmed"}
    answer = dashboard.client.post("/api/verdicts", json=said)

    assert answer.status_code == 404
    assert "'nobody'" in answer.json()["detail"]
    assert not any(getattr(label, "tx_id", "") == "tx-11" for label in labelled(bed))
    assert dashboard.alert(fraud.id)["actions"] == []


def test_a_suppressed_entity_is_hidden_from_now_on(bed: Bed, dashboard: Dashboard) -> None:
    send_alerts(bed, [an_object(21, camera="tree")])
    dashboard.until_alerts(1, "tree")

    wanted = {"kind": "object", "entity": "tree", "minutes": 60, "reason": "wind"}
    made = dashboard.client.post("/api/suppressions", json=wanted)
    assert made.status_code == 201, made.text
    send_alerts(bed, [an_object(22, camera="tree")])
    dashboard.until_alerts(2, "tree", suppressed=True)
    assert [one["id"] for one in dashboard.alerts("tree")] == [an_object(21).id]

    lifted = dashboard.client.delete(f"/api/suppressions/{made.json()['id']}")
    assert lifted.status_code == 204
    (held,) = dashboard.client.get("/api/suppressions").json()
    assert (held["active"], held["reason"]) == (False, "wind")
    send_alerts(bed, [an_object(23, camera="tree")])
    dashboard.until_alerts(2, "tree")


def test_two_dashboards_agree_and_one_that_begins_with_nothing_comes_to_the_same(
    bed: Bed, dashboard: Dashboard, guarded: Dashboard
) -> None:
    cards = [f"agree-{number}" for number in range(40)]
    guarded.client.headers["authorization"] = f"Bearer {TOKEN}"
    send_alerts(bed, [a_fraud(100 + i, card=card) for i, card in enumerate(cards)])
    dashboard.until_alerts(1, "agree-39")
    wanted = {"kind": "fraud", "entity": "agree-9", "minutes": 60}
    assert guarded.client.post("/api/suppressions", json=wanted).status_code == 201
    said = {"alerts": [a_fraud(103).id], "decision": "dismissed", "text": "mine"}
    assert guarded.client.post("/api/verdicts", json=said).status_code == 200
    send_alerts(bed, [a_fraud(149, card="agree-9")])
    dashboard.until_alerts(2, "agree-9", suppressed=True)

    known = dashboard.alerts(suppressed=True)
    assert guarded.alerts(suppressed=True) == known
    with serving(bed, group=f"{bed.settings.dashboard.group}-anew") as anew:
        until_alike(anew, dashboard)
        assert len(anew.alerts("agree-9")) == 1
        assert anew.alerts("agree-3")[0]["decision"] == "dismissed"
        # A Redis that is emptied under it is noticed, though nothing new comes.
        with redis.Redis.from_url(bed.settings.redis.url) as client:
            client.unlink(*client.scan_iter(f"{bed.settings.dashboard.group}-anew:*"))
        assert anew.alerts(suppressed=True) == []
        until_alike(anew, dashboard)
    del guarded.client.headers["authorization"]


def unlike(one: Dashboard, other: Dashboard) -> dict[str, Any]:
    """Alerts that two dashboards show differently: as the one does, and as the other."""
    here, there = ({a["id"]: a for a in each.alerts(suppressed=True)} for each in (one, other))
    return {
        name: (here.get(name), there.get(name))
        for name in here.keys() | there.keys()
        if here.get(name) != there.get(name)
    }


def until_alike(one: Dashboard, other: Dashboard) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while (found := unlike(one, other)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found == {}, one.process.log[-5:]


def read_events(
    dashboard: Dashboard, count: int, last: str | None = None, *, about: str = ""
) -> list[dict[str, str]]:
    """The first `count` events of a stream; about this entity, if one is named."""
    headers = {} if last is None else {"last-event-id": last}
    found: list[dict[str, str]] = []
    event: dict[str, str] = {}
    with dashboard.client.stream("GET", "/api/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name:
                event[name] = value
            elif event:
                if about in event["data"]:
                    found.append(event)
                event = {}
                if len(found) == count:
                    return found
    raise AssertionError(found)


def test_live_alerts_go_on_after_a_restart_without_loss_or_repeat(bed: Bed) -> None:
    group = f"{bed.settings.dashboard.group}-restart"
    with serving(bed, group=group) as dashboard:
        send_alerts(bed, [a_fraud(201, card="live")])
        dashboard.until_alerts(1, "live")
        (hello,) = read_events(dashboard, 1)
        send_alerts(bed, [a_fraud(202, card="live"), a_fraud(203, card="live")])
        first = read_events(
            dashboard, 1, hello["id"], about="live"
        )  # one is taken, then the line breaks
        dashboard.until_alerts(3, "live")
    send_alerts(bed, [a_fraud(204, card="live")])
    with serving(bed, group=group) as dashboard:
        rest = read_events(dashboard, 2, first[0]["id"], about="live")
        told = [json.loads(one["data"])["id"] for one in [*first, *rest]]
        assert told == [a_fraud(i).id for i in (202, 203, 204)]
        (reload,) = read_events(dashboard, 1, "nonsense")
        assert reload["event"] == "reload"


def test_nobody_comes_in_unknown_and_a_viewer_changes_nothing(bed: Bed, guarded: Dashboard) -> None:
    client, alert = guarded.client, a_fraud(301, card="seen")
    assert client.get("/api/alerts").status_code == 401
    assert client.get("/", headers={"accept": "text/html"}).headers["location"] == "/login"
    assert log_in(guarded, "vic").status_code == 200
    send_alerts(bed, [alert])
    guarded.until_alerts(1, "seen")
    for path, body in {
        "/api/verdicts": {"alerts": [alert.id], "decision": "confirmed"},
        "/api/suppressions": {"kind": "fraud", "entity": "seen", "minutes": 5},
        f"/api/alerts/{alert.id}/notes": {"text": "x"},
        "/api/dead-letters/replay": {"letters": ["a:0:0"]},
    }.items():
        assert client.post(path, json=body).status_code == 403, path
    assert not any(getattr(label, "tx_id", "") == "tx-301" for label in labelled(bed))

    assert client.delete("/api/session").status_code == 204
    assert client.get("/api/alerts").status_code == 401
    bearer = {"authorization": f"Bearer {TOKEN}"}
    said = {"alerts": [alert.id], "decision": "confirmed"}
    assert client.post("/api/verdicts", json=said, headers=bearer).status_code == 200
    done = [(one.by, one.action) for one in actions(bed)]
    for one in (("vic", "login"), ("vic", "logout"), ("bot", "verdict")):
        assert one in done


def test_another_site_cannot_act_for_who_is_logged_in(guarded: Dashboard) -> None:
    assert log_in(guarded, "ann").status_code == 200
    client, said = guarded.client, {"kind": "object", "entity": "site", "minutes": 5}

    csrf = client.headers.pop("x-csrf-token")
    assert client.post("/api/suppressions", json=said).status_code == 403
    client.headers["x-csrf-token"] = csrf
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"x-csrf-token": "x" + csrf},
    ):
        assert client.post("/api/suppressions", json=said, headers=headers).status_code == 403
    assert client.get("/api/alerts", headers={"host": "evil.example"}).status_code == 421
    fine = client.post("/api/suppressions", json=said, headers={"origin": guarded.address})
    assert fine.status_code == 201
    assert next(iter(client.cookies.jar)).has_nonstandard_attr("HttpOnly")
    assert fine.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in fine.headers["content-security-policy"]


def test_a_password_cannot_be_guessed_for_long(bed: Bed, guarded: Dashboard) -> None:
    answers = [log_in(guarded, "ann", f"guess {i}").status_code for i in range(11)]
    assert answers == [401] * 10 + [429]
    assert log_in(guarded, "ann").status_code == 429  # the right one too, for a while
    assert log_in(guarded, "vic").status_code == 200
    assert sum(one.action == "login refused" for one in actions(bed)) == 10


def test_a_parameter_that_is_no_filter_is_refused(dashboard: Dashboard) -> None:
    answer = dashboard.client.get("/api/alerts", params={"entity": "103", "limit": 1})
    assert answer.status_code == 422
    (wrong,) = answer.json()["detail"]
    assert wrong["loc"] == ["query", "entity"]
    assert "POST /api/alerts/search" in wrong["msg"]
    assert "103" not in answer.text
    assert dashboard.client.get("/api/alerts", params={"camera": "yard"}).status_code == 200


def test_no_url_is_logged(bed: Bed, dashboard: Dashboard) -> None:
    secret = a_fraud(77777, card="card-secret")
    send_alerts(bed, [secret])
    dashboard.until_alerts(1, "card-secret")
    dashboard.client.get("/api/alerts", params={"camera": "card-secret"})
    dashboard.client.post("/api/alerts/card-secret/notes", json={"text": "x"})
    dashboard.alert(secret.id)
    for page in (f"/alerts/{secret.id}", "/?camera=card-secret", f"/alerts/{secret.id}/more"):
        assert dashboard.client.get(page).status_code == 200

    # Kafka's client tells of the records that it reads; of requests it knows nothing.
    log = [line for line in dashboard.process.log if "aiokafka" not in line]
    assert any("POST /alerts/{alert_id}/notes 404" in line for line in log)
    assert any("GET /alerts/{alert_id} 200" in line for line in log)
    for name in ("card-secret", "77777"):
        assert not any(name in line for line in log)


def test_where_nothing_is_people_get_a_page_programs_json_and_the_log_no_address(
    dashboard: Dashboard,
) -> None:
    page = dashboard.client.get("/no-secret/of-a-card")
    assert page.status_code == 404
    assert "There is no such page" in page.text
    answer = dashboard.client.get("/api/no-secret")
    assert (answer.status_code, answer.json()) == (
        404,
        {"detail": "there is nothing at this address"},
    )
    assert not [line for line in dashboard.process.log if "no-secret" in line]


def test_dead_letters_are_looked_into_and_sent_back_once(
    bed: Bed, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = bed.settings.topics
    dead = f"{topics.transactions}.dead"
    bed.create_topics(only=[topics.transactions, dead, f"{dead}.replayed"])
    headers = {
        "tocsin-reason": "amount 1e12 is above fraud.max_amount",
        "tocsin-step": "decode",
        "tocsin-topic": topics.transactions,
        "tocsin-partition": "0",
        "tocsin-offset": "5",
        "tocsin-timestamp": "1",
    }
    letter = Produced(b'{"tx_id": 1}', b"card-1", [(k, v.encode()) for k, v in headers.items()], 0)
    bed.produce(dead, [letter, letter])

    found = dashboard.client.get("/api/dead-letters", params={"limit": 1}).json()
    assert (found["total"], found["are_all"]) == (2, True)
    name = found["letters"][0]["name"]
    assert dashboard.client.get(f"/api/dead-letters/{name}").json() == found["letters"][0]
    tried = {"letters": [name], "dry_run": True}
    answer = dashboard.client.post("/api/dead-letters/replay", json=tried)
    assert answer.json() == {"fates": {"sent": 1}}
    assert bed.read(topics.transactions) == []
    for fate in ("sent", "replayed before"):
        answer = dashboard.client.post("/api/dead-letters/replay", json={"letters": [name]})
        assert answer.json() == {"fates": {fate: 1}}
    assert [record.value for record in bed.read(topics.transactions)] == [b'{"tx_id": 1}']
    assert [one.text for one in actions(bed) if one.action == "replay"] == [
        *(f"to send back: {name}", "done: 1 sent"),
        *(f"to send back: {name}", "done: 1 replayed before"),
    ]
    missing = dashboard.client.get(f"/api/dead-letters/{dead}:0:99")
    assert missing.status_code in {404, 409}
    # Of more than it reads for one answer it reads the newest.
    monkeypatch.setattr(letters, "NEWEST", 1)
    newest = asyncio.run(letters.newest_letters(bed.settings, Wanted((dead,)), 10))
    assert ([one.name for one in newest.newest], newest.are_all) == ([f"{dead}:0:1"], False)


def test_rules_are_changed_by_who_saw_them_and_may(bed: Bed, guarded: Dashboard) -> None:
    client, path = guarded.client, "/api/cameras/yard/rules"
    on_disk = bed.settings.vision.rules
    assert on_disk is not None
    assert log_in(guarded, "vic").status_code == 200
    found = client.get(path)
    seen, part = found.headers["etag"], found.json()
    assert part["rules"][0]["name"] == "person-passes"
    part["zones"]["door"] = [[0.1, 0.1], [0.5, 0.1], [0.5, 0.5]]
    rule = {"kind": "enter", "name": "door", "zone": "door", "classes": ["person"]}
    part["rules"].append(rule)
    assert client.put(path, json=part, headers={"if-match": seen}).status_code == 403
    guarded.client.cookies.clear()
    del client.headers["x-csrf-token"]

    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert client.put(path, json=part, headers=bearer).status_code == 428
    bearer["if-match"] = seen
    for broken, why in (
        ({**part, "rules": [{**rule, "zone": "attic"}]}, "names the zone 'attic'"),
        ({**part, "zones": {"door": [[0, 0], [2, 0], [0, 1]]}}, "<= 1"),
        ({**part, "rule": []}, "unknown field `rule`"),
    ):
        answer = client.put(path, json=broken, headers=bearer)
        assert answer.status_code == 400
        assert why in answer.json()["detail"]
    saved = client.put(path, json=part, headers=bearer)
    assert saved.status_code == 200, saved.text
    assert saved.headers["etag"] != seen
    assert client.get(path, headers=bearer).json() == saved.json() == part
    assert on_disk.read_bytes().startswith(b"# What raises an alert")  # comments stay
    stale = client.put(path, json=part, headers=bearer)
    assert stale.status_code == 412
    assert "nothing was saved" in stale.json()["detail"]
    (done,) = (one for one in actions(bed) if one.action == "rules")
    assert (done.by, done.entity) == ("bot", "yard")
    assert done.text.startswith("added zone door; added rule door (sha256")


def test_the_api_does_what_its_document_says(dashboard: Dashboard) -> None:
    document = schemathesis.openapi.from_url(f"{dashboard.address}/api/openapi.json")
    committed = ROOT / "docs" / "reference" / "openapi.json"
    assert document.raw_schema == json.loads(committed.read_text())
    does_as_it_says(document)


def test_the_api_does_so_too_where_one_has_to_log_in(guarded: Dashboard) -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    document = schemathesis.openapi.from_url(f"{guarded.address}/api/openapi.json", headers=bearer)
    does_as_it_says(document, examples=2, headers=bearer)
    for path, operations in document.raw_schema["paths"].items():
        for method, operation in operations.items():
            answer = guarded.client.request(method, path.replace("{", "").replace("}", ""))
            if "security" in operation:
                assert answer.status_code == 401, (method, path)


def does_as_it_says(
    document: Any, *, examples: int = 5, headers: dict[str, str] | None = None
) -> None:
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) >= 15

    for operation in operations:
        if operation.path == "/api/events":  # it has no end; it has tests of its own
            continue

        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            # Who is let in is looked at apart: here nobody has to log in, or everybody has.
            case.call_and_validate(
                excluded_checks=[positive_data_acceptance, ignored_auth], headers=headers
            )

        check()
