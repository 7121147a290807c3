"""Workers are followed until they are ready: one line for each change, and only the agent's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streams.cli.follow import follow
from streams.devstack.ports import free_ports
from streams.health import HealthServer
from streams.metrics import Metrics
from streams.settings import HealthSettings
from streams.status import Status


def test_workers_are_followed_from_their_start_to_ready(capsys: pytest.CaptureFixture[str]) -> None:
    fraud, labels = Status(), Status()
    here, elsewhere, nowhere = free_ports(3)
    addresses = [f"http://127.0.0.1:{port}" for port in (here, elsewhere, nowhere)]
    server = HealthServer(HealthSettings(port=here), fraud, Metrics("fraud").registry)
    other = HealthServer(HealthSettings(port=elsewhere), labels, Metrics("labels").registry)

    def begin() -> None:
        server.__enter__()
        fraud.rebuild(0, 0, 100)

    steps: list[Callable[[], object]] = [
        other.__enter__,
        begin,
        lambda: fraud.rebuild_at(0, 43),
        lambda: None,
        lambda: fraud.rebuilt(0),
        fraud.joined,
    ]
    try:
        follow("fraud", addresses, sleep=lambda _: steps.pop(0)())
    finally:
        for one in (server, other):
            one.__exit__(None, None, None)

    assert steps == []
    assert capsys.readouterr().err.splitlines() == [
        "no fraud worker answers yet: start the agent",
        f"{addresses[0]}: rebuilding 0 %",
        f"{addresses[0]}: rebuilding 43 %",
        f"{addresses[0]}: joining the consumer group",
    ]
