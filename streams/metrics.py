"""A worker's metrics, in one registry that its health server publishes.

One object, made by the composition root and passed in: a test or a second worker in the same
process has its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

LATENCY_BUCKETS = tuple(round(0.001 * 1.15**step, 6) for step in range(84))
"""1 ms to 110 s in steps of 15 %: a percentile read from it is within a few percent."""

STAGE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
SIZE_BUCKETS = (1, 4, 16, 64, 256, 1024, 4096, 8192, 16384, 32768)


class Metrics:
    """Counters, gauges and histograms of one agent's worker."""

    def __init__(self, agent: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._agent = agent
        self.events = self._counter("events", "Events that the agent applied")
        self.alerts = self._counter("alerts", "Alerts acknowledged by the broker")
        self.dead_letters = self._counter("dead_letters", "Records sent to the dead-letter topic")
        self.replayed = self._counter("replayed", "Events dropped because they were applied before")
        self.failures = self._counter("batch_failures", "Batches that failed and were replayed")
        self.acknowledged = self._counter("acknowledged", "Records acknowledged after a flush")
        self.gone = self._counter(
            "gone_records", "Records that retention deleted before the agent had read them"
        )
        self.unrebuilt = self._counter(
            "unrebuilt_records", "Records that retention deleted before lost state was rebuilt"
        )
        self.strays = self._gauge("stray_events", "Events of an entity on a second partition")
        self.too_late = self._gauge("labels_too_late", "Verdicts too late to change a profile")
        self.flushed_rows = self._counter("flushed_rows", "Rows written to the store")
        self.batch_size = self._histogram("batch_size", "Records in a batch", SIZE_BUCKETS)
        self.batch_wait = self._histogram(
            "batch_wait_seconds", "From arrival of a batch's first record to its start"
        )
        self.flush_seconds = self._histogram("flush_seconds", "Snapshot, store and acknowledge")
        self.latency = Histogram(
            "tocsin_alert_latency_seconds",
            "From an event's send time to the acknowledged alert",
            ["agent"],
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        ).labels(agent)
        self.lag = Gauge(
            "tocsin_lag_records",
            "Records in the partition that are not acknowledged yet",
            ["agent", "partition"],
            registry=self.registry,
        )
        self._moved_at = Gauge(
            "tocsin_partition_progress_timestamp_seconds",
            "When the partition last moved on or had nothing to do, epoch",
            ["agent", "partition"],
            registry=self.registry,
        )
        self.rows = self._gauge("rows", "Entities held in memory")
        self.cache_hits = self._gauge("row_hits", "Events whose row was in memory")
        self.cache_misses = self._gauge("row_misses", "Rows read from the store")
        self.evicted = self._gauge("rows_evicted", "Rows evicted from memory after their flush")
        self.state_age = self._gauge("state_age_seconds", "Since all that came in was stored")
        self.threshold = self._gauge("alert_threshold", "Score from which an alert goes out now")
        self.budget = self._gauge("alert_budget_per_day", "Alerts a day promised; 0 for none")
        self.balance = self._gauge(
            "alert_budget_balance", "Alerts left over (negative: overdrawn) before the newest hour"
        )
        self.cold = self._gauge(
            "alert_budget_cold", "1 while the budget has no whole day of scores to go by"
        )
        self.precision = self._gauge(
            "live_precision", "Share of the alerts with a verdict that were fraud"
        )
        self.recall = self._gauge("live_recall", "Share of the known frauds that were alerted on")
        self.judged = self._gauge("live_judged_alerts", "Alerts with a verdict in the window")
        self.frauds = self._gauge("live_known_frauds", "Frauds known in the window")
        for unknown in (self.precision, self.recall):
            unknown.set(math.nan)
        self._object_precision = Gauge(
            "tocsin_live_object_precision",
            "Share of the object alerts with a verdict that were right, by rule",
            ["agent", "rule"],
            registry=self.registry,
        )
        self._judged_objects = Gauge(
            "tocsin_live_judged_object_alerts",
            "Object alerts with a verdict in the window, by rule",
            ["agent", "rule"],
            registry=self.registry,
        )
        self._drift = Gauge(
            "tocsin_drift_psi",
            "Population stability index against the model's reference, by input",
            ["agent", "input"],
            registry=self.registry,
        )
        self.started_at = self._gauge("first_event_timestamp_seconds", "First event, epoch")
        self.progress_at = self._gauge(
            "last_progress_timestamp_seconds", "Last acknowledgement, epoch"
        )
        self._model = Gauge(
            "tocsin_model_info",
            "1, by name, version and weights of the network that is served",
            ["agent", "name", "version", "sha256"],
            registry=self.registry,
        )
        self.ready = self._gauge("ready", "1 when the worker is ready")
        self.rebuilding = self._gauge("rebuilding", "1 while state is rebuilt from the topic")
        self._stages = Counter(
            "tocsin_stage_seconds",
            "Wall-clock time spent in each stage of the data path",
            ["agent", "stage"],
            registry=self.registry,
        )
        self._stage_cpu = Counter(
            "tocsin_stage_cpu_seconds",
            "CPU time of the stage's thread",
            ["agent", "stage"],
            registry=self.registry,
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the wall-clock and CPU time of the block to stage `name`."""
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self._stages.labels(self._agent, name).inc(time.perf_counter() - wall)
            self._stage_cpu.labels(self._agent, name).inc(time.thread_time() - cpu)

    def drift(self, name: str) -> Gauge:
        """Return the gauge of one input's drift."""
        return self._drift.labels(self._agent, name)

    def objects_judged(self, rules: Mapping[str, tuple[int, int]]) -> None:
        """Publish of each rule how many of its alerts have a verdict, and how many were right."""
        self._object_precision.clear()
        self._judged_objects.clear()
        for rule, (judged, right) in rules.items():
            self._object_precision.labels(self._agent, rule).set(right / judged)
            self._judged_objects.labels(self._agent, rule).set(judged)

    def serves(self, name: str, version: str, sha256: str) -> None:
        """Publish which network is served."""
        self._model.labels(self._agent, name, version, sha256).set(1)

    def set_lag(self, partition: int, records: int) -> None:
        """Publish the lag of one partition."""
        self.lag.labels(self._agent, str(partition)).set(records)

    def moves(self, partition: int) -> None:
        """Publish that a partition moves on, or has nothing to do."""
        self._moved_at.labels(self._agent, str(partition)).set_to_current_time()

    def forget_partition(self, partition: int) -> None:
        """Stop publishing anything of a partition that went elsewhere."""
        for gauge in (self.lag, self._moved_at):
            gauge.remove(self._agent, str(partition))

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"tocsin_{name}", text, ["agent"], registry=self.registry).labels(
            self._agent
        )

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"tocsin_{name}", text, ["agent"], registry=self.registry).labels(self._agent)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...] = STAGE_BUCKETS
    ) -> Histogram:
        return Histogram(
            f"tocsin_{name}", text, ["agent"], buckets=buckets, registry=self.registry
        ).labels(self._agent)
