"""Composition root: the one place that constructs stores, networks and detectors."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from models.device import pick
from models.fraud.features import new_card_state
from models.fraud.network import load_fraud
from models.fraud.profile import new_profiles
from models.vision.tracker import TrackerConfig
from streams.agents.fraud import FraudDetector
from streams.agents.labels import LabelsDetector
from streams.agents.resume import ResumeObjects
from streams.agents.vision import VisionDetector
from streams.errors import SettingsError
from streams.frame_metrics import FrameMetrics
from streams.metrics import Metrics
from streams.pipeline.batch import CameraWatcher, Detector
from streams.pipeline.budget import Budget
from streams.pipeline.cameras import CameraPasts
from streams.pipeline.dead_letter import DeadLetters
from streams.pipeline.decide import DecisionRules
from streams.pipeline.decode import LabelRules, TransactionRules
from streams.pipeline.drift import DriftWatch
from streams.pipeline.follow import Follower
from streams.pipeline.frames import FrameIntake, FrameLimits, MotionRules
from streams.pipeline.freshness import FrameRules
from streams.pipeline.lapse import Lapses
from streams.pipeline.network import load_network
from streams.pipeline.policy import AlertBudget, AlertPolicy, FixedThreshold
from streams.pipeline.rulebooks import RuleBooks
from streams.pipeline.silence import Hearing
from streams.pipeline.tell import AlertRules, AlertTeller
from streams.pipeline.tracks import TrackTeller
from streams.schemas import ModelRef
from streams.settings import FraudSettings, Settings
from streams.state.cards import CardHistory
from streams.state.hidden import HiddenStates
from streams.state.memory import MemoryServer, MemoryStateStore
from streams.state.pictures import open_pictures
from streams.state.redis import RedisStateStore
from streams.state.store import StateStore
from streams.state.table import EntityTable
from streams.state.terminals import TerminalProfiles
from streams.status import Status
from streams.topics import dead_topic

AgentName = Literal["fraud", "labels", "vision"]
Patience = Callable[[StateStore], StateStore]
"""Wraps a store so that an outage becomes a named wait."""

FLOAT_BYTES = 4

BATCHES_UNFLUSHED = 8
"""Of frames: they hold their pictures, and a flush waits for the batches under way."""


FEW_OBJECTS = (1000, 10, 10)
"""Thresholds of the garbage collector for frames: few objects, but each may hold a picture. Waiting
for 200,000 of them, a worker that skipped stale frames grew by all the bytes that it read."""


@dataclass(frozen=True, slots=True)
class Agent:
    """What makes one agent out of the shared machinery."""

    name: AgentName
    topic: str
    group: str
    """Kafka consumer group and Redis namespace."""

    store: StateStore
    detector: Detector
    model: str
    """Identity of the weights that the state belongs to; empty for an agent without a network."""

    max_batch: int
    max_unflushed: int
    """Records that may be read and not yet flushed."""

    table: EntityTable | None = None
    """Its rows, where they are of one width."""

    batch_wait_s: float = 0.0
    gc_thresholds: tuple[int, int, int] = (200_000, 50, 1000)
    """Of the garbage collector, with everything from start-up frozen: collections during record
    creation cost a quarter."""

    resume: ResumeObjects | None = None
    """For an agent with an outbox, whose state is not rebuilt from the topic."""

    watcher: CameraWatcher | None = None
    """For an agent that follows cameras."""

    metrics: FrameMetrics | None = None

    sized: Callable[[int], object] = lambda partitions: None
    """Told the number of the topic's partitions, before anything of it is consumed."""

    observe: Callable[[Metrics], object] = lambda metrics: None
    """Has the agent publish figures of its own."""


def build_agent(
    name: AgentName, settings: Settings, status: Status, patience: Patience = lambda store: store
) -> Agent:
    """Construct an agent's store, rows and detector.

    Raises:
        ModelError: the network cannot be loaded, or the device is not there.
        SettingsError: a capacity is too small for the batches.
    """
    builders = {"fraud": _fraud, "labels": _labels, "vision": _vision}
    return builders[name](settings, status, patience)


