"""What an admin connection leaves behind."""

from __future__ import annotations

import gc
import threading

import pytest

from streams import admin
from streams.devstack.ports import free_ports
from streams.errors import BrokerError
from streams.settings import KafkaSettings


# kafka-python leaves the sockets of attempts that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_broker_that_does_not_answer_leaves_no_thread_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admin, "_CONNECT_MS", 200)
    (port,) = free_ports(1)
    before = threading.active_count()
    for _ in range(2):
        with (
            pytest.raises(BrokerError),
            admin.connect(KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}")),
        ):
            pytest.fail("nobody is there")
    gc.collect()
    assert threading.active_count() == before
