"""The real broker for tests: Apache Kafka on the system's Java, one KRaft node."""

from __future__ import annotations

import base64
import shutil
import subprocess  # nosec B404
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from streams.devstack.errors import ServerFailed, ServerMissing
from streams.devstack.ports import HOST, free_ports
from streams.devstack.probe import registered_brokers
from streams.devstack.process import Server

JAVA = (
    "-Xms256m",
    "-Xmx512m",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)


class KafkaBroker(Server):
    """Apache Kafka; port and data stay the same from start to start, also after a kill.

    Args:
        jars: directory that `make kafka` fills.
        properties: broker settings that override the ones here, for example
            ``{"message.max.bytes": "16777216"}``.
        data: directory for the log segments, kept afterwards; a temporary one if None.

    Attributes:
        bootstrap: ``host:port`` for clients.
    """

    name: ClassVar[str] = "kafka"
    start_timeout_s: ClassVar[float] = 90.0  # a second when alone, much more on a busy machine

    def __init__(
        self,
        jars: Path,
        properties: Mapping[str, str] | None = None,
        data: Path | None = None,
    ) -> None:
        super().__init__(data)
        self._jars = jars
        self._port, controller = free_ports(2)
        self.bootstrap = f"{HOST}:{self._port}"
        self._properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "log.dirs": str(self.data),
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",  # the default makes every join wait 3 s
            # A broker that was killed may not come back before its old session has expired: 9 s.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "offsets.topic.num.partitions": "4",  # 50 by default: seconds at start and at stop
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            **(properties or {}),
        }

    def command(self) -> list[str]:
        """Write the configuration, format a new data directory, return the command line.

        Raises:
            ServerMissing: no Java, or no jars in the directory.
            ServerFailed: the data directory cannot be formatted.
        """
        java = [*self._java(), *JAVA, "-cp", str(self._jars / "*")]
        config = self._scratch / "server.properties"
        config.write_text("".join(f"{key}={self._properties[key]}\n" for key in self._properties))
        if not (self.data / "meta.properties").exists():
            tool = ["kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", str(config)]
            done = subprocess.run(  # nosec B603 # the command is ours
                [*java, *tool], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise ServerFailed(f"kafka cannot format {self.data}: {done.stderr or done.stdout}")
        return [*java, "kafka.Kafka", str(config)]

    def answers(self) -> bool:
        """Whether the broker has joined its own cluster, so takes requests."""
        try:
            return registered_brokers(HOST, self._port) > 0
        except OSError:
            return False

    def _java(self) -> list[str]:
        java = shutil.which("java")
        if java is None:
            raise ServerMissing(
                "java is not on PATH: apt-get install openjdk-17-jre-headless (17 or later)"
            )
        if not any(self._jars.glob("kafka_*.jar")):
            raise ServerMissing(f"no Apache Kafka in {self._jars}: run `make kafka`")
        return [java]


def _cluster_id() -> str:
    """Return a random id as Kafka writes it: base64 of 16 bytes, 22 characters.

    A leading dash would read as an option of the tool.
    """
    raw = b"\0" + uuid.uuid4().bytes[1:]
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
