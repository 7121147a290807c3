"""Every part against a Kafka and a Redis that speak TLS alone and allow what is listed alone."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streams.admin import connect
from streams.cli.main import app
from streams.connection import start_producer
from streams.dashboard.pages.evidence import Around, around_of
from streams.dashboard.payments import CardPayments
from streams.dashboard.servers import Servers
from streams.dashboard.services import Services
from streams.dashboard.view.records import ViewedAlert
from streams.devstack import SUPERUSER, RedisServer
from streams.errors import BrokerError, StoreRefused
from streams.schemas import Alert, Source, decode_alert
from streams.settings import RedisSettings, Settings
from streams.state.pictures import open_pictures
from streams.state.redis import RedisStateStore
from streams.state.redis_client import open_client, translated
from streams.topics import topic_table
from tests.conftest import REDIS_SERVER, ROOT, started
from tests.dashboard import a_fraud, an_object, send_alerts, serving
from tests.fakes.blobs import empty, walk
from tests.fakes.letters import letter
from tests.fakes.model import random_model
from tests.fakes.records import now_ms, payment
from tests.integration.test_vision_path import shot
from tests.integration.test_webhooks import Receiver
from tests.secure import STRANGER, Secure, password_of, refused_by_redis, secured
from tests.worker import TOCSIN, Bed, Produced, WorkerProcess, environment_of

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def secure(certificates: Path) -> Iterator[Secure]:
    with secured(certificates) as running:
        running.bed("operator", Path()).create_topics()
        yield running
        # No part tried anything that its rights do not name, but where a test has it try.
        assert {line.split()[0] for line in refused_by_redis(running)} <= {STRANGER}


def tocsin(settings: Settings, *command: str, ok: bool = False) -> Result:
    given = {**environment_of(settings), "COLUMNS": "300"}
    result = CliRunner().invoke(app, list(command), env=given)
    assert not ok or result.exit_code == 0, result.output
    return result


def paid(count: int, start: int = 0) -> list[Produced]:
    return [
        Produced(payment(tx_id=f"t{i}", card_id=f"c{i % 5}"), b"c%d" % (i % 5))
        for i in range(start, start + count)
    ]


def test_payments_become_alerts_that_a_consumer_reads(secure: Secure, tmp_path: Path) -> None:
    """Payments come by a certificate, the worker and who reads by a password."""
    mutual = secure.by_certificate("payments")
    payments = secure.bed("payments", tmp_path, kafka=mutual)
    fraud = secure.bed(
        "fraud",
        tmp_path,
        fraud={"model": random_model(tmp_path), "threshold": 0.0, "device": "cpu"},
    )
    topics = fraud.settings.topics

    with fraud.worker("fraud") as worker:
        worker.until_ready()
        payments.produce(topics.transactions, [*paid(20), Produced(b"broken", b"c1")])
        caught_up(secure, worker, fraud.settings.fraud.group, topics.transactions, tmp_path)
        assert worker.stop() == 0

    assert len(secure.bed("consumer", tmp_path).read(topics.alerts)) == 20
    (letter,) = secure.bed("operator", tmp_path).read(f"{topics.transactions}.dead")
    assert letter.value == b"broken"
    assert not any(password_of("fraud") in line for line in worker.log)
    watched(secure, fraud.settings.fraud.group, topics.transactions)


def test_the_simulator_sends_payments_and_the_verdicts_on_them(secure: Secure) -> None:
    """Verdicts come later in its calendar: minutes after it began, by default."""
    simulator = secure.settings("simulator")
    days = ("--count", "600", "--customers", "100", "--terminals", "500", "--label-delay", "1")
    said = tocsin(simulator, "produce", "transactions", *days, "--rate", "5000", ok=True)
    assert re.search(r"sent 600 transactions and [1-9]\d* labels", said.stdout)


def watched(secure: Secure, group: str, topic: str) -> None:
    """Who watches is told of lag, by what the Kafka exporter asks for, and reads nothing."""
    monitor = secure.settings("monitor", kafka=secure.by_certificate("monitor"))
    with connect(monitor.kafka) as admin:
        assert admin.lags({group: [topic]}) == {(group, topic): 0}
        assert admin.members(group) == 0
    with pytest.raises(BrokerError, match="lack a topic right"):
        Bed(monitor, Path()).read(topic)


def test_a_verdict_is_said_and_taken_in(secure: Secure, tmp_path: Path) -> None:
    """The worker comes by a certificate, who says it by a password."""
    labels = secure.bed("labels", tmp_path, kafka=secure.by_certificate("labels"))
    topics = labels.settings.topics
    alert = a_fraud(9_500)  # of which no payment that is sent here has the place
    send_alerts(secure.bed("fraud", tmp_path), [alert])

    with labels.worker("labels") as worker:
        worker.until_ready()
        tocsin(secure.settings("cases"), "label", alert.id, "--fraud", ok=True)
        caught_up(secure, worker, labels.settings.labels.group, topics.labels, tmp_path)
        worker.until(lambda: worker.metric("tocsin_live_judged_alerts") == 1, "figures")
        assert worker.stop() == 0
    around = asyncio.run(looked_up(secure.settings("dashboard"), alert))
    assert around.terminal is not None
    assert [one.is_fraud for one in around.terminal.verdicts] == [True]


async def looked_up(settings: Settings, alert: Alert) -> Around:
    """What the page of an alert shows around it."""
    services = Services.build(settings)
    try:
        return await around_of(
            services, ViewedAlert(alert, alert.processed_at, None, (), suppressed=False)
        )
    finally:
        await services.store.close()
        services.cards.close()
        services.terminals.close()
        if services.pictures is not None:
            services.pictures.close()


def caught_up(secure: Secure, worker: WorkerProcess, group: str, topic: str, folder: Path) -> None:
    operator = secure.bed("operator", folder)
    worker.until(lambda: operator.lag(group, topic) == 0, "commit of everything")


def test_frames_become_alerts_with_pictures(secure: Secure, tmp_path: Path) -> None:
    vision = secure.bed("vision", tmp_path, vision={"policy": "keep-all", "threads": 1})
    blobs = (sys.executable, str(ROOT / "tests" / "chaos" / "vision_worker.py"))
    begun = now_ms() - 60_000
    frames = [
        shot(value, "gate", number, begun + 100 * number)
        for number, value in enumerate([*walk(45), *empty(8)])
    ]
    with vision.worker("vision", command=blobs) as worker:
        worker.until_ready()
        secure.bed("cameras", tmp_path).produce(vision.settings.topics.frames, frames)
        worker.until(lambda: worker.metric("tocsin_alerts_total") > 0, "an alert")
        assert worker.stop() == 0

    consumer = secure.bed("consumer", tmp_path)
    told = [decode_alert(record.value) for record in consumer.read("alerts")]
    (reference, *_) = [alert.snapshot for alert in told if alert.snapshot]
    pictures = open_pictures(consumer.settings)
    assert pictures is not None
    assert pictures.get(reference)
    pictures.close()


def test_the_dashboard_shows_decides_and_sends_back(secure: Secure, tmp_path: Path) -> None:
    topics = secure.settings("dashboard").topics
    secure.bed("fraud", tmp_path).produce(
        f"{topics.transactions}.dead", [letter(3, topic=topics.transactions)]
    )
    send_alerts(secure.bed("fraud", tmp_path), [a_fraud(77, card="card-77")])
    bed = secure.bed("dashboard", tmp_path)
    with serving(bed) as dashboard:
        (alert,) = dashboard.until_alerts(1, "card-77")
        ask = dashboard.client
        said = {"alerts": [alert["alert"]["id"]], "decision": "confirmed"}
        ask.post("/api/verdicts", json=said).raise_for_status()
        hidden = {"kind": "fraud", "entity": "card-77", "minutes": 60, "reason": "known"}
        ask.post("/api/suppressions", json=hidden).raise_for_status()
        ask.get("/api/cameras").raise_for_status()
        ask.get(f"/api/alerts/{alert['alert']['id']}").raise_for_status()
        letters = ask.get("/api/dead-letters").json()["letters"]
        (name,) = [one["name"] for one in letters if one["reason"].startswith("amount 3 EUR")]
        answer = ask.post("/api/dead-letters/replay", json={"letters": [name]})
        assert answer.json() == {"fates": {"sent": 1}}


def test_the_dashboard_reads_what_else_a_card_paid(secure: Secure, tmp_path: Path) -> None:
    topic = secure.settings("payments").topics.transactions
    payments = [one for one in paid(20) if one.key == b"c1"]
    secure.bed("payments", tmp_path).produce(topic, payments)
    settings = secure.settings("dashboard")
    with connect(secure.administrator().kafka) as admin:
        ends = admin.ends(topic)

    async def read() -> int:
        found = 0
        for partition, end in ends.items():
            source = Source(topic, partition, max(end - 1, 0))
            found += len((await CardPayments(settings).around("c1", source)).found)
        return found

    assert asyncio.run(read()) >= len(payments) > 0


def test_the_health_page_hears_of_every_topic_and_of_who_is_behind(secure: Secure) -> None:
    settings = secure.settings("dashboard")
    table, topics = topic_table(settings), settings.topics
    with connect(secure.administrator().kafka) as admin:
        admin.commit(settings.vision.group, topics.frames, {0: 0})

    servers = asyncio.run(asked(settings))

    assert (servers.redis.trouble, servers.kafka.trouble) == ("", "")
    assert servers.kafka.latest["partitions"] == sum(spec.partitions for spec in table)
    assert f"lag {settings.vision.group} {topics.frames}" in servers.kafka.latest


async def asked(settings: Settings) -> Servers:
    """What Redis and Kafka say to a dashboard."""
    servers = Servers(settings)
    watching = asyncio.create_task(servers.watch())
    while "not asked yet" in {servers.redis.trouble, servers.kafka.trouble}:
        await asyncio.wait([watching], timeout=0.1)
        assert not watching.done()
    watching.cancel()
    await asyncio.wait([watching])
    return servers


def test_webhooks_forward_and_bury(secure: Secure, tmp_path: Path) -> None:
    with Receiver() as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        endpoint = {
            "url": f"http://127.0.0.1:{receiver.server_port}/",
            "secret": "0123456789abcdef",
        }
        bed = secure.bed("webhooks", tmp_path)
        sender = secure.bed("fraud", tmp_path)
        environment = {
            **environment_of(bed.settings),
            "TOCSIN_WEBHOOKS__ENDPOINTS": json.dumps({"soc": endpoint}),
        }
        with WorkerProcess((*TOCSIN, "webhooks"), environment, tmp_path / "hooks.log") as hooks:
            numbers = iter(range(5_000, 9_000))

            def reached() -> bool:
                send_alerts(sender, [a_fraud(next(numbers))])
                return bool(receiver.taken)

            hooks.until(reached, "an event")
            lag = f"lag {bed.settings.webhooks.prefix}soc {bed.settings.topics.alerts}"
            assert lag in asyncio.run(asked(secure.settings("dashboard"))).kafka.latest
            told = tocsin(secure.settings("operator"), "status", ok=True).stdout
            (line,) = re.findall(
                r"^tocsin-webhooks-soc +alerts +(\d+) +[\d,]+ *$", told, re.MULTILINE
            )
            assert int(line) > 0
            send_alerts(sender, [an_object(1, camera="gate")])
            operator = secure.bed("operator", tmp_path)
            hooks.until(lambda: operator.read("alerts.dead"), "the dead letter")
            assert hooks.stop() == 0
        receiver.shutdown()


def test_the_operator_replays_letters_and_rebuilds_state(secure: Secure, tmp_path: Path) -> None:
    operator = secure.settings("operator")
    secure.bed("labels", tmp_path).produce("labels.dead", [letter(0, topic="labels")])

    listed = tocsin(operator, "dead-letters", "list", ok=True)
    assert "labels" in listed.stdout
    replayed = tocsin(operator, "dead-letters", "replay", "--yes", "--topic", "labels", ok=True)
    assert replayed.stdout.splitlines()[-1].startswith("1 sent")
    tocsin(operator, "topics", "create", "--check", ok=True)
    other = RedisStateStore(secure.settings(SUPERUSER).redis, "elsewhere")
    other.identify(b"of somebody else")
    other.close()
    told = tocsin(operator, "state", "forget", "c1", "--yes").output
    assert "cards forgotten: 1" in told or "was ever processed" in told  # before a worker ran
    for agent in ("fraud", "labels", "vision", "dashboard"):
        tocsin(operator, "state", "rebuild", agent, "--yes", ok=True)


# -- what is said when it does not work -----------------------------------------------------------
# aiokafka does not wait for the end of a connection that fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("kafka", "says"),
    [
        ({"sasl_password": "wrong"}, "refuses the credentials of 'consumer' .* check kafka.sasl_"),
        ({"sasl_mechanism": "SCRAM-SHA-256"}, "refuses the credentials .*SCRAM-SHA-256"),
        ({"ssl_cafile": None}, "certificate that is not trusted: check kafka.ssl_cafile"),
        ({"security_protocol": "PLAINTEXT"}, r"check kafka.security_protocol \(PLAINTEXT\)"),
    ],
)
def test_a_client_that_is_not_let_in_says_why_in_one_line(
    secure: Secure, kafka: dict[str, Any], says: str
) -> None:
    settings = secure.settings("consumer", kafka=kafka)

    with pytest.raises(BrokerError, match=says) as caught:
        asyncio.run(start_producer(settings.kafka))

    assert len(str(caught.value).splitlines()) == 1


def test_a_command_with_a_wrong_password_says_so_in_one_line(secure: Secure) -> None:
    wrong = secure.settings("consumer", kafka={"sasl_password": "wrong"})

    error = refusal_of(wrong, "alerts", "tail")

    assert "refuses the credentials of 'consumer' (SCRAM-SHA-512): check kafka.sasl_*" in error
    assert len(error.splitlines()) == 1


def test_a_client_without_the_certificate_that_is_asked_for_says_so(secure: Secure) -> None:
    by_name = {**secure.by_certificate("payments"), "ssl_certfile": None}

    error = refusal_of(secure.settings("payments", kafka=by_name), "topics", "list")

    assert "kafka.ssl_certfile" in error


def test_a_right_that_is_missing_is_named_in_one_line(secure: Secure) -> None:
    stranger = secure.settings(STRANGER)

    assert "lack a topic right" in refusal_of(stranger, "dead-letters", "list")
    assert "lack a topic right" in refusal_of(stranger, "topics", "create")
    assert "lack a group right" in refusal_of(stranger, "state", "rebuild", "fraud", "--yes")
    assert "lack a cluster right" in refusal_of(stranger, "rights", "grant", "fraud", "--to", "me")
    assert Bed(stranger, Path()).read("alerts")


def test_a_worker_without_its_group_says_so(secure: Secure, tmp_path: Path) -> None:
    """It may read the topic of alerts, as transactions, and is in no group that it may join."""
    bed = secure.bed(
        STRANGER,
        tmp_path,
        topics={"transactions": "alerts"},
        redis={"url": "memory://", "ssl_cafile": None},
        fraud={"model": random_model(tmp_path), "device": "cpu"},
    )
    with bed.worker("fraud") as worker:
        assert worker.wait() == 75
    assert worker.log[-1].endswith("its ACLs lack a group right of `tocsin rights list`")


@pytest.mark.parametrize(
    ("redis", "says"),
    [
        ({"password": "wrong"}, "check redis.username and redis.password"),
        ({"username": "", "password": ""}, "check redis.username and redis.password"),
        ({"ssl_cafile": None}, "check redis.ssl_"),
        ({"username": STRANGER, "password": password_of(STRANGER)}, "`tocsin rights list` names"),
    ],
)
def test_a_redis_that_refuses_is_told_in_one_line(
    secure: Secure, redis: dict[str, Any], says: str
) -> None:
    store = RedisStateStore(secure.settings("fraud", redis=redis).redis, "tocsin-fraud")

    with pytest.raises(StoreRefused, match=says) as caught:
        store.identity()

    store.close()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("password", ["", "a password"])
def test_a_redis_over_tls_is_reached_at_each_try(certificates: Path, password: str) -> None:
    """Its session tickets come before any answer; a client must not take them for one."""
    server = RedisServer(REDIS_SERVER, certificates=certificates, password=password)
    with started(server, real=True):
        ours = RedisSettings(url=server.url, ssl_cafile=certificates / "ca.pem")
        for _ in range(50):
            with open_client(ours) as client, translated():
                assert client.get("no such key") is None


def refusal_of(settings: Settings, *command: str) -> str:
    result = tocsin(settings, *command)
    assert result.exit_code == 1, result.output
    return result.stderr.strip()
