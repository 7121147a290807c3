"""A dashboard on real servers, as a browser or a program meets it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from msgspec.structs import replace

from streams.alerts.envelope import build_fraud_alert, event_id
from streams.demo.ground import STREET_RULES
from streams.devstack.ports import free_ports
from streams.schemas import Alert, ModelRef, Reason, Source, Transaction, encode
from streams.settings import Settings, load_settings
from tests.worker import TOCSIN, Bed, Produced, WorkerProcess, bed_on, environment_of

DEADLINE_S = 60.0
MODEL = ModelRef("fraud", "1", "0" * 64)


def dashboard_bed(bootstrap: str, redis_url: str, name: str, folder: Path, **dashboard: Any) -> Bed:
    """The topics that it reads, and settings of its own, with a dashboard on a free port."""
    made = bed_on(bootstrap, redis_url, name, folder)
    sections = {
        section: getattr(made.settings, section).model_dump(exclude_unset=True)
        for section in type(made.settings).model_fields
    }
    port = free_ports(1)[0]
    rules = folder / "rules" / "rules.toml"  # a folder of its own: it is replaced as a whole
    rules.parent.mkdir()
    shutil.copy(STREET_RULES, rules)
    sections["vision"]["rules"] = rules
    dashboard = {"group": f"{name}-dashboard", "port": port, "workers": (), **dashboard}
    sections["topics"]["partitions"] = 2
    settings: Settings = load_settings(**{**sections, "dashboard": dashboard})
    bed = Bed(settings, folder)
    topics = settings.topics
    bed.create_topics(only=[topics.alerts, topics.labels, topics.audit])
    return bed


def a_fraud(number: int, *, card: str = "card-1", score: float = 0.97) -> Alert:
    """An alert on transaction `number`, opened now."""
    now = round(time.time() * 1000)
    transaction = Transaction(f"tx-{number}", card, f"shop-{number % 7}", 12.5, "EUR", now - 1_000)
    alert = build_fraud_alert(
        transaction,
        source=Source("transactions", 0, number),
        score=score,
        threshold=0.8,
        model=MODEL,
        processed_at=now,
    )
    return replace(
        alert,
        reasons=[
            Reason("terminal", "its terminal had 4 frauds in 7 days", 0.41, {"frauds_7d": 4}),
            Reason("amount", "5 times what this card usually pays", 0.22, {"ratio": 5.1}),
        ],
    )


def an_object(
    number: int, revision: int = 0, *, camera: str = "yard", status: Any = "new"
) -> Alert:
    """A message on a person before a camera, now."""
    now = round(time.time() * 1000)
    name = f"frames:0:{number}:1:gate"
    return Alert(
        id=name,
        revision=revision,
        event_id=event_id(name, revision),
        kind="object",
        status=status,
        severity="medium",
        score=0.8,
        threshold=0.5,
        entity=camera,
        started_at=now - 1000,
        updated_at=now,
        ended_at=now if status == "end" else None,
        event_time=now,
        processed_at=now,
        source=Source("frames", 0, number),
        model=MODEL,
        reasons=[Reason("zone_entered", "a person entered 'gate'", 0.8)],
        detail={"camera_id": camera, "class": "person", "rule": "gate"},
    )


def send_alerts(bed: Bed, alerts: Sequence[Alert]) -> None:
    bed.produce(
        bed.settings.topics.alerts,
        [Produced(encode(alert), alert.entity.encode()) for alert in alerts],
    )


@dataclass
class Dashboard:
    """One that runs; `client` speaks to it."""

    bed: Bed
    process: WorkerProcess
    address: str
    client: httpx.Client

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until `condition` gives something true, and return that."""
        deadline = time.monotonic() + DEADLINE_S
        while not (found := condition()):
            tail = "\n".join(self.process.log[-20:])
            assert self.process.status is None, f"ended before {what}:\n{tail}"
            assert time.monotonic() < deadline, f"no {what}:\n{tail}"
            time.sleep(0.05)
        return found

    def alerts(self, entity: str | None = None, **filters: Any) -> list[dict[str, Any]]:
        """Those of a card or camera, or all."""
        wanted = {"limit": 1000, **({} if entity is None else {"entity": entity}), **filters}
        answer = self.client.post("/api/alerts/search", json=wanted)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["alerts"]
        return found

    def until_alerts(self, count: int, entity: str | None = None, **filters: Any) -> list[Any]:
        self.until(lambda: len(self.alerts(entity, **filters)) >= count, f"{count} alerts")
        found = self.alerts(entity, **filters)
        assert len(found) == count
        return found

    def alert(self, alert_id: str) -> dict[str, Any]:
        answer = self.client.get(f"/api/alerts/{alert_id}")
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


@contextmanager
def serving(bed: Bed, *, log_level: str = "INFO", **dashboard: Any) -> Iterator[Dashboard]:
    """Run `tocsin dashboard` with the bed's settings and these until the block ends."""
    settings = load_settings(
        **{
            **{s: getattr(bed.settings, s).model_dump(exclude_unset=True) for s in SECTIONS},
            "dashboard": {
                **bed.settings.dashboard.model_dump(exclude_unset=True),
                "port": free_ports(1)[0],
                **dashboard,
            },
        }
    )
    made = settings.dashboard
    environment = environment_of(settings)
    for name in ("users", "hosts", "workers", "oidc"):
        if name in made.model_fields_set:
            environment[f"TOCSIN_DASHBOARD__{name.upper()}"] = json.dumps(
                dashboard.get(name, made.model_dump()[name])
            )
    environment["TOCSIN_LOG__LEVEL"] = log_level
    log = bed.folder / f"dashboard-{made.port}.log"
    process = WorkerProcess((*TOCSIN, "dashboard"), environment, log)
    address = f"http://127.0.0.1:{made.port}"
    with process, httpx.Client(base_url=address, timeout=20) as client:
        running = Dashboard(bed, process, address, client)
        running.until(lambda: _answers(client), "answer")
        yield running
        if process.status is None:
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait() == 0, process.log[-20:]


SECTIONS = [name for name in Settings.model_fields if name != "dashboard"]


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/livez").status_code == 200
    except httpx.TransportError:
        return False
