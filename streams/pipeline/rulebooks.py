"""The rules file, read again when it changes; a file that does not parse changes nothing."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

from models.errors import DataError
from models.vision.rules_file import RuleBook, parse_rules
from streams.frame_metrics import FrameMetrics

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0

DEFAULT_CLASSES = ("person", "bicycle", "car", "motorcycle", "bus", "truck", "vehicle")
_DEFAULT = """
[zones]
picture = [[0, 0], [1, 0], [1, 1], [0, 1]]

[[rule]]
name = "presence"
kind = "enter"
zone = "picture"
classes = [{classes}]
"""


class RuleBooks:
    """The rules of every camera. Used by one thread.

    Args:
        path: the file; None for one rule, a person or a vehicle anywhere in the picture.
        class_names: what the detector can see.
        metrics: say which file is in force, and whether the one that is there was refused.
        clock: seconds; the file is looked at about once each.

    Raises:
        DataError: the file cannot be read or does not parse.
    """

    def __init__(
        self,
        path: Path | None,
        class_names: tuple[str, ...],
        metrics: FrameMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._names = path, class_names
        self._metrics, self._clock = metrics, clock
        self._looked = clock()
        self._refused: bytes | None = None
        self._trouble = ""
        self._by_camera: dict[str, RuleBook] = {}
        self._take(self._read())

    def of(self, camera: str) -> RuleBook:
        """Return the rules of one camera."""
        book = self._by_camera.get(camera)
        if book is None:
            book = self._by_camera[camera] = self._book.of_camera(camera)
        return book

    def forget(self, cameras: set[str]) -> None:
        """Drop what is remembered of cameras."""
        for camera in cameras:
            self._by_camera.pop(camera, None)

    def refresh(self) -> None:
        """Take a changed file; where it is no good, say so once and go on with the old rules."""
        if self._path is None or self._clock() - self._looked < _LOOK_EVERY_S:
            return
        self._looked = self._clock()
        try:
            content = self._read()
            if content not in (self._content, self._refused):
                self._refused = content  # until it is taken
                self._take(content)
                log.info("read %s again: %d rules", self._path, len(self._book.rules))
        except DataError as error:
            self._say(str(error))
        else:
            if content == self._content:
                self._say("")

    def _take(self, content: bytes) -> None:
        self._book = parse_rules(content, self._names, str(self._path or "the default rules"))
        self._content, self._refused = content, None
        self._by_camera.clear()
        self._metrics.took_rules(hashlib.sha256(content).hexdigest())

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            log.error("the rules stay as they were: %s", trouble)
        self._trouble = trouble
        self._metrics.rules_refused.set(bool(trouble))

    def _read(self) -> bytes:
        if self._path is None:
            known = [f'"{name}"' for name in DEFAULT_CLASSES if name in self._names]
            return _DEFAULT.format(classes=", ".join(known)).encode() if known else b""
        try:
            return self._path.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read the rules {self._path}: {error.strerror}") from None
