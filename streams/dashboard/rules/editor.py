"""Rules of a camera, read and saved by people: checked as a worker checks them, and on record."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from models.errors import ArtifactError, DataError
from models.vision.rules_file import RulesFile, check_rules, read_rules
from streams.dashboard.access.users import Principal
from streams.dashboard.desk import Desk
from streams.dashboard.rules.file import RulesOnDisk, digest
from streams.dashboard.rules.part import CameraRules, part_of, told, with_part
from streams.dashboard.rules.text import rewritten
from streams.errors import Outdated, SettingsError, TocsinError
from streams.settings import Settings

WITHOUT_FILE = (
    "vision.rules names no file, so anybody anywhere in the picture raises an alert: set it to one "
    "that dashboard and vision workers share"
)


@dataclass(frozen=True, slots=True)
class Held:
    """A camera's part of the file, and the digest of the whole file that it was taken from."""

    part: CameraRules
    digest: str


class RuleEditor:
    """Changes the file that `vision.rules` names."""

    def __init__(self, settings: Settings, desk: Desk) -> None:
        self._settings, self._desk = settings, desk
        self._lock = asyncio.Lock()
        self._names: tuple[str, ...] = ()

    async def classes(self) -> tuple[str, ...]:
        """Name what the detector of `vision.model` can see.

        Raises:
            TocsinError: its weights are not here.
        """
        if not self._names:
            from streams.pipeline.network import (  # noqa: PLC0415  loads OpenCV
                class_names,
            )

            try:
                self._names = await asyncio.to_thread(class_names, self._settings)
            except ArtifactError as error:
                raise TocsinError(f"{error}; the dashboard needs vision.model's too") from None
        return self._names

    async def of(self, camera: str) -> Held:
        """Read a camera's part.

        Raises:
            TocsinError: there is no file, or it cannot be read or does not parse.
        """
        content = await asyncio.to_thread(RulesOnDisk(self._path()).read)
        return Held(part_of(self._parsed(content), camera), digest(content))

    async def save(
        self, camera: str, part: CameraRules, known: Collection[str], who: Principal
    ) -> Held:
        """Put a camera's part into the file, if its digest is still one of those `known`.

        1. What is there must be what was read. 2. What comes of it must be what a worker takes.
        3. It is written beside the file, which shows that it can be. 4. Who did what goes on
        record. 5. It takes the file's place at once; workers read it within seconds.

        Raises:
            Outdated: somebody else changed the file since; nothing was changed.
            SettingsError: a worker would refuse it; nothing was changed.
            BrokerError: it cannot be put on record; nothing was changed.
            TocsinError: there is no file, or it cannot be changed here.
        """
        file, classes = RulesOnDisk(self._path()), await self.classes()
        async with self._lock:  # of this dashboard; the file's own lock keeps the others off
            with ExitStack() as stack:
                await asyncio.to_thread(stack.enter_context, file.alone())
                # 1.
                content = await asyncio.to_thread(file.read)
                if digest(content) not in known:
                    raise Outdated(
                        "somebody else changed the rules since they were read: load them again, "
                        "nothing was saved"
                    )
                before = self._parsed(content)
                # 2.
                try:
                    after = with_part(before, camera, part)
                    check_rules(after, classes, "the rules")
                    made = rewritten(content, before, after)
                except DataError as error:
                    raise SettingsError(f"{error}; nothing was saved") from None
                if made != content:
                    # 3.
                    beside = await asyncio.to_thread(stack.enter_context, file.beside(made))
                    # 4.
                    words = f"{told(before, after)} (sha256 {digest(content)} to {digest(made)})"
                    await self._desk.record(who.name, "rules", words, camera=camera)
                    # 5.
                    try:
                        await asyncio.to_thread(file.replace, beside)
                    except TocsinError as error:
                        said = f"could not be saved: {error}"
                        await self._desk.record(who.name, "rules", said, camera=camera)
                        raise
        return Held(part_of(after, camera), digest(made))

    def _parsed(self, content: bytes) -> RulesFile:
        try:
            return read_rules(content, str(self._path()))
        except DataError as error:
            raise TocsinError(f"{error}: mend the file by hand") from None

    def _path(self) -> Path:
        path = self._settings.vision.rules
        if path is None:
            raise TocsinError(WITHOUT_FILE)
        return path
