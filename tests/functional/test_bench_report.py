"""The arithmetic of the figures."""

from __future__ import annotations

import os
import time

import pytest

from streams.bench.memory import Course
from streams.bench.procfs import cpu_s, peak_rss_mib, rss_mib
from streams.bench.report import Throughput, summary


def run(seconds: float, **more: float) -> Throughput:
    return Throughput(
        events=1000,
        seconds=seconds,
        cpu_s=more.get("cpu_s", 1.0),
        peak_rss_mib=100.0,
        alerts=3,
        stages_us={"prepare": more.get("prepare", 1.0)},
        stages_wall_us={"prepare": 2.0},
    )


def test_a_rate_is_events_by_seconds_and_cpu_time_is_told_by_the_million() -> None:
    one = run(0.5, cpu_s=0.25)

    assert one.events_per_s == 2000
    assert one.cpu_s_per_million == 250


def test_a_summary_takes_medians_and_keeps_every_rate() -> None:
    told = summary([run(1.0, prepare=5.0), run(0.5, prepare=1.0), run(0.1, prepare=2.0)])

    assert told["events_per_s"] == 2000
    assert told["runs"] == [1000, 2000, 10_000]
    assert told["stages_us"] == {"prepare": 2.0}


def test_memory_that_grows_after_the_warm_up_has_a_slope_and_growth_before_it_does_not_count() -> (
    None
):
    flat = Course.of([(t, 100.0 + 10 * min(t, 30)) for t in range(100)])
    growing = Course.of([(t, 100.0 + t / 60) for t in range(100)])

    assert flat.slope_mib_per_min == pytest.approx(0.0, abs=1e-6)
    assert (flat.start, flat.end, flat.peak) == (100.0, 400.0, 400.0)
    assert growing.slope_mib_per_min == pytest.approx(1.0)


def test_proc_tells_cpu_time_and_memory_of_a_process() -> None:
    before, until = cpu_s(os.getpid()), time.process_time() + 0.05
    while time.process_time() < until:
        pass

    assert cpu_s(os.getpid()) > before
    assert 1 < rss_mib(os.getpid()) <= peak_rss_mib(os.getpid())