def open_store(
    settings: Settings, group: str, *, shared: bool, server: MemoryServer | None = None
) -> StateStore:
    """Open the store of a namespace as `settings.redis` says."""
    if settings.redis.in_process:
        return MemoryStateStore(server, shared=shared)
    return RedisStateStore(settings.redis, group, shared=shared)


def _check_capacity(name: str, capacity: int, settings: Settings) -> None:
    """Refuse a table that a worker under load would fill with unflushed rows and end on."""
    least = 2 * settings.delivery.max_batch
    if capacity < least:
        raise SettingsError(
            f"{name} ({capacity}) must be at least {least}, twice delivery.max_batch: half of the "
            "rows may be unflushed, and one batch may need as many again"
        )


def _fraud(settings: Settings, status: Status, patience: Patience) -> Agent:
    _check_capacity("fraud.capacity", settings.fraud.capacity, settings)
    # 1. The network decides how wide a row is.
    device = pick(settings.fraud.device)
    network, manifest = load_fraud(settings.fraud.model)
    network = network.to(device)
    hidden = network.config.hidden
    torch.set_num_threads(1)  # one inference thread; a second core is worth more to the rest

    # 2. Rows of the cards, and the terminals' profiles as the labels agent wrote them.
    store = patience(open_store(settings, settings.fraud.group, shared=False))
    cards = EntityTable(
        store,
        capacity=settings.fraud.capacity,
        blank=new_card_state(1),
        tail_bytes=hidden * FLOAT_BYTES,
    )
    memory = HiddenStates(capacity=settings.fraud.capacity, hidden=hidden, device=device)
    terminals = TerminalProfiles(
        patience(open_store(settings, settings.labels.group, shared=True)),
        capacity=settings.fraud.profile_capacity,
        max_batch=settings.delivery.max_batch,
        large_amount=network.config.large_amount,
    )

    # 3. What is accepted, and what is decided.
    topics, fraud = settings.topics, settings.fraud
    threshold = manifest.threshold if fraud.threshold is None else fraud.threshold
    policy = _policy(fraud, store, threshold)
    drift = DriftWatch(manifest.reference, manifest.features, fraud.drift_days)
    detector = FraudDetector(
        cards=cards,
        memory=memory,
        terminals=terminals,
        network=network,
        checks=TransactionRules(
            currency=fraud.currency,
            rates=fraud.rates,
            max_amount=fraud.max_amount,
            earliest=fraud.earliest,
            max_future_ms=round(fraud.max_future_s * 1000),
        ),
        dead_letters=DeadLetters(topics.transactions, dead_topic(settings, topics.transactions)),
        rules=DecisionRules(
            model=ModelRef(manifest.name, manifest.version, manifest.sha256),
            source_topic=topics.transactions,
            alerts_topic=topics.alerts,
            scores_topic=topics.scores if fraud.publish_scores else None,
        ),
        policy=policy,
        drift=drift,
        is_rebuilding=lambda: status.is_rebuilding,
    )

    def observe_both(metrics: Metrics) -> None:
        policy.observe(metrics)
        drift.observe(metrics)

    return Agent(
        name="fraud",
        topic=topics.transactions,
        group=fraud.group,
        store=store,
        table=cards,
        detector=detector,
        model=manifest.sha256,
        max_batch=settings.delivery.max_batch,
        max_unflushed=_unflushed(cards),
        sized=policy.sized,
        observe=observe_both,
    )


def _policy(fraud: FraudSettings, store: StateStore, threshold: float) -> AlertPolicy:
    """Choose how alerts are decided.

    Raises:
        SettingsError: the settings of one policy are given with the other.
    """
    if fraud.policy == "threshold":
        if fraud.alerts_per_day is not None:
            raise SettingsError(
                f"fraud.alerts_per_day ({fraud.alerts_per_day:g}) is kept by fraud.policy budget "
                "only: set fraud.policy to budget, or leave it out"
            )
        return FixedThreshold(threshold)
    if fraud.alerts_per_day is None:
        raise SettingsError("fraud.policy is budget: say how many with fraud.alerts_per_day")
    budget = Budget(fraud.alerts_per_day, fraud.alerts_burst, fraud.alerts_floor)
    return AlertBudget(store, budget=budget, cold=threshold)


