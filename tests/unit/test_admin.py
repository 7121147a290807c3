"""What an admin connection leaves behind."""

from __future__ import annotations

import subprocess
import sys

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
