"""What an admin connection leaves behind."""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.net.transport import KafkaTCPTransport

from streams.admin import _client
from streams.devstack import EmbeddedBroker
from streams.devstack.ports import free_ports

ASK_IN_VAIN = """
import sys, threading
from streams import admin
from streams.errors import BrokerError
from streams.settings import KafkaSettings
admin._CONNECT_MS = 200
for _ in range(2):
    try:
        with admin.connect(KafkaSettings(bootstrap_servers=sys.argv[1])):
            pass
    except BrokerError:
        print(threading.active_count())
"""


def test_a_broker_that_does_not_answer_leaves_no_thread_behind() -> None:
    """In a process of its own: kafka-python leaves sockets to the garbage collector, too."""
    (port,) = free_ports(1)
    command = [sys.executable, "-c", ASK_IN_VAIN, f"127.0.0.1:{port}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


# What is left to the garbage collector is a warning, and pytest makes an error of it.
def test_a_client_that_is_closed_with_a_request_unsent_leaves_no_socket(
    embedded_broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"bootstrap_servers": embedded_broker.bootstrap}
    with _client(KafkaConsumer, **options) as consumer:
        consumer.assign([TopicPartition("nothing", 0)])
        connections = consumer._client._manager._conns
        while not (live := [one for one in connections.values() if one.connected]):
            consumer.poll(timeout_ms=100)
        monkeypatch.setattr(KafkaTCPTransport, "_sock_send", lambda _: (0, None))  # it is slow
        live[0].transport.write(b"question")
    del consumer, connections, live
    gc.collect()
