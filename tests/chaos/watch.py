"""Whether Kafka's commit is ahead of what Redis holds, asked again and again while workers run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaException, TopicPartition
from redis import Redis
from redis.exceptions import RedisError

EVERY_S = 0.2
ANSWER_S = 2.0

MOST = 20
"""Moments in which a commit was ahead that are kept: one is enough."""

SETTLES_S = 3.0
"""When Redis has gone back in time, what was stored before may still be committed for so long."""


class Watch(threading.Thread):
    """Reads a group's commits, then its markers: in that order no commit may be ahead.

    A moment in which a server does not answer does not count. Where Redis was emptied, restored
    or started anew, nothing counts for `SETTLES_S`, nor a partition whose marker is behind then
    until it has caught up; nor does one that is behind at first, of a group that begins where
    another one was.

    Attributes:
        moves: how often a commit had moved since the moment before, of those that count.
        set_back: partition, marker, and the higher one seen before, though nobody touched Redis.
        losses: how often Redis had gone back in time because somebody touched it.
    """

    def __init__(self, bootstrap: str, redis_url: str, group: str, topic: str) -> None:
        super().__init__(daemon=True)
        self._kafka_at, self._redis_at = bootstrap, redis_url
        self._group, self._topic = group, topic
        self._over = threading.Event()
        self._asides = 0
        self._is_aside = False
        self._epoch: object = None
        self._markers: dict[int, int] = {}
        self._commits: dict[int, int] = {}
        self._excused: set[int] = set()
        self._settled_at = 0.0
        self._ahead: dict[tuple[int, int, int], None] = {}
        self.set_back: list[tuple[int, int, int]] = []
        self.moves = self.losses = 0

    def run(self) -> None:
        options = {"bootstrap.servers": self._kafka_at, "group.id": self._group, "log_level": 0}
        kafka = Consumer(options)
        redis = Redis.from_url(
            self._redis_at, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S
        )
        try:
            while not self._over.wait(EVERY_S):
                self._look(kafka, redis)
        finally:
            redis.close()
            kafka.close()

    def end(self) -> None:
        """Look no more; waits for the moment that is being looked at."""
        self._over.set()
        if self.is_alive():
            self.join()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """While its keys are deleted: what is seen within does not count."""
        self._is_aside = True
        try:
            yield
        finally:
            self._asides += 1  # the next moment sees that something has happened
            self._is_aside = False

    def ahead(self) -> list[tuple[int, int, int]]:
        """Partition, commit and marker of each moment in which a commit was ahead.

        Ahead is one with a record below it and above the marker. Where Kafka itself keeps an
        offset, or retention has deleted the records, there is none.
        """
        consumer = Consumer(
            {
                "bootstrap.servers": self._kafka_at,
                "group.id": f"{self._group}-watch",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )
        try:
            return [one for one in list(self._ahead) if self._lies_between(consumer, *one)]
        finally:
            consumer.close()

    def _lies_between(self, consumer: Consumer, partition: int, commit: int, marker: int) -> bool:
        consumer.assign([TopicPartition(self._topic, partition, marker + 1)])
        message = consumer.poll(10.0)
        return message is not None and message.error() is None and message.offset() < commit

    def _look(self, kafka: Consumer, redis: Redis) -> None:
        """Look once.

        1. Ask Kafka for the commits.
        2. Ask Redis for the markers, which can only have grown since.
        3. Has Redis gone back in time, and may it have?
        4. Compare.
        """
        asides, was_aside = self._asides, self._is_aside
        try:
            # 1.
            known = kafka.list_topics(self._topic, ANSWER_S).topics[self._topic].partitions
            found = kafka.committed([TopicPartition(self._topic, p) for p in known], ANSWER_S)
            commits = {tp.partition: max(tp.offset, 0) for tp in found}
            # 2.
            markers, server = self._stored(redis, list(commits))
        except (KafkaException, RedisError):
            return
        if was_aside or self._is_aside or self._asides != asides:
            return
        # 3.
        back = {p for p, marker in markers.items() if marker < self._markers.get(p, -1)}
        behind = {p for p, commit in commits.items() if commit > markers[p] + 1}
        epoch = (server, asides)
        if self._epoch is None:
            self._excused = behind
        elif self._epoch != epoch:  # what it had acknowledged may be gone, seen by us or not
            self.losses += bool(back or behind)
            self._excused = set(commits)
            self._settled_at = time.monotonic() + SETTLES_S
        else:
            self.set_back += [(p, markers[p], self._markers[p]) for p in sorted(back)]
        if time.monotonic() > self._settled_at:
            self._excused &= behind
        # 4.
        for p in commits.keys() - self._excused:
            if p in behind and len(self._ahead) < MOST:
                self._ahead[p, commits[p], markers[p]] = None
            self.moves += commits[p] != self._commits.get(p, 0)
        self._epoch, self._markers, self._commits = epoch, markers, commits

    def _stored(self, redis: Redis, partitions: list[int]) -> tuple[dict[int, int], object]:
        """The markers, -1 for none; and of the server, at that moment, what a loss would change."""
        keys = [f"{self._group}:{{{p:04d}}}:marker:{p:04d}" for p in partitions]
        with redis.pipeline(transaction=True) as pipe:
            pipe.mget(keys)
            pipe.info("server")
            pipe.info("commandstats")
            values, server, commands = pipe.execute()
        markers = {
            p: -1 if value is None else int(value)
            for p, value in zip(partitions, values, strict=True)
        }
        flushes = commands.get("cmdstat_flushall", {}).get("calls", 0)
        return markers, (server["run_id"], flushes)
