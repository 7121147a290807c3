"""The stack of docker-compose.yml without Docker: every service's command, run as it is written.

Also with docker-compose.secure.yml over it: its own scripts make the certificates and passwords.

Addresses alone are other ones: what are names and ports of a network of its own there is the
loopback interface here, and volumes are folders. Kafka's settings go through the program by which
its image reads them, which the jars of the test broker hold.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml

from streams.devstack.errors import ServerFailed, ServerMissing
from streams.devstack.ports import free_ports
from streams.devstack.process import Server
from tests.compose import image_healthcheck, services
from tests.conftest import KAFKA_JARS, ROOT
from tests.fakes.mjpeg import MjpegCamera

WITHIN_S = 240.0
PASSWORD = "with a space, a $HOME and a #"
LOGIN = "user:secret"
"""What the camera on the network wants to be told."""
TOCSIN = str(Path(sys.executable).with_name("tocsin"))
WORKERS = ("fraud", "labels", "vision")
ENDPOINT = """
[webhooks.endpoints.soc]
url = "http://127.0.0.1:9/nobody-is-there"
secret = "sixteen bytes of secret"
"""
BY_HTTP = (*WORKERS, "dashboard")
"""Who has a port that says how it is."""


@dataclass(frozen=True)
class Place:
    """What stands in this machine's way of being the stack's network, and what to read instead."""

    changes: Mapping[str, str]
    services: Mapping[str, Mapping[str, Any]]
    """Of the file, or the files."""

    def of(self, name: str) -> Place:
        """The same, with what is mounted into a service at /run/tocsin."""
        mounted = [one for one in self.services[name].get("volumes", ()) if isinstance(one, dict)]
        folders = {
            one["target"]: self.here("/var/lib/tocsin/secure/") + one["volume"]["subpath"]
            for one in mounted
        }
        return replace(self, changes={**self.changes, **folders})

    def here(self, text: str) -> str:
        for there, here in self.changes.items():
            text = re.sub(there, here, text)
        return text

    def environment(self, service: Mapping[str, Any]) -> dict[str, str]:
        """The service's environment and nothing of ours but where programs are."""
        given = {name: self.here(value) for name, value in service.get("environment", {}).items()}
        return {"PATH": os.environ["PATH"], **given}


class Service(Server):
    """A server of the file, with the command, environment and health check that stand there."""

    def __init__(self, place: Place, data: Path) -> None:
        super().__init__(data)
        self.service = place.services[self.name]
        self.place = place = place.of(self.name)
        self.environment = place.environment(self.service)

    def check(self) -> list[str]:
        """The health check's command."""
        form, *check = self.service["healthcheck"]["test"]
        command = ["sh", "-c", *check] if form == "CMD-SHELL" else check
        return [self.place.here(word) for word in command]

    def answers(self) -> bool:
        done = subprocess.run(self.check(), env=self.environment, capture_output=True, check=False)
        return done.returncode == 0


class Kafka(Service):
    name: ClassVar[str] = "kafka"
    start_timeout_s: ClassVar[float] = WITHIN_S

    def command(self) -> list[str]:
        """As the image's start script does it: settings from the environment, then the broker."""
        if shutil.which("java") is None or not any(KAFKA_JARS.glob("kafka_*.jar")):
            raise ServerMissing("Apache Kafka needs Java 17 and `make kafka`")
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
        if shutil.which("redis-server") is None:
            raise ServerMissing("apt-get install redis-server")
        words = [*self.service["entrypoint"], *self.service["command"]]
        names = [f"{name}={value}" for name, value in self.environment.items()]
        return ["env", "-i", *names, *(self.place.here(word) for word in words)]