def _labels(settings: Settings, status: Status, patience: Patience) -> Agent:
    del status  # labels raise no alerts
    _check_capacity("labels.capacity", settings.labels.capacity, settings)
    topics, labels = settings.topics, settings.labels
    store = patience(open_store(settings, labels.group, shared=True))
    table = EntityTable(store, capacity=labels.capacity, blank=new_profiles(1))
    cards = patience(open_store(settings, settings.fraud.group, shared=False))
    detector = LabelsDetector(
        terminals=table,
        cards=CardHistory(cards),
        checks=LabelRules(
            horizon_days=labels.horizon_days,
            max_future_ms=round(settings.fraud.max_future_s * 1000),
        ),
        dead_letters=DeadLetters(topics.labels, dead_topic(settings, topics.labels)),
    )
    return Agent(
        name="labels",
        topic=topics.labels,
        group=labels.group,
        store=store,
        table=table,
        detector=detector,
        model="",
        max_batch=settings.delivery.max_batch,
        max_unflushed=_unflushed(table),
    )


def _unflushed(table: EntityTable) -> int:
    """Half the rows may be unflushed: the other half can be evicted for new ones."""
    return table.capacity // 2


def _vision(settings: Settings, status: Status, patience: Patience) -> Agent:
    del status  # nothing is rebuilt
    topics, vision = settings.topics, settings.vision
    threads = vision.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    # 1. The network, and what is known of it.
    tracking = TrackerConfig()
    network, model, refusal = load_network(settings, threads)

    # 2. The cameras' state, and the pictures beside it.
    store = patience(open_store(settings, vision.group, shared=False))
    pasts = CameraPasts(store, capacity=vision.cameras)
    metrics = FrameMetrics()

    # 3. What is decoded and looked at, and what is told.
    fresh = FrameRules(
        keep_all=vision.policy == "keep-all",
        max_age_ms=vision.max_age_s * 1000,
        max_fps=vision.max_fps,
    )
    follower = Follower(
        tracking=tracking,
        rules=RuleBooks(vision.rules, network.names),
        alerts=AlertTeller(
            AlertRules(
                model=model,
                threshold=tracking.high,
                source_topic=topics.frames,
                alerts_topic=topics.alerts,
                blur=vision.snapshot_blur,
                person=network.names.index("person") if "person" in network.names else None,
            ),
            open_pictures(settings),
        ),
        tracks=TrackTeller(topics.tracks, network.names) if vision.publish_tracks else None,
        hearing=Hearing(vision.silence_s),
        metrics=metrics,
    )
    detector = VisionDetector(
        intake=FrameIntake(
            limits=FrameLimits(
                max_bytes=vision.max_frame_bytes,
                max_pixels=vision.max_pixels,
                max_future_ms=round(vision.max_future_s * 1000),
                refusal=refusal,
            ),
            rules=fresh,
            motion=MotionRules(
                enabled=vision.motion_gate,
                threshold=vision.motion_threshold,
                heartbeat_ms=vision.heartbeat_s * 1000,
            ),
            size=network.size,
            threads=threads,
            past=pasts.of,
        ),
        pasts=pasts,
        lapses=Lapses(fresh),
        network=network,
        follower=follower,
        dead_letters=DeadLetters(topics.frames, dead_topic(settings, topics.frames)),
        metrics=metrics,
    )
    return Agent(
        name="vision",
        topic=topics.frames,
        group=vision.group,
        store=store,
        detector=detector,
        model=model.sha256,
        max_batch=vision.max_batch,
        max_unflushed=BATCHES_UNFLUSHED * vision.max_batch,
        batch_wait_s=vision.batch_wait_s,
        gc_thresholds=FEW_OBJECTS,
        resume=ResumeObjects(store, settings),
        watcher=detector,
        metrics=metrics,
    )


def observe(agent: Agent, metrics: Metrics) -> None:
    """Publish the counts that an agent keeps."""
    if agent.metrics is not None:
        agent.metrics.register(metrics.registry)
    table: Any = agent.table
    if table is None:
        return
    metrics.rows.set_function(lambda: len(table))
    metrics.cache_hits.set_function(lambda: table.hits)
    metrics.cache_misses.set_function(lambda: table.misses)
    metrics.evicted.set_function(lambda: table.evicted)
    metrics.strays.set_function(lambda: table.strays)
    agent.observe(metrics)
