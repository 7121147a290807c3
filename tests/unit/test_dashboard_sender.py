"""A record that Kafka does not take holds nobody up for longer than it says."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from streams.dashboard import sender as sender_module
from streams.dashboard.sender import Sender
from streams.errors import BrokerError
from streams.settings import KafkaSettings

RECORD = [(b"k", b"v")]


@pytest.fixture
def hanging() -> Iterator[KafkaSettings]:
    """A broker that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield KafkaSettings(bootstrap_servers=f"127.0.0.1:{listener.getsockname()[1]}")


def test_a_broker_that_says_nothing_is_given_up_in_time_for_all_who_wait(
    hanging: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "WITHIN_S", 0.3)
    sender = Sender(hanging)

    async def use() -> list[BaseException | None]:
        both = asyncio.gather(
            *(sender.send("audit", RECORD) for _ in range(2)), return_exceptions=True
        )
        return await asyncio.wait_for(both, 5)

    began = time.monotonic()
    for error in asyncio.run(use()):
        assert isinstance(error, BrokerError)
        assert "does not answer in time: nothing was sent" in str(error)
    assert time.monotonic() - began < 3


def test_who_closes_waits_for_a_second_and_not_for_the_broker(hanging: KafkaSettings) -> None:
    sender = Sender(hanging)

    async def use() -> float:
        sending = asyncio.ensure_future(sender.send("audit", RECORD))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await asyncio.wait_for(sender.close(), 5)
        with pytest.raises(BrokerError):
            await asyncio.wait_for(sending, 0.1)
        return time.monotonic() - began

    assert asyncio.run(use()) < 3


def test_closing_what_never_sent_anything_is_nothing() -> None:
    asyncio.run(Sender(KafkaSettings()).close())