class RedisExporter(Service):
    name: ClassVar[str] = "redis-exporter"

    def __init__(self, place: Place, data: Path) -> None:
        super().__init__(place, data)
        (self.port,) = free_ports(1)

    def command(self) -> list[str]:
        if shutil.which("prometheus-redis-exporter") is None:
            raise ServerMissing("apt-get install prometheus-redis-exporter")
        names = [f"{name}={value}" for name, value in self.environment.items()]
        listen = f"-web.listen-address=127.0.0.1:{self.port}"
        return ["env", "-i", *names, "prometheus-redis-exporter", listen]

    def answers(self) -> bool:
        """Its image has no health check; here it must have reached Redis."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
                return b"\nredis_up 1\n" in answer.read()
        except OSError:
            return False


class Prometheus(Service):
    """With the repository's rules, and its scrape jobs where their targets are here."""

    name: ClassVar[str] = "prometheus"

    def __init__(self, place: Place, data: Path, targets: Mapping[str, Sequence[int]]) -> None:
        super().__init__(place, data)
        (self.port,) = free_ports(1)
        self._targets = targets

    def command(self) -> list[str]:
        if shutil.which("prometheus") is None:
            raise ServerMissing("apt-get install prometheus")
        config = yaml.safe_load((ROOT / "ops" / "prometheus" / "prometheus.yml").read_text())
        config["global"] = dict.fromkeys(config["global"], "1s")
        for job in config["scrape_configs"]:
            job.pop("dns_sd_configs", None)
            places = [f"127.0.0.1:{port}" for port in self._targets[job["job_name"]]]
            job["static_configs"] = [{"targets": places}]
        (self.data / "prometheus.yml").write_text(yaml.safe_dump(config))
        shutil.copy(ROOT / "ops" / "prometheus" / "rules.yml", self.data)
        words = [self.place.here(word) for word in self.service["command"]]
        return ["prometheus", *words, f"--web.listen-address=127.0.0.1:{self.port}"]

    def check(self) -> list[str]:
        return [word.replace(":9090", f":{self.port}") for word in super().check()]

    def ask(self, path: str, **arguments: str) -> Any:
        """What the API answers."""
        query = urllib.parse.urlencode(arguments)
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}"
        ) as answer:
            return json.load(answer)["data"]


