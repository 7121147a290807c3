"""What the README tells a consumer of alerts to run, run."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import kafka.errors
from kafka import KafkaAdminClient

from streams.alerts.envelope import build_fraud_alert, cloud_events_headers
from streams.alerts.explanation import Explanation
from streams.connection import start_producer
from streams.devstack import EmbeddedBroker, KafkaBroker
from streams.schemas import ModelRef, Reason, Source, Transaction, encode
from streams.settings import KafkaSettings
from tests.conftest import absent

README = Path(__file__).resolve().parents[2] / "README.md"
ALERT = build_fraud_alert(
    Transaction("tx-1", "card-1", "terminal-1", 912.5, "EUR", 1_522_562_705_000),
    source=Source("transactions", 2, 41),
    score=0.93,
    threshold=0.77,
    model=ModelRef("fraud", "1", "0" * 64),
    processed_at=1_522_562_706_000,
    explanation=Explanation([Reason("amount", "9.1 times the card's usual amount", 0.6)], 0.99),
)


def snippet() -> str:
    """Return the README's only Python block."""
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return str(block)


async def publish(bootstrap: str) -> None:
    producer = await start_producer(KafkaSettings(bootstrap_servers=bootstrap))
    try:
        await producer.send_and_wait(
            "alerts", encode(ALERT), key=b"card-1", headers=cloud_events_headers(ALERT)
        )
    finally:
        await producer.stop()


def put_alert(bootstrap: str) -> None:
    """Publish the alert on the topic `alerts`, made as needed."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics({"alerts": {"num_partitions": 1, "replication_factor": 1}})
    except kafka.errors.TopicAlreadyExistsError:
        pass
    finally:
        admin.close()
    asyncio.run(publish(bootstrap))


def test_the_readmes_consumer_prints_an_alert(
    broker: EmbeddedBroker | KafkaBroker, tmp_path: Path
) -> None:
    put_alert(broker.bootstrap)
    script = tmp_path / "consumer.py"
    script.write_text(snippet(), encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", str(script), broker.bootstrap],
        stdout=subprocess.PIPE,
        text=True,
    ) as consumer:
        try:
            assert consumer.stdout is not None
            line = consumer.stdout.readline()
        finally:
            consumer.kill()
    assert line == ("transactions:2:41:fraud:0 card-1 0.93 9.1 times the card's usual amount\n")


def test_kcat_reads_an_alert_with_its_cloud_events_headers(kafka_broker: KafkaBroker) -> None:
    put_alert(kafka_broker.bootstrap)
    if shutil.which("kcat") is None:
        absent("kcat is not installed", fail=os.environ.get("TOCSIN_TEST_REQUIRE_REAL") == "1")
    read = subprocess.run(
        [
            "kcat",
            "-b",
            kafka_broker.bootstrap,
            "-t",
            "alerts",
            "-C",
            "-e",
            "-q",
            "-f",
            "%k %h %s\n",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    line = read.stdout.splitlines()[0]
    assert line.startswith("card-1 ce_specversion=1.0,ce_id=transactions:2:41:fraud:0,")
    assert line.endswith(encode(ALERT).decode())
