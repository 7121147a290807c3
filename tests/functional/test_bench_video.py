"""The parts of the video bench that need no servers, and the command as a user runs it, small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from models.vision.images import decode
from models.vision.motion import change, thumbnail
from streams.bench.report import Throughput
from streams.bench.video.feed import due, names
from streams.bench.video.footage import Footage, film, mostly_still, read_pictures, street
from streams.bench.video.ratio import Pair, report
from streams.bench.video.run import Plan, measure
from streams.errors import SettingsError
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
