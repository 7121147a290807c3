"""Counts of frames: sums stay, the series of a camera go with it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from streams.frame_metrics import FATES, FrameMetrics
from streams.scrape import parse


def test_every_fate_is_there_from_the_start() -> None:
    metrics, registry = FrameMetrics(), CollectorRegistry()
    metrics.register(registry)
    samples = parse(generate_latest(registry).decode())
    for fate in FATES:
        assert (("tocsin_frames_total", frozenset({("fate", fate)}))) in samples.values


def test_a_camera_that_is_forgotten_leaves_the_sums() -> None:
    metrics, registry = FrameMetrics(), CollectorRegistry()
    metrics.register(registry)
    for camera in ("gate", "door"):
        metrics.count({(camera, "detected"): 1, (camera, "stale"): 1})
        metrics.seen(camera, 1_700_000_000_000, up=True)
    metrics.forget(["gate", "nobody"])
    metrics.forget(["gate"])
    text = generate_latest(registry).decode()
    assert 'camera="gate"' not in text
    samples = parse(text)
    assert samples.get("tocsin_frames_total", fate="detected") == 2
    assert samples.get("tocsin_camera_frames_total", camera="door") == 2
    assert samples.get("tocsin_camera_up", camera="door") == 1


def test_a_batch_shares_its_time_among_its_frames() -> None:
    metrics, registry = FrameMetrics(), CollectorRegistry()
    metrics.register(registry)
    metrics.detected(4, 0.1)
    samples = parse(generate_latest(registry).decode())
    assert samples.get("tocsin_detect_seconds_count") == 4
    assert round(samples.get("tocsin_detect_seconds_sum"), 6) == 0.1


def test_a_frame_is_as_old_as_its_capture_and_never_from_the_future() -> None:
    metrics, registry = FrameMetrics(), CollectorRegistry()
    metrics.register(registry)
    metrics.done([250.0, -750.0])
    samples = parse(generate_latest(registry).decode())
    assert samples.get("tocsin_frame_latency_seconds_count") == 2
    assert samples.get("tocsin_frame_latency_seconds_sum") == 0.25
