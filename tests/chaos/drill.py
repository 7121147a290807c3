"""One exercise: a topic with its events, a state namespace, workers to hurt, and the check."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from streams.errors import RESTART
from streams.settings import KafkaSettings, RedisSettings, Settings, TopicSettings
from streams.state.redis import RedisStateStore
from streams.topics import topic_table
from tests.chaos import oracle
from tests.chaos.events import PARTITIONS, Record, Stream
from tests.chaos.table import Witness
from tests.chaos.watch import Watch
from tests.chaos.worker import REAL, SLOW, WorkerProcess, until

SESSION_S = 6
"""The shortest session that a broker grants by default."""

STATIC_SESSION_S = 60
"""A static member keeps its place while it restarts, however busy the machine is."""

MAX_BATCH = 500
PACE_S = 0.04
"""A slow worker's time over a batch: most of its life is in the middle of one."""

WATCHED_PACE_S = 0.2
"""Its time over a batch while its commits are watched."""

DRAIN_S = 60.0
FEWEST_MOVES = 4
"""Of commits that were seen while workers ran: fewer say nothing about what holds meanwhile."""


@dataclass(frozen=True, slots=True)
class Case:
    """A stream, the network that scores it, and what must come out."""

    stream: Stream
    manifest: Path
    threshold: float
    expected: oracle.Expected

    def amount(self, place: oracle.Place) -> float:
        """Of the payment at a place."""
        partition, offset = place
        return float(json.loads(self.stream.partitions[partition][offset][1] or b"")["amount"])


