"""A loop that decodes and detects, and does nothing else: no Kafka, no tracks, no alerts.

Run as ``python -m streams.bench.video.bare ASSIGNMENT``. Pictures are decoded on a pool of threads
and detected in batches of the size that the worker is given, by the same network and threads.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import torch

from models.vision.images import Picture, decode, inspect
from streams.bench.assignment import Measured, Reporting, write_report
from streams.bench.video.footage import read_pictures
from streams.pipeline.network import load_network
from streams.settings import load_settings


class BareAssignment(Reporting, frozen=True, kw_only=True):
    """The only argument of the program."""

    pictures: str
    """File that `Footage.write` wrote."""

    frames: int
    """How many to detect, the pictures in turn."""

    batch: int
    model: str
    device: str
    threads: int
    confidence: float


def main(assignment: BareAssignment) -> None:
    """Detect the assigned number of frames."""
    chosen = {"model": assignment.model, "device": assignment.device}
    settings = load_settings(vision={**chosen, "confidence": assignment.confidence})
    vision, threads = settings.vision, assignment.threads or os.cpu_count() or 1
    torch.set_num_threads(1)  # as the worker does
    network, _, _ = load_network(settings, threads)
    pictures = read_pictures(Path(assignment.pictures))
    objects, started_at = 0, time.time()

    def decoded(number: int) -> Picture:
        data = pictures[number % len(pictures)]
        header = inspect(data, max_bytes=vision.max_frame_bytes, max_pixels=vision.max_pixels)
        return decode(data, reduction=header.reduction(network.size))

    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, assignment.frames, assignment.batch):
            numbers = range(start, min(start + assignment.batch, assignment.frames))
            found = network.detect(list(pool.map(decoded, numbers)))
            objects += sum(map(len, found))
    write_report(
        assignment,
        Measured(
            started_at=started_at,
            finished_at=time.time(),
            events=assignment.frames,
            alerts=objects,
        ),
    )


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=BareAssignment))
