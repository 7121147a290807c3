"""What is told of cameras comes from the workers' answers, and from when these came."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from streams.dashboard.pages.cameras import rates_told
from streams.dashboard.readings import Readings
from streams.dashboard.series import figures_of
from streams.dashboard.workers import SILENT, Camera, Watched, Workers
from streams.frame_metrics import FrameMetrics
from streams.scrape import parse


def answering(detected: Sequence[tuple[float, int]], late: int = 0) -> tuple[Workers, Watched]:
    """A worker with one camera that answers at these times, so many frames of it detected."""
    workers = Workers(["http://a:1"])
    (worker,) = workers.all
    for place, (at, count) in enumerate(detected):
        metrics, registry = FrameMetrics(), CollectorRegistry()
        metrics.register(registry)
        metrics.seen("yard", round(at * 1000), up=True)
        metrics.count({("yard", "detected"): count, ("yard", "late"): late * place})
        worker.answers.append((at, parse(generate_latest(registry).decode())))
        worker.reasons = []
    return workers, worker


def camera(workers: Workers) -> Camera:
    return workers.cameras()["yard"]


def test_without_an_answer_there_is_no_camera() -> None:
    workers, _ = answering([])
    assert workers.cameras() == {}


def test_one_answer_gives_no_rate() -> None:
    workers, _ = answering([(100.0, 7)])
    assert camera(workers).rates is None


@pytest.mark.parametrize(
    "times",
    [
        [100.0, 102.0, 104.0, 106.0, 108.0, 110.0],
        [100.0, 102.1, 104.2, 109.9, 110.0, 113.7, 119.0],
        [100.0, 100.4],
    ],
)
def test_a_cameras_rate_is_right_however_irregularly_its_worker_answers(
    times: list[float],
) -> None:
    fps = 10
    known: list[tuple[float, int]] = []
    for at in times:
        known.append((at, round(fps * (at - times[0]))))
        rates = camera(answering(known)[0]).rates
        if rates is not None:
            assert rates["detected"] == pytest.approx(fps)
    assert rates is not None


def test_asked_again_before_the_next_answer_a_rate_is_the_same() -> None:
    workers, _ = answering([(100.0, 0), (102.5, 25)])
    assert camera(workers).rates == camera(workers).rates
    told = rates_told(camera(workers).rates or {})
    assert told == "10.0 fps · 0.0 dropped/s"


def test_what_is_dropped_counts_as_frames_too() -> None:
    workers, _ = answering([(100.0, 0), (102.0, 10)], late=4)
    told = rates_told(camera(workers).rates or {})
    assert told == "7.0 fps · 2.0 dropped/s"


def test_a_worker_that_was_started_again_counts_from_0() -> None:
    workers, _ = answering([(100.0, 9_000), (102.0, 9_020), (104.0, 20)])
    assert (camera(workers).rates or {})["detected"] == pytest.approx(10)


def test_a_camera_whose_worker_does_not_answer_has_no_rate() -> None:
    workers, worker = answering([(100.0, 0), (102.0, 20)])
    worker.reasons = [SILENT]
    assert camera(workers).rates is None


def test_what_a_worker_does_after_it_was_started_again_is_charted_at_once() -> None:
    worker = Watched("http://a:1")
    for at, count in enumerate((100, 200, 300, 400, 50, 150)):
        worker.answers.append((2.0 * at, parse(f"tocsin_events_total {count}.0\n")))
    (figure,) = (one for one in figures_of([Readings(worker)]) if one.name == "Throughput")
    ((_, line),) = figure.lines.items()
    assert line == [(10.0, (100 + 100 + 100 + 50 + 100) / 10)]
