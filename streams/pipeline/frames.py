"""The first steps of a frame: its headers, its picture's header, its freshness, decoding, motion.

Runs on the prepare thread; pictures are decoded on a pool beside it. Every frame leaves with one
fate: a dead letter, skipped and counted, or handed on to be looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Literal

from models.vision.images import Header, Picture, PictureError, decode, inspect
from models.vision.motion import Thumbnail, change, thumbnail
from streams.frames import FrameHeaders, parse_headers
from streams.pipeline.batch import Batch
from streams.pipeline.decode import Rejected
from streams.pipeline.freshness import FrameRules, Passage

Skipped = Literal["late", "stale", "too often"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame that is looked at, or word that its camera is down."""

    place: int
    """In the batch."""

    partition: int
    offset: int
    headers: FrameHeaders
    data: bytes
    """The picture as it came; empty for a camera that is down."""

    picture: Picture | None = None
    """Decoded, perhaps smaller than it came; None where it need not be looked at."""

    shape: tuple[int, int] = (0, 0)
    """(H, W) of the picture at its full size, upright."""

    is_still: bool = False
    """Nothing has moved since the last picture that went through the network."""

    broken: str | None = None
    """Why it does not continue the camera's frame before it."""

    @property
    def camera(self) -> str:
        """Id of its camera."""
        return self.headers.camera_id

    @property
    def is_down(self) -> bool:
        """Whether it says that its camera is down."""
        return self.headers.state == "down"


@dataclass(slots=True)
class Intake:
    """What became of the frames of a batch."""

    frames: list[Frame] = field(default_factory=list)
    """In the order of the batch."""

    rejected: list[Rejected] = field(default_factory=list)
    skipped: list[tuple[str, Skipped]] = field(default_factory=list)
    """Cameras and why."""

    replayed: int = 0


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """What is decoded at all."""

    max_bytes: int
    max_pixels: int
    max_future_ms: int
    refusal: str | None
    """Why only the simulated camera is looked at; None where any is."""


@dataclass(frozen=True, slots=True)
class MotionRules:
    """When a picture goes through the network."""

    enabled: bool
    threshold: float
    heartbeat_ms: float


@dataclass(slots=True)
class CameraPast:
    """What the prepare thread remembers of a camera."""

    passage: Passage = field(default_factory=Passage)
    looked_at: int = 0
    reference: Thumbnail | None = None
    """Of the last picture that went through the network, and when that was captured."""


