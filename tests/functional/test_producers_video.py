"""Cameras: what users may write, what a thread does with its source, what it hands on."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.vision.images import Picture, decode
from streams.cli.options import cameras_of
from streams.errors import SettingsError
from streams.frames import FrameHeaders
from streams.producers import camera as module
from streams.producers.camera import Camera, Shape, Shot
from streams.producers.sources import CameraLost, Reader, Source, open_source, parse_source
from streams.producers.video import _Queue
from tests.fakes.pictures import two_colours

STREAM = Source("stream", "rtsp://user:secret@yard/1")


class Script(Reader):
    """Gives its pictures, then what `end` says: None, or an error to raise."""

    def __init__(self, pictures: Sequence[Picture], end: CameraLost | None = None) -> None:
        self.fps, self.length = 1000.0, len(pictures)
        self._pictures, self._end = iter(pictures), end
        self.closed = False

    def read(self) -> Picture | None:
        picture = next(self._pictures, None)
        if picture is None and self._end is not None:
            raise self._end
        return picture

    def close(self) -> None:
        self.closed = True


def film(source: Source, shape: Shape, readers: Sequence[Reader | CameraLost]) -> list[Shot]:
    """Run a camera over `readers`, one for each time that it opens its source; then stop it."""
    shots: list[Shot] = []
    stop = threading.Event()
    scripts = iter(readers)

    def open_reader(_: Source, __: tuple[int, int] | None) -> Reader:
        script = next(scripts, None)
        if script is None:
            stop.set()
            raise CameraLost("the test is over")
        if isinstance(script, CameraLost):
            raise script
        return script

    camera = Camera("gate", source, shape, take=shots.append, stop=stop, open_reader=open_reader)
    camera.run()
    if camera.error is not None:
        raise camera.error
    return shots


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.001)


def pictures(count: int, width: int = 64, height: int = 48) -> list[Picture]:
    return [two_colours(width, height)] * count


# -- what users may write -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "kind", "target"),
    [
        ("sim", "simulated", "0"),
        ("sim:7", "simulated", "7"),
        ("0", "webcam", "0"),
        ("rtsp://yard/1", "stream", "rtsp://yard/1"),
        ("http://yard/mjpeg", "stream", "http://yard/mjpeg"),
    ],
)
def test_a_source_is_told_by_how_it_is_written(text: str, kind: str, target: str) -> None:
    assert parse_source(text) == Source(kind, target)  # type: ignore[arg-type]


def test_a_path_is_a_file_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.avi").touch()
    assert parse_source(str(tmp_path)).kind == "folder"
    assert parse_source(str(tmp_path / "a.avi")).kind == "file"


@pytest.mark.parametrize("text", ["nowhere.mp4", "ftp://yard/1", "sim:x", ""])
def test_what_is_no_source_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(SettingsError, match="rtsp://"):
        parse_source(text)


@pytest.mark.parametrize("secret", ["me:you", "me:y/o?u", "me:y@u"])
def test_the_password_of_an_address_is_not_shown(secret: str) -> None:
    assert str(Source("stream", f"rtsp://{secret}@yard/1")) == "rtsp://***@yard/1"


def test_cameras_are_named_or_one_has_no_name() -> None:
    assert cameras_of(None, []) == {"camera-1": Source("simulated", "0")}
    named = cameras_of(None, ["gate=sim:1", "yard=rtsp://a/?b=c"])
    assert named == {"gate": Source("simulated", "1"), "yard": Source("stream", "rtsp://a/?b=c")}
    for source, names, reason in [
        ("sim", ["gate=sim"], "not both"),
        (None, ["sim"], "NAME=SOURCE"),
        (None, ["gate=sim", "gate=sim:2"], "two cameras"),
    ]:
        with pytest.raises(SettingsError, match=reason):
            cameras_of(source, names)


# -- one camera's thread --------------------------------------------------------------------------
def test_shots_carry_number_time_size_and_source() -> None:
    shots = film(Source("file", "a.avi"), Shape(), [Script(pictures(3))])

    assert [shot.headers.seq for shot in shots] == [0, 1, 2]
    times = [shot.headers.captured_at for shot in shots]
    assert times == sorted(times)
    first = shots[0].headers
    assert (first.camera_id, first.width, first.height, first.source) == ("gate", 64, 48, "file")
    assert decode(shots[0].data or b"").shape == (48, 64, 3)


def test_pictures_are_scaled_and_quality_costs_bytes() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    good, bad = (
        film(Source("file", "a"), Shape(quality, (32, 24)), [Script([noise])])[0]
        for quality in (95, 10)
    )
    assert decode(good.data or b"").shape == (24, 32, 3)
    assert (good.headers.width, good.headers.height) == (32, 24)
    assert len(good.data or b"") > 2 * len(bad.data or b"")


def test_a_file_sent_flat_out_is_as_if_it_ended_now() -> None:
    shots = film(Source("file", "a"), Shape(fps=10.0, flat_out=True), [Script(pictures(20))])

    times = [shot.headers.captured_at for shot in shots]
    assert {b - a for a, b in itertools.pairwise(times)} <= {99, 100, 101}
    assert times[-1] - times[0] == pytest.approx(1900, abs=2)


def test_a_file_in_a_loop_goes_on_with_its_numbers() -> None:
    scripts = [Script(pictures(2)), Script(pictures(2))]
    with pytest.raises(CameraLost, match="the test is over"):
        film(Source("file", "a"), Shape(loop=True), scripts)
    assert all(script.closed for script in scripts)


def test_a_live_camera_that_is_lost_is_reported_once_and_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lost = CameraLost("no more pictures")
    with caplog.at_level(logging.WARNING):
        shots = film(
            STREAM, Shape(), [Script(pictures(2), lost), lost, lost, Script(pictures(1), lost)]
        )

    states = [shot.headers.state for shot in shots]
    assert states == [None, None, "down", None, "down"]
    assert [shot.headers.seq for shot in shots] == [0, 1, None, 2, None]
    assert shots[2].data is None
    said = "\n".join(caplog.messages)
    assert "camera gate: down: no more pictures: again in 0.001 s" in said
    assert "again in 0.004 s" in said  # later each time
    assert "camera gate: up again after" in said


def test_a_file_that_cannot_be_read_ends_its_camera() -> None:
    with pytest.raises(CameraLost, match="cannot open"):
        film(Source("file", "a"), Shape(), [CameraLost("cannot open a")])


# -- sources --------------------------------------------------------------------------------------
def read_all(reader: Reader) -> Iterator[Picture]:
    while (picture := reader.read()) is not None:
        yield picture
    reader.close()


def test_the_pictures_of_a_folder_come_by_name(tmp_path: Path) -> None:
    for name, value in (("b.png", 200), ("a.jpg", 100), ("c.txt", 0)):
        data = cv2.imencode(Path(name).suffix.replace("txt", "png"), np.full((20, 20, 3), value))
        (tmp_path / name).write_bytes(data[1].tobytes())

    reader = open_source(Source("folder", str(tmp_path)))

    assert reader.length == 2
    assert [int(picture[0, 0, 0]) for picture in read_all(reader)] == [100, 200]


def test_a_folder_without_pictures_or_with_a_bad_one_is_said(tmp_path: Path) -> None:
    with pytest.raises(CameraLost, match="no pictures in"):
        open_source(Source("folder", str(tmp_path)))
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(CameraLost, match=r"a\.png is no picture"):
        list(read_all(open_source(Source("folder", str(tmp_path)))))


def test_a_video_file_tells_its_length_and_pace(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5.0, (64, 48))
    for picture in pictures(4):
        writer.write(picture)
    writer.release()

    reader = open_source(parse_source(str(path)))

    assert (reader.fps, reader.length) == (5.0, 4)
    assert [picture.shape for picture in read_all(reader)] == [(48, 64, 3)] * 4


def test_a_camera_that_is_not_there_is_lost() -> None:
    with pytest.raises(CameraLost, match="cannot open 99"):
        open_source(Source("webcam", "99"))


def test_the_simulated_street_has_the_size_that_is_asked_for() -> None:
    reader = open_source(Source("simulated", "3"), (320, 180))
    picture = reader.read()
    assert picture is not None
    assert (picture.shape, picture.dtype) == ((180, 320, 3), np.uint8)


# -- between the threads and the broker -----------------------------------------------------------
def shots(count: int) -> list[Shot]:
    return film(Source("file", "a"), Shape(flat_out=True), [Script(pictures(count))])


def test_of_a_live_camera_the_oldest_pictures_give_way() -> None:
    queue = _Queue(live=True, stop=threading.Event())
    for shot in shots(20):
        queue.put(shot)

    taken = list(iter(queue.take, None))
    assert [shot.headers.seq for shot in taken] == list(range(12, 20))
    assert queue.dropped == 12


def test_word_that_a_camera_is_down_is_not_lost_among_its_pictures() -> None:
    queue = _Queue(live=True, stop=threading.Event())
    first, *others = shots(20)
    down = Shot(FrameHeaders(camera_id="yard", captured_at=1, state="down"), None)
    for shot in (first, down, *others):
        queue.put(shot)
    taken = list(iter(queue.take, None))
    assert taken[0] == down
    assert queue.dropped + len(taken) == 21


def test_a_file_waits_for_the_broker_and_loses_nothing() -> None:
    queue = _Queue(live=False, stop=threading.Event())
    some = shots(20)
    putting = threading.Thread(target=lambda: [queue.put(shot) for shot in some])
    putting.start()
    taken: list[Shot] = []
    while len(taken) < 20:
        if (shot := queue.take()) is not None:
            taken.append(shot)
    putting.join(10)
    assert taken == some
    assert queue.dropped == 0
