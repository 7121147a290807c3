"""Metrics of frames and cameras: beside `streams.metrics`, for the vision agent alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.registry import Collector

from streams.metrics import LATENCY_BUCKETS, STAGE_BUCKETS

Fate = Literal["detected", "still", "late", "stale", "too often", "rejected", "replayed"]

FATES: tuple[Fate, ...] = (
    "detected",
    "still",
    "late",
    "stale",
    "too often",
    "rejected",
    "replayed",
)


class FrameMetrics:
    """What became of frames, and how the cameras are.

    Series of a camera go when the agent forgets it; the sums over all cameras stay.
    """

    def __init__(self) -> None:
        self.frames = Counter(
            "tocsin_frames", "Frames by what became of them", ["fate"], registry=None
        )
        self.camera_frames = Counter(
            "tocsin_camera_frames",
            "Frames of a camera by what became of them",
            ["camera", "fate"],
            registry=None,
        )
        self.camera_up = Gauge(
            "tocsin_camera_up",
            "0 when the camera's reader has lost it, or nothing of it is seen",
            ["camera"],
            registry=None,
        )
        self.camera_seen = Gauge(
            "tocsin_camera_frame_timestamp_seconds",
            "Capture time of the camera's last frame, epoch",
            ["camera"],
            registry=None,
        )
        self.detect = Histogram(
            "tocsin_detect_seconds",
            "Time of a frame in the network, its share of the batch",
            buckets=STAGE_BUCKETS,
            registry=None,
        )
        self.batch = Histogram(
            "tocsin_detect_batch_size",
            "Frames that go through the network at once",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
            registry=None,
        )
        self.age = Histogram(
            "tocsin_frame_latency_seconds",
            "From a frame's capture to the end of its detection and tracking",
            buckets=LATENCY_BUCKETS,
            registry=None,
        )
        self.rules = Gauge(
            "tocsin_rules_info",
            "1, by the SHA-256 of the rules file that is in force",
            ["sha256"],
            registry=None,
        )
        self.rules_refused = Gauge(
            "tocsin_rules_refused",
            "1 while the rules file is not in force, because it cannot be read or does not parse",
            registry=None,
        )
        for fate in FATES:
            self.frames.labels(fate)

    def count(self, fates: Mapping[tuple[str | None, Fate], int]) -> None:
        """Add frames by camera, where it is known, and by what became of them."""
        for (camera, fate), frames in fates.items():
            self.frames.labels(fate).inc(frames)
            if camera is not None:
                self.camera_frames.labels(camera, fate).inc(frames)

    def seen(self, camera: str, captured_at: int, *, up: bool) -> None:
        """Note a camera's last word (ms); `up` is False for the word that it is down."""
        self.camera_up.labels(camera).set(up)
        if up:
            self.camera_seen.labels(camera).set(captured_at / 1000)

    def done(self, ages_ms: Iterable[float]) -> None:
        """Note frames that have been followed, by their age at that moment."""
        for age_ms in ages_ms:
            self.age.observe(max(age_ms, 0.0) / 1000)

    def detected(self, frames: int, seconds: float) -> None:
        """Note a batch that went through the network."""
        self.batch.observe(frames)
        for _ in range(frames):
            self.detect.observe(seconds / frames)

    def took_rules(self, sha256: str) -> None:
        """Note which rules are in force."""
        self.rules.clear()
        self.rules.labels(sha256).set(1)

    def forget(self, cameras: Iterable[str]) -> None:
        """Drop the series of cameras."""
        for camera in cameras:
            for family in (self.camera_up, self.camera_seen):
                family.remove_by_labels({"camera": camera})
            self.camera_frames.remove_by_labels({"camera": camera})

    def register(self, registry: CollectorRegistry) -> None:
        """Publish everything in a worker's registry."""
        families: tuple[Collector, ...] = (
            *(self.frames, self.camera_frames, self.camera_up),
            *(self.camera_seen, self.detect, self.batch, self.age),
            *(self.rules, self.rules_refused),
        )
        for family in families:
            registry.register(family)
