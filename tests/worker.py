"""A real worker as a child process, the topics around it, and what comes out of them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import SecretStr

from streams.admin import connect
from streams.connection import start_producer
from streams.reading import read_topic
from streams.settings import Settings, load_settings
from streams.topics import NAMED, topic_table
from tests.nursery import Child, nursery

DEADLINE_S = 60.0
POLL_S = 0.05

TOCSIN = (sys.executable, "-c", "from streams.cli.main import main; main()")
READY: list[str] = []


@dataclass
class Bed:
    """Settings of one namespace and the topics in it, on servers that somebody else runs."""

    settings: Settings
    folder: Path
    workers: list[WorkerProcess] = field(default_factory=list)

    def create_topics(self, *, only: Sequence[str] = (), **config: str) -> None:
        """Create every topic, or `only` some; `config` overrides settings, ``_`` for the dot."""
        changes = {name.replace("_", "."): value for name, value in config.items()}
        specs = [
            replace(spec, config={**spec.config, **changes})
            for spec in topic_table(self.settings)
            if not only or spec.name in only
        ]
        with connect(self.settings.kafka) as cluster:
            cluster.ensure(specs)

    def produce(self, topic: str, records: Sequence[Produced]) -> None:
        _run(self._produce(topic, records))

    async def _produce(self, topic: str, records: Sequence[Produced]) -> None:
        producer = await start_producer(self.settings.kafka)
        try:
            sent = [
                await producer.send(
                    topic, record.value, record.key, record.partition, headers=record.headers
                )
                for record in records
            ]
            for future in sent:
                await future
        finally:
            await producer.stop()

    def read(self, topic: str) -> list[Any]:
        """All records of `topic`, in order by partition."""

        async def read() -> list[Any]:
            batches = read_topic(self.settings.kafka, topic, from_beginning=True, follow=False)
            return [record async for batch in batches for record in batch]

        return list(_run(read()))

    def lag(self, group: str, topic: str) -> int:
        with connect(self.settings.kafka) as cluster:
            return cluster.lag(group, topic)

    def ends(self, topic: str) -> dict[int, int]:
        with connect(self.settings.kafka) as cluster:
            return cluster.ends(topic)

    def worker(
        self, name: str = "fraud", *, command: Sequence[str] = (), **environment: str
    ) -> WorkerProcess:
        """Make a worker, `command` in place of `tocsin worker NAME`; it is not started yet."""
        log = self.folder / f"{name}-{len(self.workers)}.log"
        given = {**environment_of(self.settings), **environment}
        worker = WorkerProcess(command or (*TOCSIN, "worker", name), given, log)
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run it on a loop of its own: a browser that is driven from this thread has one already."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@dataclass(frozen=True)
class Produced:
    """A record to produce."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None


def bed_on(bootstrap: str, redis_url: str, name: str, folder: Path, **fraud: Any) -> Bed:
    """A bed whose topics, groups and namespaces all begin with `name`."""
    settings = load_settings(
        kafka={
            "bootstrap_servers": bootstrap,
            "session_timeout_s": 6.0,  # the least that Apache Kafka accepts
            "heartbeat_interval_s": 1.0,
            "rebalance_timeout_s": 3.0,  # the embedded broker lets a group wait for half of it
        },
        redis={"url": redis_url, "timeout_s": 2.0},
        topics={topic: f"{name}-{topic}" for topic in NAMED},
        fraud={"group": f"{name}-fraud", "device": "cpu", **fraud},
        labels={"group": f"{name}-labels"},
        vision={"group": f"{name}-vision"},
        health={"port": 0},
    )
    return Bed(settings, folder)


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment that says what `settings` say."""
    found: dict[str, str] = {}
    for section in type(settings).model_fields:
        value = getattr(settings, section)
        for name in value.model_fields_set:
            given = getattr(value, name)
            if given is None:  # as if it were not set at all
                continue
            if isinstance(given, tuple | dict):
                text = json.dumps(given, default=str)
            else:
                text = given.get_secret_value() if isinstance(given, SecretStr) else str(given)
            found[f"TOCSIN_{section}__{name}".upper()] = text
    return found


class WorkerProcess:
    """One worker; a context manager that kills what is left of it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._command, self._environment, self._log = command, environment, log
        self._process: Child | None = None

    def start(self) -> Self:
        ours = {key: value for key, value in os.environ.items() if not key.startswith("TOCSIN_")}
        given = {**ours, **self._environment}
        self._process = nursery().start(self._command, given, cwd=self._log.parent, log=self._log)
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> list[str]:
        return self._log.read_text(errors="replace").splitlines()

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def stop(self) -> int:
        """SIGTERM; return the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(DEADLINE_S)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def wait(self) -> int:
        """Wait until it ends by itself; return the exit status."""
        assert self._process is not None
        return self._process.wait(DEADLINE_S)

    # -- what it says ---------------------------------------------------------------------------
    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a path of the health server; (0, "") while nobody answers."""
        found = re.search(r"http://(127\.0\.0\.1:\d+)", "\n".join(self.log))
        if found is None:
            return 0, ""
        try:
            with urllib.request.urlopen(f"http://{found[1]}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def reasons(self) -> list[str]:
        """Why it is not ready."""
        code, body = self.get("/readyz")
        return list(json.loads(body)["reasons"]) if code else ["no answer"]

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = self.get("/metrics")[1].splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{"))

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until `condition` holds; fail with the log when it does not, or the worker ends."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            state = f"status {self.status}, reasons {self.reasons()}"
            tail = "\n".join(self.log[-30:])
            assert self.status is None, f"ended before {what}: {state}\n{tail}"
            assert time.monotonic() < deadline, f"no {what}: {state}\n{tail}"
            time.sleep(POLL_S)

    def until_ready(self) -> None:
        self.until(lambda: self.reasons() == READY, "readiness")

    def until_reason(self, pattern: str) -> None:
        """Wait until one of the reasons matches `pattern`."""
        self.until(
            lambda: any(re.search(pattern, reason) for reason in self.reasons()),
            f"reason {pattern!r}",
        )


def headers_of(record: Any) -> dict[str, bytes | None]:
    """Headers of an aiokafka record; no name may repeat."""
    found = dict(record.headers)
    assert len(found) == len(record.headers)
    return found