class Stack:
    """The servers of the file, and the processes of its other services."""

    def __init__(self, folder: Path, *, secure: bool = False) -> None:
        inside, host, controller, redis, mutual = free_ports(5)
        self.folder, self.secure = folder, secure
        self.camera = MjpegCamera()
        self.camera.start()
        self.services = services(
            secure=secure,
            REDIS_PASSWORD=PASSWORD,
            PAYMENTS_RATE="500",
            CAMERAS=f"gate=http://{LOGIN}@{self.camera.place}/stream",
        )
        self.health = dict(zip(BY_HTTP, free_ports(len(BY_HTTP)), strict=True))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.place = Place(
            {
                r"\bkafka:9092": f"127.0.0.1:{inside}",
                r"([:/])9092\b": rf"\g<1>{inside}",
                r":9093\b": f":{controller}",
                r":9094\b": f":{host}",
                r"\bkafka:9095\b": f"127.0.0.1:{mutual}",
                r":9095\b": f":{mutual}",
                r"/var/lib/kafka/data": str(folder / "kafka"),
                r"\bredis:6379": f"127.0.0.1:{redis}",
                r"\bport 6379\b": f"port {redis}",
                r"\bredis-cli\b": f"redis-cli -p {redis}",
                r"\bbind \* -::\*": "bind 127.0.0.1",
                r"\bdir /data\b": f"dir {folder / 'redis'}",
                r"/var/lib/tocsin": str(folder),
                r"/etc/tocsin/secure": str(ROOT / "ops" / "secure"),
                **{rf"\b{name}:6066\b": f"127.0.0.1:{self.health[name]}" for name in WORKERS},
                r"/etc/prometheus/": f"{folder / 'prometheus'}/",
                r"=/prometheus$": f"={folder / 'prometheus'}",
            },
            self.services,
        )
        (folder / "rules").mkdir()  # as the image fills the volume
        shutil.copy(ROOT / "streams" / "demo" / "street.toml", folder / "rules" / "rules.toml")
        self.kafka = Kafka(self.place, folder / "kafka")
        self.redis = Redis(self.place, folder / "redis")
        self.exporter = RedisExporter(self.place, folder / "exporter")
        targets = {
            "tocsin": [self.health[name] for name in WORKERS],
            "redis": [self.exporter.port],
            "kafka": [],  # its exporter is not to be had without its image
        }
        self.prometheus = Prometheus(self.place, folder / "prometheus", targets)

    def __enter__(self) -> Self:
        """Start what the file starts, in its order, and return once all are healthy."""
        try:
            if self.secure:
                self.once("secrets")
                names = self.folder / "secure" / "exporter" / "passwords.json"
                names.write_text(self.place.here(names.read_text()))
            self.kafka.start()
            self.redis.start()
            for name in ("rights", "topics") if self.secure else ("topics",):
                self.once(name)
            (self.folder / "dashboard").mkdir()
            self.once("login")
            (self.folder / "tocsin.toml").write_text(ENDPOINT)
            for name in (*WORKERS, "payments", "street", "dashboard", "webhooks"):
                self.start(name)
            self.exporter.start()
            self.prometheus.start()
            for name in BY_HTTP:
                self.until(functools.partial(self.healthy, name), f"healthy {name}")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.camera.stop()
        for server in (self.prometheus, self.exporter, self.redis, self.kafka):
            server.close()

    def once(self, name: str) -> None:
        """Run a service that ends, and must end well."""
        self.start(name)
        assert self.wait(name) == 0, self.log(name).read_text()

    def start(self, name: str) -> None:
        service, place = self.services[name], self.place.of(name)
        words = [*service.get("entrypoint", [TOCSIN]), *service["command"]]
        variable = "DASHBOARD" if name == "dashboard" else "HEALTH"
        port = {f"TOCSIN_{variable}__PORT": str(self.health[name])} if name in self.health else {}
        environment = place.environment(service)
        environment["PATH"] = f"{Path(TOCSIN).parent}:{environment['PATH']}"  # as in the image
        with self.log(name).open("wb") as log:
            self.processes[name] = subprocess.Popen(
                # A shell that runs the tests in the background has them ignore SIGINT.
                ["env", "--default-signal=INT", *(place.here(word) for word in words)],
                env={**environment, **port},
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self, name: str) -> int:
        return self.processes[name].wait(WITHIN_S)

    def stop(self, name: str) -> int:
        """Send what the container engine would; return the exit status."""
        self.processes[name].send_signal(
            signal.Signals[self.services[name].get("stop_signal", "SIGTERM")]
        )
        status = self.wait(name)
        del self.processes[name]  # it was to end
        return status

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def healthy(self, name: str) -> bool:
        """Its health check, or the image's own, on the port that it has here."""
        own = self.services[name].get("healthcheck", {}).get("test", ["CMD", *image_healthcheck()])
        _, _, *check = (re.sub("6066|8090", str(self.health[name]), word) for word in own)
        command = [sys.executable, *check]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def metrics(self, name: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.health[name]}/metrics") as answer:
            text: str = answer.read().decode()
        return text

    def shell(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line of the runbook: `tocsin` as `topics`, and `redis-cli` as the server's own."""
        is_ours = line.startswith("tocsin ")
        place = self.place.of("topics") if is_ours else self.place
        mine = place.environment(self.services["topics"]) if is_ours else self.redis.environment
        path = f"{Path(sys.executable).parent}:{mine['PATH']}"
        return subprocess.run(
            place.here(line),
            shell=True,
            env={**mine, "PATH": path},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for `condition`; fail at once where a process that should run has ended."""
        deadline = time.monotonic() + WITHIN_S
        while not condition():
            ended = {name: done.poll() for name, done in self.processes.items() if done.poll()}
            assert not ended, {name: self.log(name).read_text()[-2000:] for name in ended}
            assert time.monotonic() < deadline, f"no {what} within {WITHIN_S} s"
            time.sleep(0.2)
