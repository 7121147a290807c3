"""A recorded video of real people through Kafka and a worker, judged by its truth."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from subprocess import run

import pytest

from tests.conftest import Stack
from tests.functional.processes import clean_environment

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TOCSIN = [sys.executable, "-m", "streams.cli"]
FRAMES = 200
"""A quarter of the video, because of the time that the network takes on a loaded core."""

FLOORS = {"ap50": 0.85, "mota": 0.65, "idf1": 0.70}
"""This quarter reached 0.870, 0.678 and 0.740, the whole video more: see docs/figures.md."""


def test_people_on_a_real_camera_are_found_and_followed_and_no_frame_is_lost(
    vtest: Path, yolox_nano: Path, real_stack: Stack, tmp_path: Path
) -> None:
    environment = clean_environment(tmp_path, TOCSIN_MODELS__CACHE_DIR=str(tmp_path / "cache"))
    for command in (
        ["models", "pull", "yolox-nano", "--from", str(yolox_nano)],
        [
            *("evaluate", "video", "--weights", "yolox-nano", "--frames", str(FRAMES)),
            *("--video", str(vtest / "vtest.avi"), "--truth", str(vtest / "gt.txt")),
            *("--bootstrap", real_stack.bootstrap, "--redis", real_stack.redis_url),
            *("--report", "report.json"),
        ],
    ):
        done = run(
            [*TOCSIN, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["frames"], report["frames_lost"]) == (FRAMES, 0)
    assert {name: report[name] for name, floor in FLOORS.items() if report[name] < floor} == {}
