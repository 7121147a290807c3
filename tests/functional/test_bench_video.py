"""The parts of the video bench that need no servers, and the command as a user runs it, small."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from models.vision.images import decode
from models.vision.motion import change, thumbnail
from streams.bench.procfs import open_files, threads
from streams.bench.report import Throughput
from streams.bench.video.churn import FPS, NAMES, ON, STAY_S, Sample, summary, visits
from streams.bench.video.feed import due, names
from streams.bench.video.footage import Footage, film, mostly_still, read_pictures, street
from streams.bench.video.gate import STEP, is_held, largest
from streams.bench.video.load import Fates, longest
from streams.bench.video.ratio import Pair, report
from streams.bench.video.run import Plan, measure
from streams.errors import SettingsError
from streams.scrape import Samples, parse
from streams.settings import Settings, VisionSettings
from tests.conftest import Stack

COMMAND = [sys.executable, "-c", "from streams.cli.main import main; main()", "bench", "video"]
PICTURES = Footage(tuple(bytes([n]) for n in range(6)), 4, 4, "simulated")


def bench(
    part: str, *arguments: str, stack: Stack, folder: Path, vision: dict[str, str] | None = None
) -> dict[str, Any]:
    """What a part of the bench reports."""
    report = folder / "report.json"
    servers = ("--bootstrap", stack.bootstrap, "--redis", stack.redis_url)
    told = {f"TOCSIN_VISION__{name}": value for name, value in (vision or {}).items()}
    done = subprocess.run(
        [*COMMAND, "--part", part, *arguments, *servers, "--report", str(report)],
        cwd=folder,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert found["pictures"] == "simulated"
    assert set(found) == {"model", "pictures", part}
    return found[part]


# -- pictures and their pace ----------------------------------------------------------------------
def test_cameras_begin_at_different_places_and_go_round() -> None:
    assert [PICTURES.of(0, 2, n)[0] for n in range(7)] == [0, 1, 2, 3, 4, 5, 0]
    assert [PICTURES.of(1, 2, n)[0] for n in range(4)] == [3, 4, 5, 0]


def test_pictures_come_back_from_their_file(tmp_path: Path) -> None:
    PICTURES.write(tmp_path / "pictures")

    assert read_pictures(tmp_path / "pictures") == list(PICTURES.pictures)


def test_the_street_is_the_same_every_time() -> None:
    footage = street(3)

    assert footage == street(3)
    assert decode(footage.pictures[0]).shape == (footage.height, footage.width, 3)
    assert len(set(footage.pictures)) == 3


def test_a_film_gives_as_many_pictures_as_asked_for_or_as_it_has(tmp_path: Path) -> None:
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for n in range(5):
        writer.write(np.full((48, 64, 3), 40 * n, np.uint8))
    writer.release()

    assert len(film(path, 3).pictures) == 3
    assert len(film(path, 99).pictures) == 5
    assert (film(path, 1).width, film(path, 1).height, film(path, 1).source) == (64, 48, "file")


def test_what_is_no_film_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no recorded video"):
        film(tmp_path, 1)


def test_a_still_scene_has_noise_that_the_motion_gate_does_not_see() -> None:
    footage = mostly_still(street(40), length=40, moves=10)

    seen = [thumbnail(decode(picture)) for picture in footage.pictures]
    threshold = VisionSettings().motion_threshold
    assert len(seen) == 40
    assert max(change(seen[0], other) for other in seen[:30]) < threshold
    assert footage.pictures[0] != footage.pictures[1]
    assert max(change(seen[0], other) for other in seen[30:]) > threshold


def test_frames_are_due_evenly_and_the_cameras_take_turns() -> None:
    assert list(due(2, 5.0, 0.3)) == [(0.0, 0, 0), (0.1, 1, 0), (0.2, 0, 1)]
    assert list(due(2, 5.0, 0.0)) == []
    assert names(2, "gate") == ["gate-000", "gate-001"]


# -- the report -----------------------------------------------------------------------------------
def run(frames_per_s: float, cpu_s: float = 1.0) -> Throughput:
    return Throughput(
        events=100, seconds=100 / frames_per_s, cpu_s=cpu_s, peak_rss_mib=100.0, alerts=7
    )


def test_the_ratio_is_the_median_of_the_pairs_ratios() -> None:
    slow_moment = Pair(run(9.0), run(10.0), 1.0)
    told = report([Pair(run(45.0), run(50.0), 0.5), slow_moment, Pair(run(60.0), run(50.0), 1.0)])

    assert told["ratio"] == pytest.approx(0.9)
    assert told["path"]["frames_per_s"] == pytest.approx(45.0)
    assert told["bare"]["frames_per_s"] == pytest.approx(50.0)
    assert told["path"]["cpu_ms_per_frame"] == pytest.approx(10.0)
    assert told["batch_fill"] == 1.0
    assert told["alerts"] == 7


def test_an_unknown_part_is_refused_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match="'speed': --part is one of ratio"):
        measure(Settings(), Plan(parts=["ratio", "speed"]), print)


# -- the search and the account --------------------------------------------------------------------
@pytest.mark.parametrize("most", [0, 1, 2, 3, 7, 8, 9, 31, 100])
@pytest.mark.parametrize("first", [1, 8])
def test_the_search_ends_within_a_step_of_what_holds(most: int, first: int) -> None:
    asked: list[int] = []

    def holds(number: int) -> bool:
        asked.append(number)
        return number <= most

    found = largest(holds, first=first, limit=64)
    assert min(most, 64) - max(1, STEP * most) < found <= most or found == min(most, 64)
    assert len(asked) == len(set(asked)) <= 9


HISTOGRAM = """
tocsin_frame_latency_seconds_bucket{le="0.1"} 2.0
tocsin_frame_latency_seconds_bucket{le="0.2"} 3.0
tocsin_frame_latency_seconds_bucket{le="0.4"} 3.0
tocsin_frame_latency_seconds_bucket{le="+Inf"} 3.0
"""


def counters(**by_camera: tuple[int, int]) -> Samples:
    """Of cameras: frames detected and stale."""
    detected, stale = (sum(pair[i] for pair in by_camera.values()) for i in (0, 1))
    lines = [f'tocsin_frames_total{{fate="{fate}"}} {count}' for fate, count in
             (("detected", detected), ("stale", stale), ("late", 0))]  # fmt: skip
    lines += [
        f'tocsin_camera_frames_total{{camera="{camera}",fate="{fate}"}} {count}'
        for camera, pair in by_camera.items()
        for fate, count in zip(("detected", "stale"), pair, strict=True)
    ]
    return parse("\n".join(lines) + HISTOGRAM)


def test_the_account_is_settled_camera_by_camera() -> None:
    good = Fates.of({"a": 3, "b": 2}, counters(a=(2, 1), b=(1, 1)))
    assert (good.produced, good.detected, good.dropped, good.still) == (5, 3, 2, 0)
    assert good.unaccounted == good.other == 0
    assert good.dropped_share == 0.4
    assert good.frame_max_ms == pytest.approx(200)

    moved = Fates.of({"a": 2, "b": 3}, counters(a=(2, 1), b=(1, 1)))
    assert moved.unaccounted == 2


def test_an_empty_histogram_has_no_longest() -> None:
    assert math.isnan(longest(Samples({}), "tocsin_frame_latency_seconds"))
    empty = "\n".join(f"{line.rsplit(' ', 1)[0]} 0" for line in HISTOGRAM.strip().splitlines())
    assert math.isnan(longest(parse(empty), "tocsin_frame_latency_seconds"))


def test_cameras_are_held_while_hardly_a_frame_is_dropped_and_all_are_in_time() -> None:
    held = Fates.of({"a": 200}, counters(a=(199, 1)))
    assert is_held(held, 200.0)
    assert not is_held(held, 100.0)
    assert not is_held(Fates.of({"a": 200}, counters(a=(190, 10))), 200.0)
    assert not is_held(Fates.of({"a": 201}, counters(a=(199, 1))), 200.0)


# -- cameras that come and go ---------------------------------------------------------------------
def test_visits_are_even_and_every_second_ends_with_a_word() -> None:
    seen = list(visits(12.0))
    frames = [visit for visit in seen if visit.number is not None]
    words = [visit for visit in seen if visit.number is None]

    assert len(frames) == 12 * ON * FPS
    assert [visit.at_s for visit in seen] == sorted(visit.at_s for visit in seen)
    begun = [visit.camera for visit in frames if visit.number == 0]
    assert len(begun) == len(set(begun)) == 12
    assert 0 < len(words) < len(begun)


def test_the_names_of_cameras_come_back() -> None:
    begun = [visit.camera for visit in visits(STAY_S * NAMES / ON * 2) if visit.number == 0]

    assert set(begun) == set(range(NAMES))
    assert NAMES < len(begun) <= 2 * NAMES


def test_the_halves_after_the_warm_up_are_compared() -> None:
    told = summary([Sample(s, 100 + max(0, s - 60), 10, 5, min(s, 40)) for s in range(101)])

    assert told["rss_mib"]["first_half"] == 100.0
    assert told["rss_mib"]["second_half"] == 125.0
    assert told["flat"] is False
    assert told["redis_keys"] == {"first_half": 40, "second_half": 40, "most": 40}
    assert summary([Sample(s, 100.0, 10, 5, 7) for s in range(9)])["flat"] is True


def test_threads_and_files_of_a_process_are_counted() -> None:
    before = threads(os.getpid()), open_files(os.getpid())
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    with Path(os.devnull).open():
        thread.start()
        during = threads(os.getpid()), open_files(os.getpid())
        done.set()
        thread.join()
    assert during == (before[0] + 1, before[1] + 1)


# -- the command ----------------------------------------------------------------------------------
@pytest.mark.slow
def test_the_path_is_put_beside_a_bare_loop_over_the_same_frames(
    real_stack: Stack, tmp_path: Path
) -> None:
    found = bench("ratio", "--frames", "64", "--runs", "1", stack=real_stack, folder=tmp_path)

    assert found["ratio"] == found["ratios"][0] > 0
    for system in ("path", "bare"):
        one = found[system]
        assert one["frames"] == 64
        assert one["frames_per_s"] > 0
        assert one["cpu_ms_per_frame"] > 0
        assert one["peak_rss_mib"] > 100
    assert 0 < found["batch_fill"] <= 1


@pytest.mark.long
def test_cameras_before_a_still_scene_are_counted_with_the_gate_and_without(
    real_stack: Stack, tmp_path: Path
) -> None:
    arguments = ("--seconds", "3", "--cameras", "2")
    told = {"MAX_AGE_S": "30"}  # two cameras are not too many, however slow the machine is
    found = bench("gate", *arguments, stack=real_stack, folder=tmp_path, vision=told)

    for gate in ("on", "off"):
        held, fates = found[gate]["cameras"], found[gate]["fates"]
        assert 1 <= held <= 2, found
        assert found[gate]["tried"][str(held)] is True
        assert fates["produced"] == 30 * held
        assert fates["produced"] == fates["detected"] + fates["still"] + fates["dropped"]
        assert fates["detected"] > 0
        assert found[gate]["worker_cores"] > 0
    # Nothing moves in these three seconds: the network sees what the heartbeat shows it.
    assert found["on"]["fates"]["still"] > 5 * found["on"]["fates"]["detected"]
    assert found["off"]["fates"]["still"] == 0


@pytest.mark.long
def test_latency_is_told_with_what_became_of_every_frame(real_stack: Stack, tmp_path: Path) -> None:
    found = bench("latency", "--seconds", "4", stack=real_stack, folder=tmp_path)

    fates = found["fates"]
    assert fates["produced"] == 80 == fates["detected"] + fates["still"] + fates["dropped"]
    assert fates["other"] == fates["unaccounted"] == 0
    assert found["frame_ms"]["p50"] <= found["frame_ms"]["p99"] <= found["frame_ms"]["max"]
    assert found["worker_cores"] > 0


@pytest.mark.long
def test_under_twice_the_load_the_counters_equal_what_is_missing(
    real_stack: Stack, tmp_path: Path
) -> None:
    arguments = ("--frames", "64", "--seconds", "6")
    found = bench("overload", *arguments, stack=real_stack, folder=tmp_path)

    fates = found["fates"]
    assert fates["produced"] == fates["detected"] + fates["dropped"]
    assert fates["detected"] > 0
    assert fates["other"] == fates["unaccounted"] == 0
    assert found["offered_fps"] == pytest.approx(2 * found["capacity_fps"], rel=0.1)


@pytest.mark.long
def test_memory_is_told_by_halves_while_cameras_come_and_go(
    real_stack: Stack, tmp_path: Path
) -> None:
    found = bench("memory", "--minutes", "0.3", stack=real_stack, folder=tmp_path)

    assert found["cameras_came"] >= 16
    assert found["frames"] == 288
    assert found["unaccounted"] == 0
    assert found["detected"] > 0
    rss = found["rss_mib"]
    assert 100 < rss["first_half"] <= rss["peak"]  # nothing with torch takes less
    assert rss["second_half"] == pytest.approx(rss["end"], rel=0.2)
    assert found["threads"]["second_half"] > 8  # its pools and its servers
    assert found["files"]["second_half"] > 8
    # Each camera that came has a row; beside them are partitions' values and pictures.
    assert found["cameras_came"] <= found["redis_keys"]["most"] < 1000
    assert found["redis_keys"]["first_half"] < found["redis_keys"]["second_half"]
