"""`tocsin produce video` from cameras that stream over a network, go away and come back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.vision.images import decode
from streams.devstack import EmbeddedBroker
from streams.devstack.ports import free_ports
from streams.frames import FrameHeaders, parse_headers
from tests.conftest import ROOT, absent
from tests.fakes.blobs import HEIGHT, WIDTH
from tests.fakes.mjpeg import MjpegCamera
from tests.functional.processes import clean_environment
from tests.worker import Bed, bed_on

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DEADLINE_S = 60.0
SYSTEM_PYTHON = "/usr/bin/python3"
"""Which has GStreamer's bindings where they are installed."""


class Reader:
    """The command on its way, and what it has sent."""

    def __init__(self, bed: Bed, process: subprocess.Popen[bytes], log: Path) -> None:
        self._bed, self._process, self._log = bed, process, log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def sent(self) -> list[FrameHeaders]:
        """Headers of all records so far; each that should have a picture has one."""
        found = []
        for record in self._bed.read(self._bed.settings.topics.frames):
            headers = parse_headers(record.key, record.headers)
            if headers.state != "down":
                assert decode(record.value).shape == (HEIGHT, WIDTH, 3)
            else:
                assert record.value is None
            found.append(headers)
        return found

    def story(self) -> list[str]:
        """``up`` and ``down``, as they follow each other."""
        states = [headers.state or "up" for headers in self.sent()]
        return [s for i, s in enumerate(states) if i == 0 or s != states[i - 1]]

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, f"{self.story()}\n{self.log}"
            time.sleep(0.3)


@pytest.fixture
def bed(embedded_broker: EmbeddedBroker, namespace: str, tmp_path: Path) -> Bed:
    made = bed_on(embedded_broker.bootstrap, "memory://", namespace, tmp_path)
    made.create_topics()
    return made


class RtspCamera:
    """GStreamer's server, which keeps its port when it is stopped and started again."""

    def __init__(self) -> None:
        (port,) = free_ports(1)
        self._command = [SYSTEM_PYTHON, str(ROOT / "tests" / "fakes" / "rtsp_server.py"), str(port)]
        self._process: subprocess.Popen[str] | None = None
        self.address = f"rtsp://127.0.0.1:{port}/yard"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture
def rtsp() -> Iterator[RtspCamera]:
    found = subprocess.run(
        [SYSTEM_PYTHON, "-c", 'import gi; gi.require_version("GstRtspServer", "1.0")'],
        capture_output=True,
        check=False,
    )
    if found.returncode:
        absent(
            f"{SYSTEM_PYTHON} has no GStreamer RTSP server: apt install "
            "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-{good,bad} python3-gi",
            fail=os.environ.get("TOCSIN_TEST_REQUIRE_REAL") == "1",
        )
    camera = RtspCamera()
    camera.start()
    yield camera
    camera.stop()


@contextmanager
def reading(bed: Bed, address: str) -> Iterator[Reader]:
    environment = clean_environment(
        bed.folder,
        TOCSIN_KAFKA__BOOTSTRAP_SERVERS=bed.settings.kafka.bootstrap_servers,
        TOCSIN_TOPICS__FRAMES=bed.settings.topics.frames,
    )
    command = [sys.executable, "-m", "streams.cli", "produce", "video", "--camera"]
    path = bed.folder / "reader.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [*command, f"gate={address}"], stdout=log, stderr=log, cwd=bed.folder, env=environment
        )
        try:
            yield Reader(bed, process, path)
        finally:
            process.kill()
            process.wait()


def test_a_camera_over_http_goes_away_and_comes_back(bed: Bed) -> None:
    with MjpegCamera() as camera:
        place = camera.place
        with reading(bed, f"http://user:secret@{place}/stream") as reader:
            reader.until(lambda: len(reader.sent()) > 3)
            camera.stop()
            reader.until(lambda: reader.story() == ["up", "down"])
            time.sleep(2)  # some attempts, each later
            camera.start()
            reader.until(lambda: reader.story() == ["up", "down", "up"])
            camera.hang.set()  # it holds the connection, and sends nothing
            reader.until(lambda: reader.story()[3:] == ["down"])
            camera.hang.clear()
            reader.until(lambda: reader.story()[4:] == ["up"])
            sent, log = reader.sent(), reader.log

    numbers = [headers.seq or 0 for headers in sent if headers.state != "down"]
    assert numbers == sorted(set(numbers))  # a live camera's oldest may give way to newer ones
    assert {(h.camera_id, h.source) for h in sent} == {("gate", "stream")}
    assert [h.captured_at for h in sent] == sorted(h.captured_at for h in sent)
    assert (
        f"camera gate: down: http://***@{place}/stream gives no more pictures: again in 0.5" in log
    )
    assert f"cannot open http://***@{place}/stream: again in 1 s" in log
    assert "camera gate: up again after" in log
    assert "secret" not in log


def test_a_camera_over_rtsp_goes_away_and_comes_back(bed: Bed, rtsp: RtspCamera) -> None:
    with reading(bed, rtsp.address) as reader:
        reader.until(lambda: len(reader.sent()) > 3)
        rtsp.stop()
        reader.until(lambda: reader.story() == ["up", "down"])
        rtsp.start()
        reader.until(lambda: reader.story() == ["up", "down", "up"])
        sent, log = reader.sent(), reader.log

    numbers = [headers.seq or 0 for headers in sent if headers.state != "down"]
    assert numbers == sorted(set(numbers))  # a live camera's oldest may give way to newer ones
    assert {(h.camera_id, h.source) for h in sent} == {("gate", "stream")}
    assert f"camera gate: down: {rtsp.address} gives no more pictures: again in 0.5 s" in log
    assert "camera gate: up again after" in log
