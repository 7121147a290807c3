"""The whole path with real workers: transactions and verdicts in, alerts and dead letters out."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from typer.testing import CliRunner

from streams.alerts.envelope import CLOUD_EVENT_HEADERS
from streams.cli.main import app
from streams.schemas import Alert, decode_alert, decode_transaction
from streams.settings import TracingSettings
from tests.conftest import Stack
from tests.fakes.collector import Collector
from tests.fakes.model import random_model
from tests.fakes.records import now_ms, payment, verdict
from tests.worker import Bed, Produced, WorkerProcess, bed_on, environment_of, headers_of

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CARDS = 40
DAY_MS = 86_400_000


TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACED = [("traceparent", f"00-{TRACE}-{PARENT}-01".encode())]
BAD = [
    Produced(b'{"broken', b"c1", [("trace", b"\x00\x01")]),
    Produced(None, b"c2"),
    Produced(payment(currency="XAU"), b"c3", [("tocsin-reason", b"an old one")]),
]


def good(count: int, start: int = 0) -> list[Produced]:
    return [
        Produced(payment(tx_id=f"t{i}", card_id=f"c{i % CARDS}"), b"c%d" % (i % CARDS))
        for i in range(start, start + count)
    ]


def traced_by(collector: Collector, bed: Bed) -> Bed:
    """The same bed, whose workers tell `collector`."""
    tracing = TracingSettings(endpoint=collector.endpoint)
    return replace(bed, settings=bed.settings.model_copy(update={"tracing": tracing}))


def caught_up(bed: Bed, worker: WorkerProcess) -> None:
    """Wait until everything on the transactions topic is committed."""
    fraud = bed.settings.fraud
    topic = bed.settings.topics.transactions
    worker.until(lambda: bed.lag(fraud.group, topic) == 0, "commit of everything")


def alerts_of(bed: Bed) -> list[Alert]:
    return [decode_alert(record.value) for record in bed.read(bed.settings.topics.alerts)]


def rows_in(redis: Redis, group: str) -> dict[bytes, bytes]:
    keys = [
        key
        for key in redis.scan_iter(f"{group}:*", count=1000)
        if not any(word in key for word in (b":owner:", b":marker:", b":identity"))
    ]
    return dict(zip(keys, redis.mget(keys), strict=True))


@pytest.fixture
def bed(stack: Stack, namespace: str, tmp_path: Path) -> Iterator[Bed]:
    """Topics made, and a network that raises an alert on everything."""
    bed = bed_on(*stack, namespace, tmp_path, model=random_model(tmp_path), threshold=0.0)
    bed.create_topics()
    yield bed
    bed.close()


# -- one run, looked at from all sides ------------------------------------------------------------
@dataclass(frozen=True)
class Run:
    """What two workers left behind.

    The first took 201 good and 3 bad records; then Redis lost their state; the second rebuilt it
    and took one more.
    """

    bed: Bed
    good: dict[bytes, Any]
    """The good records as they lie on the topic, by value."""

    metrics: dict[str, float]
    statuses: list[int]
    alerts_of_first: int
    rows_of_first: dict[bytes, bytes]
    spans: dict[str, Any]
    """What the first told a collector of the one traced payment, by service and operation."""


@pytest.fixture(scope="module")
def run(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder, name = tmp_path_factory.mktemp("run"), f"run-{uuid.uuid4().hex[:12]}"
    bed = bed_on(*stack, name, folder, model=random_model(folder), threshold=0.0)
    bed.create_topics()
    source = bed.settings.topics.transactions
    traced = replace(good(1)[0], headers=TRACED)
    keyless = Produced(payment(tx_id="keyless", card_id="c5"))
    produced = [traced, *good(99, start=1), *BAD, keyless, *good(100, start=100)]
    more = good(1, start=900)
    bed.produce(source, produced)
    with Collector() as collector, traced_by(collector, bed).worker() as worker:
        worker.until_ready()
        caught_up(bed, worker)
        worker.until(lambda: worker.metric("tocsin_lag_records") == 0, "lag of none")
        names = ("events_total", "alerts_total", "dead_letters_total", "ready")
        metrics = {name: worker.metric(f"tocsin_{name}") for name in names}
        assert worker.get("/livez")[0] == 200
        statuses = [worker.stop()]
    first = len(alerts_of(bed))
    group = bed.settings.fraud.group
    with Redis.from_url(bed.settings.redis.url) as redis:
        rows = rows_in(redis, group)
        redis.unlink(*redis.scan_iter(f"{group}:*", count=1000))
    with bed.worker() as worker:
        worker.until(lambda: worker.metric("tocsin_events_total") == 201, "the rebuild")
        worker.until_ready()
        bed.produce(source, more)
        caught_up(bed, worker)
        metrics["dead_letters_of_second"] = worker.metric("tocsin_dead_letters_total")
        statuses.append(worker.stop())

    values = {record.value for record in [*produced, *more]} - {bad.value for bad in BAD}
    places = {record.value: record for record in bed.read(source) if record.value in values}
    yield Run(bed, places, metrics, statuses, first, rows, collector.of_trace(TRACE))
    bed.close()


def test_every_good_transaction_has_one_alert_named_after_its_place(run: Run) -> None:
    source = run.bed.settings.topics.transactions
    alerts = alerts_of(run.bed)

    expected = [f"{source}:{r.partition}:{r.offset}:fraud" for r in run.good.values()]
    assert len(expected) == 202
    assert sorted(alert.id for alert in alerts) == sorted(expected)
    by_place = {(r.partition, r.offset): value for value, r in run.good.items()}
    for alert in alerts:
        payload = decode_transaction(by_place[alert.source.partition, alert.source.offset])
        assert alert.detail["tx_id"] == payload.tx_id
        assert alert.entity == payload.card_id


def test_an_alert_carries_cloud_events_headers_and_the_card_as_its_key(run: Run) -> None:
    source = run.bed.settings.topics.transactions
    for record in run.bed.read(run.bed.settings.topics.alerts):
        headers, alert = headers_of(record), decode_alert(record.value)
        assert [*headers][: len(CLOUD_EVENT_HEADERS)] == list(CLOUD_EVENT_HEADERS)
        assert headers["ce_id"] == alert.event_id.encode() == f"{alert.id}:0".encode()
        assert headers["ce_source"] == f"/tocsin/{source}".encode()
        assert headers["ce_subject"] == record.key == alert.entity.encode()


def test_a_trace_leads_from_the_payment_to_its_alert_and_the_verdict(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = run.bed
    alerts = bed.read(bed.settings.topics.alerts)
    (sent,) = (one for one in alerts if "traceparent" in headers_of(one))
    alert, span = decode_alert(sent.value), run.spans["tocsin-fraud send"]
    assert alert.detail["tx_id"] == "t0"
    assert alert.traceparent is not None
    assert headers_of(sent)["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01".encode()
    assert span.parent_span_id.hex() == alert.traceparent.split("-")[2] == PARENT
    batch = run.spans["tocsin-fraud process"]
    assert [link.span_id.hex() for link in batch.links] == [PARENT]
    assert [link.span_id for link in span.links] == [batch.span_id]

    for name, value in environment_of(bed.settings).items():
        monkeypatch.setenv(name, value)
    CliRunner().invoke(app, ["label", alert.id, "--fraud"], catch_exceptions=False)
    (said,) = bed.read(bed.settings.topics.labels)
    assert headers_of(said) == {"traceparent": alert.traceparent.encode()}


def test_every_bad_record_is_a_dead_letter_with_what_it_was(run: Run) -> None:
    topics = run.bed.settings.topics
    dead = run.bed.read(f"{topics.transactions}{topics.dead_suffix}")
    letters = {letter.key: letter for letter in dead}

    assert len(dead) == len(letters) == len(BAD)
    for bad in BAD:
        letter = letters[bad.key]
        headers = headers_of(letter)
        assert letter.value == bad.value
        assert headers["tocsin-topic"] == topics.transactions.encode()
        assert headers["tocsin-step"] == b"decode"
    assert headers_of(letters[b"c1"])["trace"] == b"\x00\x01"
    assert b"no rate for currency 'XAU'" in (headers_of(letters[b"c3"])["tocsin-reason"] or b"")


def test_the_state_in_redis_covers_every_offset_and_every_card(run: Run) -> None:
    settings = run.bed.settings
    with Redis.from_url(settings.redis.url) as redis:
        rows = rows_in(redis, settings.fraud.group)
        keys = list(redis.scan_iter(f"{settings.fraud.group}:*:marker:*", count=1000))
        keys += list(redis.scan_iter(f"{settings.fraud.group}:{{*}}:marker:*", count=1000))
        markers = {int(key[-4:]): int(redis.get(key) or -1) for key in set(keys)}

    ends = run.bed.ends(settings.topics.transactions)
    assert {p: m + 1 for p, m in markers.items()} == {p: end for p, end in ends.items() if end}
    assert len(rows) in {CARDS, CARDS + 1}  # the one without a key may be on another partition


def test_a_worker_counts_what_it_does_and_ends_well(run: Run) -> None:
    assert run.metrics == {
        "events_total": 201,
        "alerts_total": 201,
        "dead_letters_total": 3,
        "ready": 1,
        "dead_letters_of_second": 0,
    }
    assert run.statuses == [0, 0]


def test_state_that_was_lost_is_rebuilt_from_the_topic_without_a_second_alert(run: Run) -> None:
    with Redis.from_url(run.bed.settings.redis.url) as redis:
        rebuilt = rows_in(redis, run.bed.settings.fraud.group)
    changed = [key for key, row in run.rows_of_first.items() if rebuilt[key] != row]

    assert run.alerts_of_first == 201
    assert len(alerts_of(run.bed)) == 202
    assert rebuilt.keys() == run.rows_of_first.keys()
    assert len(changed) <= 1  # the card of the one transaction more
    assert any("rebuilding partition" in line for line in run.bed.workers[1].log)


def test_a_healthy_worker_says_little(run: Run) -> None:
    for worker in run.bed.workers:
        assert len(worker.log) < 20, worker.log
        assert not any("ERROR" in line or "Traceback" in line for line in worker.log)


# -- more workers ---------------------------------------------------------------------------------
def test_a_verdict_reaches_the_next_transaction_at_its_terminal(bed: Bed) -> None:
    topics, labels = bed.settings.topics, bed.settings.labels
    now = now_ms()

    def score_now(card: str) -> float:
        value = payment(tx_id=card, card_id=card, terminal_id="m7", amount=50.0, event_time=now)
        bed.produce(topics.transactions, [Produced(value, card.encode())])
        caught_up(bed, fraud)
        (alert,) = [alert for alert in alerts_of(bed) if alert.entity == card]
        return alert.score

    with bed.worker("fraud") as fraud, bed.worker("labels") as verdicts:
        fraud.until_ready()
        verdicts.until_ready()
        before = [score_now("new-1"), score_now("new-2")]
        label = verdict(terminal_id="m7", event_time=now - DAY_MS, labelled_at=now - DAY_MS // 2)
        late = verdict(terminal_id="m7", tx_id="t2", labelled_at=now - 400 * DAY_MS)
        bed.produce(topics.labels, [Produced(label, b"m7"), Produced(late, b"m7")])
        verdicts.until(lambda: bed.lag(labels.group, topics.labels) == 0, "commit of the label")
        after = score_now("new-3")
        assert verdicts.metric("tocsin_events_total") == 1
        assert verdicts.stop() == 0
        assert fraud.stop() == 0

    assert before[0] == pytest.approx(before[1], abs=1e-5)
    assert after != pytest.approx(before[0], abs=1e-3)
    (letter,) = bed.read(f"{topics.labels}{topics.dead_suffix}")
    assert b"before event_time" in (headers_of(letter)["tocsin-reason"] or b"")
