"""Free TCP ports on the loopback interface."""

import random
import socket
from contextlib import ExitStack

HOST = "127.0.0.1"

# Below the range that the kernel hands to outgoing connections (from 32768 on). A port out of that
# range can be taken while its server is down for a restart, even by a client that keeps trying to
# reach it: such a client may connect to itself.
FIRST, LAST = 15_000, 32_000


def free_ports(count: int) -> list[int]:
    """Return `count` different ports that nobody listens on at the moment.

    Raises:
        OSError: no free port after many tries.
    """
    ports: list[int] = []
    with ExitStack() as held:  # all at once, else two of them could be the same
        for _ in range(1_000):
            if len(ports) == count:
                return ports
            candidate = held.enter_context(socket.socket())
            try:
                candidate.bind((HOST, random.randint(FIRST, LAST)))  # nosec B311 # guards nothing
            except OSError:
                continue
            ports.append(candidate.getsockname()[1])
    raise OSError(f"no {count} free ports between {FIRST} and {LAST}")
