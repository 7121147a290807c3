"""Reaching a Kafka that is away leaves the event loop to others."""

from __future__ import annotations

import ast
import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streams import connection
from streams.connection import start_producer
from streams.dashboard.payments import CardPayments
from streams.errors import BrokerError
from streams.settings import KafkaSettings, Settings
from streams.webhooks.forward import Forwarder
from tests.unit.test_webhooks_forward import HOOK, Taking

ROOT = Path(__file__).parents[2] / "streams"
BLOCKING = {"broker_errors", "as_broker_error", "knock"}
"""What may try a port, and waits for what comes of it."""

NOWHERE = {"kafka": {"bootstrap_servers": "127.0.0.1:1"}}
KNOCKED_S = 0.5


async def produce(settings: Settings) -> None:
    await start_producer(settings.kafka)


async def forward(settings: Settings) -> None:
    endpoint: Any = Taking()
    await Forwarder(settings, endpoint, None)._forward()


async def read_payments(settings: Settings) -> None:
    async with CardPayments(settings)._consumer():
        pass


@pytest.mark.parametrize("use", [produce, forward, read_payments])
def test_the_loop_goes_on_while_a_port_is_tried(
    use: Callable[[Settings], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that drops packets takes two seconds of each try."""

    def knock(_: KafkaSettings) -> Exception:
        time.sleep(KNOCKED_S)
        return ConnectionRefusedError("no")

    monkeypatch.setattr(connection, "knock", knock)
    settings = Settings.model_validate({**NOWHERE, "webhooks": {"endpoints": {"soc": HOOK}}})

    async def run() -> float:
        stood_still, before = 0.0, time.monotonic()

        async def watch() -> None:
            nonlocal stood_still, before
            while True:
                await asyncio.sleep(0.01)
                stood_still = max(stood_still, time.monotonic() - before)
                before = time.monotonic()

        watching = asyncio.ensure_future(watch())
        with pytest.raises(BrokerError, match="cannot be reached"):
            await use(settings)
        await asyncio.sleep(0.05)
        watching.cancel()
        return stood_still

    assert asyncio.run(run()) < KNOCKED_S / 2


def test_no_coroutine_waits_for_a_broker_in_its_event_loop() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in ROOT.rglob("*.py")
        for call in _calls_in_coroutines(ast.parse(path.read_text()), is_async=False)
        if isinstance(call.func, ast.Name) and call.func.id in BLOCKING
    ]
    assert found == []


def _calls_in_coroutines(node: ast.AST, *, is_async: bool) -> Iterator[ast.Call]:
    """Calls whose nearest function is a coroutine; one within it may run on a thread."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call) and is_async:
            yield child
        inside = isinstance(child, ast.AsyncFunctionDef) or (
            is_async and not isinstance(child, (ast.FunctionDef, ast.Lambda))
        )
        yield from _calls_in_coroutines(child, is_async=inside)
