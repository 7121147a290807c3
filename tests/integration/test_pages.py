"""What the documents tell their readers to run, run: page by page, in order, on real servers.

A block with a title is a file of that name in the page's folder. A command prints what stands
below it, or else ends by itself with status 0.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from msgspec.structs import replace

from models.signature import require_signature
from streams.alerts.envelope import build_fraud_alert, cloud_events_headers
from streams.alerts.explanation import Explanation
from streams.devstack import EmbeddedBroker, KafkaBroker, RedisServer
from streams.devstack.ports import free_ports
from streams.frames import parse_headers
from streams.schemas import (
    Alert,
    ModelRef,
    Reason,
    Source,
    Transaction,
    decode_label,
    decode_transaction,
    encode,
)
from streams.settings import WebhooksSettings, load_settings
from streams.webhooks.endpoint import Endpoint
from tests.conftest import KAFKA_JARS, KAFKA_PROPERTIES, ROOT, absent, named_by, started
from tests.dashboard import an_object, serving
from tests.fakes.letters import letter
from tests.pages import (
    BLOCKS,
    COMMANDS,
    ELSEWHERE,
    NEVER_RUN,
    NOT_RUN_HERE,
    RUN_BY,
    Command,
    commands,
)
from tests.stage import Stage
from tests.worker import Bed, Produced

pytestmark = pytest.mark.integration

# Rights can be granted, and until then everyone may do everything.
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
}
ALERT = build_fraud_alert(
    Transaction("tx-1", "card-1", "terminal-1", 912.5, "EUR", 1_522_562_705_000),
    source=Source("transactions", 2, 41),
    score=0.93,
    threshold=0.77,
    model=ModelRef("fraud", "1", "0" * 64),
    processed_at=1_522_562_706_000,
    explanation=Explanation([Reason("amount", "9.1 times the card's usual amount", 0.6)], 0.99),
)
OPENED = replace(an_object(1288), id="frames:0:1288:7:gate", event_id="frames:0:1288:7:gate:0")
ENDED = replace(OPENED, revision=1, event_id="frames:0:1288:7:gate:1", status="end")


def alert_at(partition: int, offset: int) -> Alert:
    name = f"transactions:{partition}:{offset}:fraud"
    place = Source("transactions", partition, offset)
    return replace(ALERT, id=name, event_id=f"{name}:0", source=place)


ALERTS = [ALERT, ALERT, OPENED, ENDED, alert_at(0, 7), alert_at(1, 41)]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A Kafka and a Redis with the default names, and the alerts that the pages speak of."""
    for program in ("kcat", "curl", "openssl"):
        if shutil.which(program) is None:
            absent(
                f"{program} is not on PATH", fail=os.environ.get("TOCSIN_TEST_REQUIRE_REAL") == "1"
            )
    broker = KafkaBroker(KAFKA_JARS, {**KAFKA_PROPERTIES, **AUTHORIZER})
    with started(broker, real=True) as kafka, started(RedisServer(), real=True) as redis:
        settings = load_settings(
            kafka={"bootstrap_servers": kafka.bootstrap},
            redis={"url": redis.url},
            labels={"horizon_days": 36_500},  # the dates in the pages grow old
        )
        made = Bed(settings, tmp_path_factory.mktemp("pages"))
        made.create_topics()
        send(made, ALERTS)
        yield made


def send(bed: Bed, alerts: Sequence[Alert]) -> None:
    records = [
        Produced(encode(alert), alert.entity.encode(), cloud_events_headers(alert), 0)
        for alert in alerts
    ]
    bed.produce("alerts", records)


# ---- what a page finds where it is played, and what must have come of it


@contextmanager
def servers(stage: Stage) -> Iterator[None]:
    settings = stage.bed.settings
    stage.here |= {
        "kafka:9092": settings.kafka.bootstrap_servers,
        "redis://redis:6379/0": settings.redis.url,
    }
    yield


@contextmanager
def producer(stage: Stage) -> Iterator[None]:
    (stage.folder / "kafka").symlink_to(KAFKA_JARS)
    cv2.imwrite(str(stage.folder / "yard.jpg"), np.zeros((64, 64, 3), np.uint8))
    yield
    payments = [one for one in stage.bed.read("transactions") if one.key == b"card-596"]
    assert [decode_transaction(one.value).card_id for one in payments] == ["card-596"] * 3
    assert len({one.partition for one in payments}) == 1  # for Python, Java and librdkafka alike
    (verdict,) = (one.value for one in stage.bed.read("labels") if one.key == b"shop-3156")
    assert decode_label(verdict).tx_id == "tx-1"
    frames = [parse_headers(one.key, one.headers).camera_id for one in stage.bed.read("frames")]
    assert (frames.count("yard"), len(frames)) == (1, 21)


@contextmanager
def consumer(stage: Stage) -> Iterator[None]:
    """Who receives a webhook gets one that is signed with the secret on the page."""
    (stage.folder / "kafka").symlink_to(KAFKA_JARS)
    (port,) = free_ports(1)
    stage.here["8700"] = str(port)
    (told,) = (one.text for one in BLOCKS if (one.page, one.language) == (CONSUME, "toml"))
    hook = tomllib.loads(told)["webhooks"]["endpoints"]["soc"]
    webhooks = WebhooksSettings.model_validate(
        {"endpoints": {"soc": {**hook, "url": f"http://127.0.0.1:{port}"}}}
    )

    async def post() -> None:
        async with httpx.AsyncClient() as client:
            endpoint = Endpoint("soc", webhooks.endpoints["soc"], webhooks, client)
            await endpoint.send(ALERT.event_id, encode(ALERT))

    stage.cues["python receive.py"] = lambda: asyncio.run(post())
    yield


