"""`tocsin webhooks` between Kafka and a receiver."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from streams.schemas import DeadLetter
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


def forwarding(bed: Bed, receiver: Receiver) -> WorkerProcess:
    endpoint = {"url": f"http://127.0.0.1:{receiver.server_port}/", "secret": "0123456789abcdef"}
    environment = {
        **environment_of(bed.settings),
        "TOCSIN_WEBHOOKS__GROUP": f"{bed.settings.topics.alerts}-hooks",
        "TOCSIN_WEBHOOKS__ENDPOINTS": json.dumps({"soc": endpoint}),
    }
    made = WorkerProcess((*TOCSIN, "webhooks"), environment, bed.folder / "webhooks.log")
    bed.workers.append(made)
    return made


def test_each_event_arrives_once_and_what_is_refused_is_buried(
    bed: Bed, receiver: Receiver
) -> None:
    first = forwarding(bed, receiver).start()
    probe = 0

    def reached() -> bool:  # it begins with what comes next, once it has joined
        nonlocal probe
        probe += 1
        send_alerts(bed, [a_fraud(9_000 + probe)])
        return bool(receiver.taken)

    first.until(reached, "the first event")
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