class FrameIntake:
    """Gives frames their first fates. One thread calls it.

    Args:
        limits: what is decoded.
        rules: what is fresh.
        motion: what is still.
        size: (H, W) that the network looks at; a JPEG is decoded no larger than it takes.
        threads: that decode.
        past: finds a camera's past, given its id and partition.
        clock: now, in ms.
    """

    def __init__(
        self,
        *,
        limits: FrameLimits,
        rules: FrameRules,
        motion: MotionRules,
        size: tuple[int, int],
        threads: int,
        past: Callable[[str, int], CameraPast],
        clock: Callable[[], int] = lambda: round(time.time() * 1000),
    ) -> None:
        self._limits, self._rules, self._motion, self._size = limits, rules, motion, size
        self._past, self._clock = past, clock
        self._pool = ThreadPoolExecutor(threads, "decode")

    def take(self, batch: Batch) -> Intake:
        """Give each frame of `batch` its fate, in order.

        1. Headers of record and picture; what is malformed, oversized or absurd is rejected.
        2. Freshness.
        3. Decode what is left, together; what is damaged is rejected.
        4. Motion.
        """
        intake, now = Intake(), self._clock()
        known = self._known(batch, intake, now)  # Step 1.
        fresh = list(self._fresh(known, intake, now))  # Step 2.
        decoded = self._pool.map(self._decode, *zip(*fresh, strict=True)) if fresh else ()
        unsaid: dict[tuple[str, int], str] = {}  # by camera, what a damaged frame would have said
        for (frame, _), found in zip(fresh, decoded, strict=True):  # Step 3.
            camera = frame.camera, frame.partition
            broken = unsaid.pop(camera, None) or frame.broken
            if isinstance(found, str):
                intake.rejected.append(Rejected(frame.place, found))
                if broken is not None:
                    unsaid[camera] = broken
            else:
                seen, small = found
                seen = replace(seen, broken=broken)
                intake.frames.append(self._compared(self._past(*camera), seen, small))  # Step 4.
        for camera, why in unsaid.items():  # to the next frame that is taken
            passage = self._past(*camera).passage
            passage.broken = passage.broken or why
        return intake

    def _known(
        self, batch: Batch, intake: Intake, now: int
    ) -> Iterator[tuple[Frame, Header | None]]:
        for place, record in enumerate(batch.records):
            partition = int(batch.partitions[place])
            if record.offset < batch.done_below.get(partition, 0):
                intake.replayed += 1
                continue
            try:
                headers = parse_headers(record.key, record.headers)
                self._check_headers(headers, now)
                value = record.value or b""
                header = self._check_picture(headers, value)
            except (ValueError, PictureError) as error:
                intake.rejected.append(Rejected(place, str(error)))
                continue
            yield Frame(place, partition, record.offset, headers, value), header

    def _check_headers(self, headers: FrameHeaders, now: int) -> None:
        ahead_ms = headers.captured_at - now
        if ahead_ms > self._limits.max_future_ms:
            raise ValueError(f"captured_at is {ahead_ms / 1000:.0f} s ahead of the clock")
        if self._limits.refusal is not None and headers.source != "simulated":
            raise ValueError(self._limits.refusal)

    def _check_picture(self, headers: FrameHeaders, value: bytes) -> Header | None:
        if headers.state == "down":
            if value:
                raise ValueError("a picture of a camera that is down")
            return None
        limits = self._limits
        header = inspect(value, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels)
        claimed = headers.width or header.width, headers.height or header.height
        if claimed != (header.width, header.height):
            raise ValueError(
                f"the headers say {claimed[0]} x {claimed[1]} pixels, the picture has "
                f"{header.width} x {header.height}"
            )
        return header

    def _fresh(
        self, known: Iterable[tuple[Frame, Header | None]], intake: Intake, now: int
    ) -> Iterator[tuple[Frame, Header | None]]:
        for frame, header in known:
            passage = self._past(frame.camera, frame.partition).passage
            if header is None:
                yield frame, header
                continue
            fate = passage.decide(frame.headers.captured_at, now, self._rules)
            if fate == "take":
                broken, passage.broken = passage.broken, None
                yield replace(frame, broken=broken), header
            else:
                intake.skipped.append((frame.camera, fate))

    def _decode(self, frame: Frame, header: Header | None) -> tuple[Frame, Thumbnail | None] | str:
        if header is None:
            return frame, None
        reduction = header.reduction(self._size)
        try:
            picture = decode(frame.data, reduction=reduction)
        except PictureError as error:
            return str(error)
        high, wide = header.height, header.width
        if (picture.shape[0] > picture.shape[1]) != (high > wide):
            high, wide = wide, high  # EXIF has turned it
        small = thumbnail(picture) if self._motion.enabled else None
        return replace(frame, picture=picture, shape=(high, wide)), small

    def _compared(self, past: CameraPast, frame: Frame, now: Thumbnail | None) -> Frame:
        """Say whether the frame is still."""
        if now is None:
            return frame
        since_ms = frame.headers.captured_at - past.looked_at
        if (
            frame.broken is None
            and past.reference is not None
            and 0 <= since_ms < self._motion.heartbeat_ms
            and change(past.reference, now) < self._motion.threshold
        ):
            return replace(frame, is_still=True)
        past.reference, past.looked_at = now, frame.headers.captured_at
        return frame