@contextmanager
def dashboard(stage: Stage) -> Iterator[None]:
    rules = stage.folder / "rules" / "rules.toml"
    rules.parent.mkdir()
    shutil.copy(ROOT / "streams" / "demo" / "street.toml", rules)
    vision = stage.bed.settings.vision.model_validate({"rules": rules})
    settings = stage.bed.settings.model_copy(update={"vision": vision})
    with serving(Bed(settings, stage.folder), workers=(), days=10_000.0) as running:
        running.until_alerts(4)
        answer = running.client.get("/api/cameras/yard/rules")
        (stage.folder / "yard.json").write_bytes(answer.content)
        stage.here |= {
            "127.0.0.1:8090": running.address.removeprefix("http://"),
            '"ETAG"': answer.headers["etag"],
        }
        yield
        assert running.alert("transactions:0:7:fraud")["decision"] == "confirmed"


@contextmanager
def letters(stage: Stage) -> Iterator[None]:
    reason = "no rate for 'XXX' in fraud.rates"
    buried = [letter(number, topic="transactions", reason=reason) for number in range(18)]
    stage.bed.produce("transactions.dead", buried)
    yield
    assert (stage.folder / "original.json").read_bytes() == buried[17].value
    sent = [one for one in stage.bed.read("transactions") if one.key == b"c17"]
    assert len(sent) == 1


@contextmanager
def verdicts(stage: Stage) -> Iterator[None]:
    (stage.folder / "verdicts.csv").write_text("transactions:0:7:fraud,genuine\n")
    yield
    said = {decode_label(one.value).tx_id for one in stage.bed.read("labels")}
    assert {"tx-1", "9"} <= said


@contextmanager
def secrets(stage: Stage) -> Iterator[None]:
    stage.environment |= {
        "TOCSIN_REDIS__USERNAME": "fraud",
        "TOCSIN_REDIS__PASSWORD": "password",
    }
    for name in ("operator", "fraud"):
        (stage.folder / f"{name}.txt").write_text("a password")
    (manifest,) = (ROOT / "models" / "artifacts").glob("fraud-*.json")
    shutil.copy(manifest, stage.folder / "fraud-v3.json")
    yield
    require_signature(stage.folder / "fraud-v3.json", [stage.folder / "trusted.pub"])


@contextmanager
def weights(stage: Stage) -> Iterator[None]:
    shutil.copy(named_by("TOCSIN_YOLOX_NANO"), stage.folder / "yolox_nano.onnx")
    stage.environment["TOCSIN_MODELS__CACHE_DIR"] = str(stage.folder / "cache")
    yield
    assert (stage.folder / "cache" / "yolox_nano.onnx").is_file()


CONSUME = "docs/consume.md"
SCENES: dict[str, Callable[[Stage], AbstractContextManager[None]]] = {
    "README.md": servers,
    CONSUME: consumer,
    "docs/dashboard.md": dashboard,
    "docs/dead-letters.md": letters,
    "docs/index.md": nullcontext,
    "docs/live.md": verdicts,
    "docs/models.md": weights,
    "docs/operate.md": nullcontext,
    "docs/produce.md": producer,
    "docs/security.md": secrets,
}


def is_played(command: Command) -> bool:
    left_out = command.program in NOT_RUN_HERE or command.page in RUN_BY
    return not left_out and command.words not in ELSEWHERE


def test_every_page_with_something_to_run_is_played() -> None:
    assert {one.page for one in COMMANDS if is_played(one)} == set(SCENES)
    programs = {one.page for one in BLOCKS if one.language in {"java", "python"}}
    assert programs - set(NEVER_RUN) <= set(SCENES)


def test_every_program_is_run_by_a_command_of_its_page() -> None:
    for one in BLOCKS:
        if one.language in {"java", "python"} and one.page not in NEVER_RUN:
            lines = [command.line for command in COMMANDS if command.page == one.page]
            assert one.title
            assert any(f" {one.title} " in f"{line} " for line in lines), one.title


@pytest.mark.parametrize("page", sorted(SCENES))
def test_what_a_page_says_to_run_does_what_it_says(bed: Bed, page: str, tmp_path: Path) -> None:
    stage = Stage(tmp_path, bed)
    with SCENES[page](stage):
        for block in BLOCKS:
            if block.page != page:
                continue
            if block.title:
                (tmp_path / block.title).write_text(block.text, encoding="utf-8")
            if block.language == "console":
                for command in commands(block):
                    if is_played(command):
                        stage.play(command)


def test_the_readmes_program_reads_the_demos_broker_too(
    embedded_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    settings = load_settings(kafka={"bootstrap_servers": embedded_broker.bootstrap})
    stage = Stage(tmp_path, Bed(settings, tmp_path))
    stage.bed.create_topics(only=["alerts"])
    send(stage.bed, [ALERT])
    (program,) = (one for one in BLOCKS if one.page == "README.md" and one.title)
    (tmp_path / program.title).write_text(program.text)
    (run,) = (one for one in COMMANDS if one.page == "README.md" and program.title in one.line)
    stage.play(run)
