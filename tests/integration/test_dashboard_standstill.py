"""A broker that hangs: who decides is told so in time, and the dashboard still ends."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from streams.dashboard import letters
from streams.dashboard import sender as sender_module
from streams.dashboard.letters import NewestLetters, send_back
from streams.dashboard.sender import WITHIN_S, Sender
from streams.dead_letters import sending as sending_module
from streams.dead_letters.index import Wanted
from streams.devstack import EmbeddedBroker, RedisServer
from streams.errors import BrokerError
from streams.topics import dead_topic
from tests.conftest import started
from tests.dashboard import Dashboard, a_fraud, dashboard_bed, send_alerts, serving
from tests.fakes.letters import letter

ENDS_WITHIN_S = 30.0
"""Less than the 40 s after which Compose kills it: questions to Kafka that run are waited for."""


def decide(running: Dashboard, number: int) -> httpx.Response:
    said = {"alerts": [a_fraud(number).id], "decision": "confirmed"}
    return running.client.post("/api/verdicts", json=said, timeout=60)


def test_a_verdict_that_a_broker_does_not_confirm_is_answered_in_time_and_lets_the_dashboard_end(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    name = f"s{uuid.uuid4().hex[:8]}"
    with started(EmbeddedBroker(), real=False) as broker, ThreadPoolExecutor(1) as pool:
        bed = dashboard_bed(broker.bootstrap, redis_server.url, name, tmp_path)
        with serving(bed) as running:
            send_alerts(bed, [a_fraud(number) for number in range(3)])
            running.until_alerts(3)
            assert decide(running, 0).status_code == 200
            os.kill(broker.pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                answer = decide(running, 1)
                assert time.monotonic() - began < WITHIN_S + 6
                assert answer.status_code == 503
                assert "did not confirm this within 10 s" in answer.json()["detail"]
                waiting = pool.submit(decide, running, 2)
                time.sleep(1)
                began = time.monotonic()
                assert running.process.stop() == 0
                assert time.monotonic() - began < ENDS_WITHIN_S
                assert waiting.exception() is not None or waiting.result().status_code >= 500
            finally:
                os.kill(broker.pid, signal.SIGCONT)


def test_dead_letters_are_sent_back_and_read_no_longer_than_a_broker_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "WITHIN_S", 1.0)
    monkeypatch.setattr(letters, "SILENT_S", 1.0)
    with started(EmbeddedBroker(), real=False) as broker:
        bed = dashboard_bed(broker.bootstrap, "redis://127.0.0.1:1", "dead", tmp_path)
        names = bed.settings.topics
        dead = dead_topic(bed.settings, names.transactions)
        bed.create_topics()
        bed.produce(dead, [letter(1, topic=names.transactions)])
        unanswered = "within 1 s"

        async def use() -> None:
            box = NewestLetters(bed.settings)
            assert (await box.find(Wanted(), 1)).total == 1
            back = asyncio.ensure_future(send_back(bed.settings, [f"{dead}:0:0"]))
            await stopped.wait()
            began = time.monotonic()
            with pytest.raises(BrokerError, match=unanswered):
                await back
            for dry_run in (True, False):
                with pytest.raises(BrokerError, match=unanswered):
                    await send_back(bed.settings, [f"{dead}:0:0"], dry_run=dry_run)
            for found in await asyncio.gather(
                *(box.find(Wanted(reason="above"), 1) for _ in range(3)), return_exceptions=True
            ):
                assert isinstance(found, BrokerError)
            assert time.monotonic() - began < 30

        stopped = asyncio.Event()
        send = sending_module.send_in_order

        async def stop(*sent: Any) -> Any:
            """The broker hangs as soon as there is something to send."""
            os.kill(broker.pid, signal.SIGSTOP)
            stopped.set()
            return await send(*sent)

        monkeypatch.setattr(sending_module, "send_in_order", stop)
        try:
            asyncio.run(use())
        finally:
            os.kill(broker.pid, signal.SIGCONT)


def test_a_producer_that_is_given_up_leaves_nothing_behind_that_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "WITHIN_S", 1.0)
    with started(EmbeddedBroker(), real=False) as broker:
        bed = dashboard_bed(broker.bootstrap, "redis://127.0.0.1:1", "given-up", tmp_path)

        async def use() -> set[Any]:
            sender = Sender(bed.settings.kafka)
            await sender.send(bed.settings.topics.audit, [(b"k", b"first")])
            os.kill(broker.pid, signal.SIGSTOP)
            try:
                with pytest.raises(BrokerError, match="may have been taken or not"):
                    await sender.send(bed.settings.topics.audit, [(b"k", b"second")])
                await asyncio.sleep(0.05)  # what has been cancelled ends
                return asyncio.all_tasks() - {asyncio.current_task()}
            finally:
                os.kill(broker.pid, signal.SIGCONT)

        assert asyncio.run(use()) == set()
