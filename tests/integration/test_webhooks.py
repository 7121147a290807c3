"""`tocsin webhooks` between Kafka and a receiver."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from streams.admin import connect
from streams.devstack.ports import free_ports
from streams.schemas import DeadLetter
from streams.settings import load_settings
from streams.topics import readers
from tests.conftest import Stack
from tests.dashboard import a_fraud, an_object, send_alerts
from tests.worker import TOCSIN, Bed, WorkerProcess, bed_on, environment_of


class Receiver(ThreadingHTTPServer):
    """Takes events, and refuses those of the camera `gate`."""

    daemon_threads = True

    def __init__(self) -> None:
        taken: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                refused = json.loads(body)["entity"] == "gate"
                if not refused:
                    taken.append(self.headers["webhook-id"])
                self.send_response(400 if refused else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.taken = taken


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def bed(real_stack: Stack, tmp_path: Path) -> Iterator[Bed]:
    name = f"w{uuid.uuid4().hex[:8]}"
    made = bed_on(real_stack.bootstrap, real_stack.redis_url, name, tmp_path)
    topics = made.settings.topics
    made.create_topics(only=[topics.alerts, f"{topics.alerts}.dead"])
    yield made
    made.close()


def forwarding(bed: Bed, receiver: Receiver, *away: str) -> WorkerProcess:
    """Forward to the receiver as `soc`, and to endpoints of which nothing is to be seen."""
    ports = {"soc": receiver.server_port, **dict(zip(away, free_ports(len(away)), strict=True))}
    endpoints = {
        name: {"url": f"http://127.0.0.1:{port}/", "secret": "0123456789abcdef"}
        for name, port in ports.items()
    }
    environment = {
        **environment_of(bed.settings),
        "TOCSIN_WEBHOOKS__GROUP": f"{bed.settings.topics.alerts}-hooks",
        "TOCSIN_WEBHOOKS__ENDPOINTS": json.dumps(endpoints),
    }
    made = WorkerProcess((*TOCSIN, "webhooks"), environment, bed.folder / "webhooks.log")
    bed.workers.append(made)
    return made


def until_it_has_a_place(hooks: WorkerProcess, bed: Bed) -> None:
    """From then on no event is lost, whatever becomes of the process."""
    alerts = bed.settings.topics.alerts
    with connect(bed.settings.kafka) as admin:
        hooks.until(lambda: admin.committed(f"{alerts}-hooks-soc", alerts), "the first commit")


def waiting(bed: Bed) -> dict[str, int]:
    """Alerts that wait for each endpoint, as one tells who does not know which there are."""
    group = f"{bed.settings.topics.alerts}-hooks"
    blind = load_settings(
        kafka=bed.settings.kafka.model_dump(exclude_unset=True),
        topics=bed.settings.topics.model_dump(exclude_unset=True),
        webhooks={"group": group},
    )
    with connect(blind.kafka) as admin:
        lags = admin.lags(readers(blind, admin.groups()))
    return {
        name.removeprefix(f"{group}-"): lag
        for (name, _), lag in lags.items()
        if name.startswith(f"{group}-")
    }


def test_each_event_arrives_once_and_what_is_refused_is_buried(
    bed: Bed, receiver: Receiver
) -> None:
    first = forwarding(bed, receiver).start()
    until_it_has_a_place(first, bed)
    first.kill()
    send_alerts(bed, [a_fraud(0)])
    assert waiting(bed) == {"soc": 1}
    first = forwarding(bed, receiver).start()
    first.until(lambda: a_fraud(0).event_id in receiver.taken, "what came after the kill")
    alerts = [a_fraud(1), a_fraud(2), an_object(3, camera="gate")]
    send_alerts(bed, [*alerts, alerts[0]])
    last = a_fraud(4)
    send_alerts(bed, [last])
    first.until(lambda: {alerts[1].event_id, last.event_id} <= set(receiver.taken), "the events")
    dead = f"{bed.settings.topics.alerts}.dead"
    first.until(lambda: bed.read(dead), "the dead letter")
    assert first.stop() == 0

    send_alerts(bed, [alerts[0], last])
    second = forwarding(bed, receiver).start()
    send_alerts(bed, [a_fraud(5)])
    second.until(lambda: a_fraud(5).event_id in receiver.taken, "the next event")
    assert second.stop() == 0

    assert not any("http://" in line for line in second.log)  # many a webhook's URL is a secret
    assert len(receiver.taken) == len(set(receiver.taken))  # none came twice
    (record,) = bed.read(dead)
    letter = DeadLetter.from_record(record.key, record.value, tuple(record.headers))
    assert letter.reason == "webhook soc: it answers 400"
    assert json.loads(letter.value or b"")["entity"] == "gate"


def test_an_endpoint_that_is_away_delays_no_other(bed: Bed, receiver: Receiver) -> None:
    alerts = bed.settings.topics.alerts
    with forwarding(bed, receiver, "pager") as hooks:
        until_it_has_a_place(hooks, bed)
        with connect(bed.settings.kafka) as admin:
            hooks.until(lambda: admin.committed(f"{alerts}-hooks-pager", alerts), "its place")
        for number in range(3):  # each in a batch of its own
            send_alerts(bed, [a_fraud(number)])
            taken = a_fraud(number).event_id
            hooks.until(lambda taken=taken: taken in receiver.taken, f"event {number}")
        assert bed.lag(f"{alerts}-hooks-soc", alerts) == 0
        assert bed.lag(f"{alerts}-hooks-pager", alerts) == 3


@pytest.mark.long
def test_what_was_refused_is_buried_though_that_fails_at_first(
    real_stack: Stack, namespace: str, receiver: Receiver, tmp_path: Path
) -> None:
    bed = bed_on(real_stack.bootstrap, real_stack.redis_url, namespace, tmp_path)
    topics = bed.settings.topics
    bed.create_topics(only=[topics.alerts])
    with forwarding(bed, receiver) as hooks:
        until_it_has_a_place(hooks, bed)
        send_alerts(bed, [an_object(1, camera="gate")])
        hooks.until(
            lambda: any("stands still" in line for line in hooks.log), "a burial that fails"
        )
        bed.create_topics(only=[f"{topics.alerts}.dead"])
        hooks.until(lambda: bed.read(f"{topics.alerts}.dead"), "the letter")
    bed.close()
