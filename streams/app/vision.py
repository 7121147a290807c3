"""Puts the vision agent together."""

from __future__ import annotations

import os

import torch

from models.vision.tracker import TrackerConfig
from streams.agents.resume import ResumeObjects
from streams.agents.vision import VisionDetector
from streams.app.agent import Agent, Patience, open_store
from streams.frame_metrics import FrameMetrics
from streams.pipeline.cameras import CameraPasts
from streams.pipeline.dead_letter import DeadLetters
from streams.pipeline.follow import Follower
from streams.pipeline.frames import FrameIntake, FrameLimits, MotionRules
from streams.pipeline.freshness import FrameRules
from streams.pipeline.lapse import Lapses
from streams.pipeline.network import load_network
from streams.pipeline.rulebooks import RuleBooks
from streams.pipeline.silence import Hearing
from streams.pipeline.tell import AlertRules, AlertTeller
from streams.pipeline.tracks import TrackTeller
from streams.settings import Settings
from streams.state.pictures import open_pictures
from streams.status import Status
from streams.topics import dead_topic

BATCHES_UNFLUSHED = 8
"""Of frames: they hold their pictures, and a flush waits for the batches under way."""

FEW_OBJECTS = (1000, 10, 10)
"""Thresholds of the garbage collector for frames: few objects, but each may hold a picture. Waiting
for 200,000 of them, a worker that skipped stale frames grew by all the bytes that it read."""


def build_vision(settings: Settings, status: Status, patience: Patience) -> Agent:
    """Construct the agent that watches cameras; see `streams.app.build.build_agent`."""
    del status  # nothing is rebuilt
    topics, vision = settings.topics, settings.vision
    threads = vision.threads or os.cpu_count() or 1
    torch.set_num_threads(1)  # the network has threads of its own
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
        rules=RuleBooks(vision.rules, network.names, metrics),
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
        serves=model,
        max_batch=vision.max_batch,
        max_unflushed=BATCHES_UNFLUSHED * vision.max_batch,
        batch_wait_s=vision.batch_wait_s,
        gc_thresholds=FEW_OBJECTS,
        resume=ResumeObjects(store, settings),
        watcher=detector,
        metrics=metrics,
    )
