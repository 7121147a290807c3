"""`tocsin evaluate video`: a recorded video through Kafka and the agent, judged by its truth."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from models.vision.annotations import Truth
from models.vision.boxes import Detections
from models.vision.domain import REAL
from models.vision.evaluation import average_precision
from models.vision.mot import MotRows, mot_rows, read_rows, read_truth
from models.vision.tracking_metrics import count_tracks
from streams.cli.options import Report, write_report
from streams.cli.progress import progress_bar
from streams.cli.start import start
from streams.demo.gauges import Gauge
from streams.demo.ground import Ground, prepared
from streams.devstack.ports import free_ports
from streams.errors import SettingsError, WorkerError
from streams.pipeline.network import check_weights, load_network
from streams.producers.camera import Shape
from streams.producers.sources import Source, parse_source
from streams.producers.video import Sent, Until, send_video
from streams.reading import read_topic
from streams.schemas import FrameObjects, decode_frame_objects
from streams.settings import Settings
from streams.supervisor import POLL_S, Supervisor, agent_specs

_CAMERA = "video"
_WEAKEST = 0.01
"""Average precision is over all confidences; the tracker ignores the weak ones by itself."""

_READY_S = 120.0
_STALL_S = 60.0
_FIGURES = ("ap50", "mota", "idf1", "fps", "frames", "frames_lost")


@dataclass(frozen=True, slots=True)
class Run:
    """What came back: the last message on each frame, by its number from 0."""

    frames: Mapping[int, FrameObjects]
    sent: int
    seconds: float


def video(
    *,
    weights: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="A pulled network, or a weights file.")
    ],
    video: Annotated[Path, typer.Option(metavar="FILE", help="The recorded video.")],
    truth: Annotated[
        Path, typer.Option(metavar="FILE", help="Its boxes and ids, a MOTChallenge gt.txt.")
    ],
    class_name: Annotated[
        str, typer.Option("--class", metavar="NAME", help="Class of the boxes in the truth.")
    ] = "person",
    fps: Annotated[
        float | None, typer.Option(min=0.1, help="Frames a second, if the file is wrong about it.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Only so many, from the first; all by default.")
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Use this Kafka, not an embedded one.")
    ] = None,
    redis: Annotated[
        str | None, typer.Option(metavar="URL", help="Use this Redis, not an embedded one.")
    ] = None,
    report: Report = None,
) -> None:
    """Print AP50, MOTA, IDF1, frames/s and frames lost of the whole path, every frame kept.

    The video goes through Kafka and a worker of its own. AP50 is that of the detector, MOTA and
    IDF1 are those of the tracks; frames/s counts from the first frame sent to the last one
    acknowledged.
    """
    settings = start()
    source = parse_source(str(video))
    chosen = settings.model_copy(
        update={"vision": settings.vision.model_copy(update={"model": weights})}
    )
    check_weights(chosen, REAL)
    names = load_network(chosen, threads=1)[0].names
    if class_name not in names:
        raise SettingsError(f"--class {class_name}: {weights} knows {', '.join(names)}")
    read_truth(truth)  # says what is wrong with it
    rows = read_rows(truth)
    vision = {
        "model": weights,
        "policy": "keep-all",
        "motion_gate": False,
        "publish_tracks": True,
        "confidence": _WEAKEST,
        "snapshot_max_bytes": 0,
    }
    with ExitStack() as stack:
        ground = stack.enter_context(prepared(bootstrap, redis, vision))
        shape = Shape(quality=95, fps=fps, flat_out=True)
        run = _through(ground, source, shape, Until(count=frames), stack)
    result = judge(run, rows, class_name)
    table = Table(*_FIGURES, box=None, pad_edge=False)
    table.add_row(*(f"{result[name]:.4g}" for name in _FIGURES))
    Console(highlight=False).print(table)
    write_report(report, result)


def judge(run: Run, rows: MotRows, class_name: str) -> dict[str, Any]:
    """Compare what came back with the truth; frame n of the truth is number n - 1.

    Raises:
        DataError: the truth has no boxes within the video.
    """
    rows = rows.take(rows.frame <= run.sent)
    found = [_detections(run.frames.get(number), class_name) for number in range(run.sent)]
    truths = [_truth(rows, number + 1) for number in range(run.sent)]
    precision, _ = average_precision(truths, found, {0: class_name})
    counts = count_tracks(rows.take(rows.confidence > 0), _tracks(run, class_name)).figures()
    return {
        "ap50": precision.ap50,
        "mota": counts["mota"],
        "idf1": counts["idf1"],
        "fps": run.sent / max(run.seconds, 1e-9),
        "frames": run.sent,
        "frames_lost": run.sent - len(run.frames),
        "switches": counts["switches"],
    }


def _truth(rows: MotRows, frame: int) -> Truth:
    part = rows.of_frame(frame)
    boxes, flags = rows.xyxy[part], rows.confidence[part]
    return Truth(boxes, np.zeros(len(boxes), np.int64), flags == 0)


def _detections(objects: FrameObjects | None, class_name: str) -> Detections:
    found = [] if objects is None else [d for d in objects.detections if d.class_name == class_name]
    if not found:
        return Detections.empty()
    confidence = np.array([one.confidence for one in found], np.float32)
    return Detections(_boxes(found), confidence, np.zeros(len(found), np.int64))


def _tracks(run: Run, class_name: str) -> MotRows:
    seen = [
        (number + 1, track)
        for number, objects in run.frames.items()
        for track in objects.tracks
        if track.class_name == class_name
    ]
    return mot_rows(
        [frame for frame, _ in seen],
        [track.tracker_id for _, track in seen],
        _boxes([track for _, track in seen]),
        [track.confidence for _, track in seen],
    )


def _boxes(objects: list[Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    corners = [(one.x1, one.y1, one.x2, one.y2) for one in objects]
    return np.array(corners, np.float32).reshape(-1, 4)


# -- the run --------------------------------------------------------------------------------------
def _through(ground: Ground, source: Source, shape: Shape, until: Until, stack: ExitStack) -> Run:
    """Send the video through a worker, and read what it says of each frame."""
    (port,) = free_ports(1)
    output = stack.enter_context(ground.log.open("ab"))
    specs = agent_specs({"vision": port}, ground.environment)
    supervisor = stack.enter_context(Supervisor(specs, output=output))
    gauge = Gauge(f"http://127.0.0.1:{port}")
    try:
        _wait(supervisor, gauge, lambda: not gauge.not_ready, _READY_S, "ready")
        begun = time.monotonic()
        sent = _send(ground.settings, source, shape, until)
        with progress_bar("frames", sent.frames) as advance:
            done = _drain(supervisor, gauge, sent.frames, advance)
    except WorkerError as error:
        raise WorkerError(f"{error}; its last words:\n{ground.log_tail()}") from None
    frames = asyncio.run(_read(ground.settings))
    return Run(frames, sent.frames, done - begun)


def _send(settings: Settings, source: Source, shape: Shape, until: Until) -> Sent:
    if source.kind != "file":
        raise SettingsError(f"--video {source} is no recorded video")
    return asyncio.run(send_video(settings, {_CAMERA: source}, shape, until=until))


def _drain(
    supervisor: Supervisor, gauge: Gauge, frames: int, advance: Callable[[int, str], None]
) -> float:
    """Wait until every frame has its fate; return when (monotonic)."""
    done, since = 0, time.monotonic()
    while done < frames:
        supervisor.step()
        gauge.poll()
        before, done = done, gauge.count("tocsin_acknowledged_total")
        advance(done, "")
        if done > before:
            since = time.monotonic()
        elif time.monotonic() - since > _STALL_S:
            raise WorkerError(f"the vision worker stands still at {done} of {frames} frames")
        time.sleep(POLL_S)
    return time.monotonic()


def _wait(
    supervisor: Supervisor,
    gauge: Gauge,
    condition: Callable[[], bool],
    timeout_s: float,
    what: str,
) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        supervisor.step()
        gauge.poll()
        if time.monotonic() > deadline:
            reasons = "; ".join(gauge.not_ready)
            raise WorkerError(f"the vision worker is not {what} after {timeout_s:.0f} s: {reasons}")
        time.sleep(POLL_S)


async def _read(settings: Settings) -> dict[int, FrameObjects]:
    """Read the last message on each frame; a worker that restarts repeats some."""
    found: dict[int, FrameObjects] = {}
    topic = settings.topics.tracks
    async for records in read_topic(settings.kafka, topic, from_beginning=True, follow=False):
        for record in records:
            objects = decode_frame_objects(record.value or b"")
            if objects.seq is not None:
                found[objects.seq] = objects
    return found
