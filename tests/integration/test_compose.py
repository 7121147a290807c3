"""The stack of docker-compose.yml without Docker: every service's command, run as it is written.

Addresses alone are other ones: what are names and ports of a network of its own there is the
loopback interface here, and volumes are folders. Kafka's settings go through the program by which
its image reads them, which the jars of the test broker hold.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from streams.devstack import ServerMissing
from streams.devstack.errors import ServerFailed
from streams.devstack.ports import free_ports
from streams.devstack.process import Server
from tests.compose import image_healthcheck, services
from tests.conftest import KAFKA_JARS, ROOT, absent

pytestmark = pytest.mark.integration

WITHIN_S = 90.0
PASSWORD = "with a space, a $HOME and a #"
SERVICES = services(REDIS_PASSWORD=PASSWORD, PAYMENTS_RATE="500")
TOCSIN = str(Path(sys.executable).with_name("tocsin"))


@dataclass(frozen=True)
class Place:
    """What stands in this machine's way of being the stack's network, and what to read instead."""

    changes: Mapping[str, str]

    def here(self, text: str) -> str:
        for there, here in self.changes.items():
            text = re.sub(there, here, text)
        return text

    def environment(self, service: Mapping[str, Any]) -> dict[str, str]:
        """The service's environment and nothing of ours but where programs are."""
        given = {name: self.here(value) for name, value in service["environment"].items()}
        return {"PATH": os.environ["PATH"], **given}


class Service(Server):
    """A server of the file, with the command, environment and health check that stand there."""

    def __init__(self, name: str, place: Place, data: Path) -> None:
        super().__init__(data)
        self.service = SERVICES[name]
        self.place = place
        self.environment = place.environment(self.service)

    def answers(self) -> bool:
        form, *check = self.service["healthcheck"]["test"]
        command = ["sh", "-c", *check] if form == "CMD-SHELL" else check
        done = subprocess.run(
            [self.place.here(word) for word in command],
            env=self.environment,
            capture_output=True,
            check=False,
        )
        return done.returncode == 0


class Kafka(Service):
    name: ClassVar[str] = "kafka"
    start_timeout_s: ClassVar[float] = WITHIN_S

    def command(self) -> list[str]:
        """As the image's start script does it: settings from the environment, then the broker."""
        java = ["java", *self.environment["KAFKA_HEAP_OPTS"].split(), "-cp", str(KAFKA_JARS / "*")]
        folders = {name: self._scratch / name for name in ("default", "mounted", "final")}
        for folder in folders.values():
            folder.mkdir(exist_ok=True)
        for file in ("server.properties", "log4j2.yaml", "tools-log4j2.yaml"):
            (folders["default"] / file).write_text("# as shipped\n")
        options = [
            word
            for name, folder in folders.items()
            for word in (f"--{name}-configs-dir", str(folder))
        ]
        done = subprocess.run(
            [*java, "kafka.docker.KafkaDockerWrapper", "setup", *options],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerFailed(f"the image cannot set Kafka up: {done.stdout}{done.stderr}")
        return [*java, "kafka.Kafka", str(folders["final"] / "server.properties")]


class Redis(Service):
    name: ClassVar[str] = "redis"

    def command(self) -> list[str]:
        """Entrypoint and command of the file, behind the environment that they read."""
        words = [*self.service["entrypoint"], *self.service["command"]]
        names = [f"{name}={value}" for name, value in self.environment.items()]
        return ["env", "-i", *names, *(self.place.here(word) for word in words)]


class Stack:
    """Kafka and Redis of the file, and the processes of its other services."""

    def __init__(self, folder: Path) -> None:
        inside, host, controller, redis = free_ports(4)
        self.folder = folder
        self.health = dict(zip(("fraud", "labels", "vision"), free_ports(3), strict=True))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.place = Place(
            {
                r"\bkafka:9092": f"127.0.0.1:{inside}",
                r"([:/])9092\b": rf"\g<1>{inside}",
                r":9093\b": f":{controller}",
                r":9094\b": f":{host}",
                r"/var/lib/kafka/data": str(folder / "kafka"),
                r"\bredis:6379": f"127.0.0.1:{redis}",
                r"\bport 6379\b": f"port {redis}",
                r"\bredis-cli\b": f"redis-cli -p {redis}",
                r"\bbind \* -::\*": "bind 127.0.0.1",
                r"\bdir /data\b": f"dir {folder / 'redis'}",
                r"/etc/tocsin/rules\.toml": str(ROOT / "streams" / "demo" / "street.toml"),
                r"/var/lib/tocsin": str(folder),
            }
        )
        self.kafka = Kafka("kafka", self.place, folder / "kafka")
        self.redis = Redis("redis", self.place, folder / "redis")

    def start(self, name: str) -> None:
        service = SERVICES[name]
        port = {"TOCSIN_HEALTH__PORT": str(self.health[name])} if name in self.health else {}
        with self.log(name).open("wb") as log:
            self.processes[name] = subprocess.Popen(
                # A shell that runs the tests in the background has them ignore SIGINT.
                ["env", "--default-signal=INT", TOCSIN, *service["command"]],
                env={**self.place.environment(service), **port},
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self, name: str) -> int:
        return self.processes[name].wait(WITHIN_S)

    def stop(self, name: str) -> int:
        """Send what the container engine would; return the exit status."""
        self.processes[name].send_signal(
            signal.Signals[SERVICES[name].get("stop_signal", "SIGTERM")]
        )
        return self.wait(name)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def healthy(self, name: str) -> bool:
        """The image's own health check, on the port that this worker has here."""
        _, *check = (word.replace("6066", str(self.health[name])) for word in image_healthcheck())
        command = [sys.executable, *check]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def metrics(self, name: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.health[name]}/metrics") as answer:
            text: str = answer.read().decode()
        return text

    def until(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not condition():
            ended = {name: done.poll() for name, done in self.processes.items() if done.poll()}
            assert not ended, {name: self.log(name).read_text()[-2000:] for name in ended}
            assert time.monotonic() < deadline, f"no {what} within {WITHIN_S} s"
            time.sleep(0.2)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    found = Stack(tmp_path)
    try:
        try:
            found.kafka.start()
            found.redis.start()
        except (ServerMissing, FileNotFoundError) as missing:
            absent(str(missing), fail=os.environ.get("TOCSIN_TEST_REQUIRE_REAL") == "1")
        yield found
    finally:
        for process in found.processes.values():
            process.kill()
            process.wait()
        found.redis.close()
        found.kafka.close()


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def test_every_service_does_its_part_as_written(stack: Stack) -> None:
    assert "redis-server" in command_line(stack.redis.pid)
    assert PASSWORD not in command_line(stack.redis.pid)

    stack.start("topics")
    assert stack.wait("topics") == 0, stack.log("topics").read_text()
    assert "differs" not in stack.log("topics").read_text()

    for name in ("fraud", "labels", "vision", "payments", "street"):
        stack.start(name)
    for name in stack.health:
        stack.until(lambda name=name: stack.healthy(name), f"healthy {name}")
    stack.until(
        lambda: re.search(r'tocsin_events_total{agent="fraud"} [1-9]', stack.metrics("fraud")),
        "payment that is scored",
    )
    stack.until(
        lambda: re.search(r'tocsin_frames_total{fate="detected"} [1-9]', stack.metrics("vision")),
        "frame that is looked at",
    )

    assert stack.stop("payments") == stack.stop("street") == 130
    assert [stack.stop(name) for name in stack.health] == [0, 0, 0]
    for name in ("fraud", "labels", "vision", "topics"):
        assert PASSWORD not in stack.log(name).read_text()