@dataclass(slots=True)
class Drill:
    """Topics, group and namespace of one test.

    Attributes:
        settings: ``TOCSIN_`` environment of the workers, before what the drill sets itself.
    """

    case: Case
    bootstrap: str
    redis_url: str
    topic: str
    group: str
    folder: Path
    witness: Witness
    alerts: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    workers: list[WorkerProcess] = field(default_factory=list)
    _commits: oracle.Commits | None = field(default=None, init=False)
    _watch: Watch | None = field(default=None, init=False)

    # -- topics -------------------------------------------------------------------------------
    def prepare(self, *, is_there: bool = False) -> None:
        """Make the topics and put the events on them, unless they are there already.

        Partitions that come later stay empty.
        """
        self.alerts = self.alerts or f"{self.topic}-alerts"
        self.pace(PACE_S)
        settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=self.bootstrap),
            topics=TopicSettings(
                transactions=self.topic,
                alerts=self.alerts,
                labels=f"{self.topic}-labels",
                scores=f"{self.topic}-scores",
                partitions=PARTITIONS,
            ),
        )
        specs = [
            NewTopic(spec.name, spec.partitions, config=dict(spec.config))
            for spec in topic_table(settings)
        ]
        client = AdminClient({"bootstrap.servers": self.bootstrap})
        for name, created in client.create_topics(specs).items():
            try:
                created.result(20)
            except KafkaException as error:  # a second drill on the same topics
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
                assert name != self.topic or is_there
        if is_there:
            return
        for partition, records in enumerate(self.case.stream.partitions[:PARTITIONS]):
            self.produce(partition, records)

    def produce(self, partition: int, records: Sequence[Record]) -> None:
        """Put records at the end of a partition, in their order."""
        producer = Producer(
            {"bootstrap.servers": self.bootstrap, "linger.ms": 50, "enable.idempotence": True}
        )
        for key, value in records:
            producer.produce(self.topic, value, key, partition)
            producer.poll(0)
        assert producer.flush(30) == 0

    def delete_topics(self) -> None:
        """Delete the events and their dead letters, and wait until they are gone."""
        client = AdminClient({"bootstrap.servers": self.bootstrap})
        for deleted in client.delete_topics([self.topic, f"{self.topic}.dead"]).values():
            deleted.result(20)

    # -- workers ------------------------------------------------------------------------------
    def start(
        self,
        *,
        slow: tuple[str, ...] | None = None,
        member: str = "",
        settings: Mapping[str, str] | None = None,
        apart: bool = False,
    ) -> WorkerProcess:
        """Start the real worker, or the slow one with options.

        Args:
            slow: options of the slow one.
            member: makes it a static member of the group.
            settings: ``TOCSIN_`` and other environment of this one alone.
            apart: give it a Python of its own, whose start the environment can change.
        """
        name = f"worker-{len(self.workers)}"
        log, marks = self.folder / f"{name}.log", self.folder / f"{name}.marks"
        files = ("--marks", str(marks), "--pace", str(self.folder / "pace"))
        command = REAL if slow is None else (*SLOW, *files, *slow)
        given = {**self._settings(member), **self.settings, **(settings or {})}
        worker = WorkerProcess(command, given, log, marks, apart=apart)
        self.workers.append(worker)
        if self._watch is None:
            self._watch = Watch(self.bootstrap, self.redis_url, self.group, self.topic)
            self._watch.start()
        return worker

    def standby(self, *, member: str = "") -> WorkerProcess:
        """Start a slow worker that has imported everything and joins when it is told to."""
        gate = self.folder / f"gate-{len(self.workers)}"
        worker = self.start(slow=("--start-when", str(gate)), member=member)
        worker.gate = gate
        return worker

    def pace(self, seconds: float) -> None:
        """Let slow workers take this long over a batch, from the next one on."""
        new = self.folder / "pace.new"
        new.write_text(repr(seconds))
        new.replace(self.folder / "pace")

    def full_speed(self, *, revive: bool = False) -> None:
        """Let slow workers hurry, once enough of their commits were seen to move.

        The watch counts none for a while after Redis was started anew: what is left would be done.
        `revive` starts a worker that has ended again.
        """
        assert self._watch is not None
        watch = self._watch

        def is_seen() -> bool:
            if revive:
                self.revived(slow=(), member="one")
            return watch.moves >= FEWEST_MOVES or self.lag() == 0

        if watch.moves < FEWEST_MOVES:
            self.pace(WATCHED_PACE_S)
            until(is_seen, DRAIN_S, lambda: "no end")
        self.pace(0.0)

    def _settings(self, member: str) -> dict[str, str]:
        return {
            "TOCSIN_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap,
            "TOCSIN_KAFKA__SESSION_TIMEOUT_S": str(STATIC_SESSION_S if member else SESSION_S),
            "TOCSIN_KAFKA__HEARTBEAT_INTERVAL_S": "1",
            "TOCSIN_KAFKA__REBALANCE_TIMEOUT_S": "10",
            "TOCSIN_KAFKA__GROUP_INSTANCE_ID": member,
            "TOCSIN_REDIS__URL": self.redis_url,
            "TOCSIN_TOPICS__TRANSACTIONS": self.topic,
            "TOCSIN_TOPICS__ALERTS": self.alerts,
            "TOCSIN_FRAUD__GROUP": self.group,
            "TOCSIN_FRAUD__MODEL": str(self.case.manifest),
            "TOCSIN_FRAUD__DEVICE": "cpu",
            "TOCSIN_FRAUD__THRESHOLD": repr(self.case.threshold),
            "TOCSIN_FRAUD__CAPACITY": "4096",
            "TOCSIN_LABELS__GROUP": f"{self.group}-labels",
            "TOCSIN_DELIVERY__MAX_BATCH": str(MAX_BATCH),
            "TOCSIN_DELIVERY__FLUSH_INTERVAL_S": "0.1",
            "TOCSIN_DELIVERY__COMMIT_INTERVAL_S": "0.3",
            "TOCSIN_DELIVERY__DRAIN_TIMEOUT_S": "10",
            "TOCSIN_HEALTH__PORT": "0",
        }

    def close(self) -> None:
        """End whatever still runs."""
        for worker in self.workers:
            if worker.running:
                worker.kill()
        if self._watch is not None:
            self._watch.end()
        if self._commits is not None:
            self._commits.close()

    # -- the end ------------------------------------------------------------------------------
    def commits(self) -> dict[int, int]:
        """Kafka's commit of each partition."""
        if self._commits is None:
            self._commits = oracle.Commits(self.bootstrap, self.group, self.topic)
        return self._commits.now()

    def lag(self) -> int:
        """Records that are not committed."""
        return sum(self.case.stream.ends.values()) - sum(self.commits().values())

    def revived(self, *, slow: tuple[str, ...] | None = None, member: str = "") -> bool:
        """Start another worker where the last one asked for that by its status."""
        last = self.workers[-1]
        if last.running:
            return False
        assert last.status(0) == RESTART, last.text()
        self.start(slow=slow, member=member)
        return True

    def drained(
        self, timeout_s: float = DRAIN_S, *, revive: bool = False, member: str = ""
    ) -> None:
        """Wait until everything is committed; `revive` starts a worker that ends again."""
        deadline = time.monotonic() + timeout_s
        while lag := self.lag():
            if revive:
                self.revived(member=member)
            logs = [worker.text() for worker in self.workers[-2:]]
            assert time.monotonic() < deadline, f"lag {lag} after {timeout_s} s:\n{logs}"
            time.sleep(0.2)

    def finish(self, *, member: str = "") -> WorkerProcess:
        """Let an ordinary worker do what is left, and stop it as an orchestrator would."""
        worker = self.start(member=member)
        self.drained()
        until(lambda: worker.readiness() == [], 10, lambda: f"not ready: {worker.readiness()}")
        return worker

    def finish_as_begun(self, timeout_s: float = DRAIN_S, *, successors: int = 0) -> None:
        """Let the worker that is there do what is left; check, also how many it was that ended."""
        self.full_speed(revive=successors > 0)
        self.drained(timeout_s, revive=successors > 0, member="one")
        ended = [worker.text() for worker in self.workers[:-1]]
        assert len(ended) == successors, ended
        assert self.workers[-1].terminate() == 0
        self.check()

    def observed(self) -> oracle.Observed:
        """Read back what the workers left behind, and what was seen meanwhile."""
        found = oracle.observe(
            self.case.expected,
            bootstrap=self.bootstrap,
            redis_url=self.redis_url,
            group=self.group,
            topic=self.topic,
            alerts=self.alerts,
            commits=self.commits(),
        )
        if self._watch is not None:
            found.ahead, found.set_back = self._watch.ahead(), list(self._watch.set_back)
        return found

    def report(self, observed: oracle.Observed | None = None) -> oracle.Report:
        """Compare what is there, or `observed`, with what must be there."""
        return oracle.compare(
            self.case.expected,
            observed or self.observed(),
            topic=self.topic,
            threshold=self.case.threshold,
        )

    def check(self) -> oracle.Report:
        """Fail unless everything is as if nothing had happened."""
        assert self._watch is not None
        self._watch.end()
        assert self._watch.moves >= FEWEST_MOVES, "hardly a commit was seen to move"
        # The reference was computed from what was produced: that is what the topic must hold.
        stream = self.case.stream.partitions
        for (partition, offset), value, _ in oracle.read_topic(self.bootstrap, self.topic):
            assert stream[partition][offset][1] == value
        observed = self.observed()
        report = self.report(observed)
        assert not report.problems, f"{report}\nlogs: {self.folder}"
        assert report.borderline == 0, "the threshold lies in a gap"
        self.witness.found(
            f"{sum(self.case.stream.ends.values()):,} records, {len(self.case.expected.cards):,} "
            f"cards and {len(observed.alerts) - len(report.repeated):,} alerts right, "
            f"{len(report.repeated):,} alerts repeated"
        )
        return report

    def clear_state(self) -> int:
        """Delete the namespace, as `tocsin state rebuild` does."""
        assert self._watch is not None
        store = RedisStateStore(RedisSettings(url=self.redis_url), self.group)
        try:
            with self._watch.aside():
                return store.clear()
        finally:
            store.close()
