"""Pulled weights on this machine: none enters unchecked, none is used once it has changed.

Beside each file lies ``FILE.sha256``, as ``sha256sum -c`` reads it: the checksum that the file had
when it was let in.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.errors import ArtifactError
from models.vision.domain import STREET_NAME, STREET_WEIGHTS
from models.vision.weights import FORMATS, Weights, WeightsFile, find

Trust = Literal["given", "known", "recorded", "first use"]
"""Why a file was let in: its checksum was given with the command, stands in our table, is the one
that was recorded when the file was first pulled; or nothing but the address vouches for it."""

State = Literal["missing", "good", "changed"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """A file that was let in, its checksum, and why."""

    path: Path
    sha256: str
    trust: Trust


class WeightsCache:
    """The folder of pulled weights."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, file: WeightsFile) -> Path:
        """Where `file` is, or will be."""
        return self.folder / file.name

    def admit(self, file: WeightsFile, candidate: Path, *, given: str | None = None) -> Receipt:
        """Check `candidate`, then copy it into the cache as `file`.

        1. Its checksum is the one given, or else one that the table knows, or else the one
           recorded earlier; where there is none of these it is trusted on first use.
        2. It is a network that we can run: an error page is not let in, whoever vouches for it.
        3. It is copied beside its place, the copy is checked again, and moved there.

        Args:
            file: what it is said to be.
            candidate: a file anywhere.
            given: the SHA-256 that it must have, in hex, whatever the table says.

        Raises:
            ArtifactError: it is not that file, cannot be read, or the cache cannot be written.
        """
        found = sha256_of(candidate)
        trust = self._judge(file, candidate, found, given)
        _must_load(file, candidate)
        place = self.path(file)
        part = place.with_name(place.name + ".part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(candidate, part)
            if sha256_of(part) != found:
                raise ArtifactError(f"{candidate} changed while it was copied: try again")
            # A crash between the two leaves a file that does not fit its record: pulled again.
            _record(place).write_text(f"{found}  {place.name}\n", encoding="ascii")
            part.replace(place)
        except OSError as error:
            raise ArtifactError(f"cannot write to {self.folder}: {error.strerror}") from error
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        return Receipt(place, found, trust)

    def state(self, file: WeightsFile) -> State:
        """Whether `file` is here and still as it was when it was let in."""
        if not self.path(file).is_file():
            return "missing"
        return "good" if sha256_of(self.path(file)) == self._recorded(file) else "changed"

    def locate(self, weights: Weights, *, torch: bool) -> Path:
        """The file of `weights` to load, for the torch backend or for ONNX Runtime.

        Raises:
            ArtifactError: it was not pulled, or has changed since.
        """
        forms = sorted(FORMATS, reverse=torch)  # a checkpoint suits torch, ONNX the other
        for form in forms:
            file = weights.files[form]
            state = self.state(file)
            if state == "changed":
                raise ArtifactError(
                    f"{self.path(file)} has changed since it was pulled: "
                    f"tocsin models pull {weights.name} --format {form}"
                )
            if state == "good":
                return self.path(file)
        raise ArtifactError(
            f"{weights.name} is not in {self.folder}: "
            f"tocsin models pull {weights.name} --format {forms[0]}"
        )

    def resolve(self, given: str, *, torch: bool = False) -> Path:
        """The file that a command's ``--weights NAME|FILE`` means; ``street`` is the bundled one.

        Raises:
            ArtifactError: there is no such file and no such name; or see `locate`.
        """
        weights = find(given)
        if weights is not None and not Path(given).is_file():
            return self.locate(weights, torch=torch)
        if given == STREET_NAME and not Path(given).is_file():
            return STREET_WEIGHTS
        if not Path(given).is_file():
            raise ArtifactError(
                f"{given} is neither a file nor a name that tocsin models list shows"
            )
        return Path(given)

    def _judge(self, file: WeightsFile, candidate: Path, found: str, given: str | None) -> Trust:
        """Step 1 of `admit`."""
        recorded = self._recorded(file)
        trust: Trust
        accepted: tuple[str, ...]
        if given is not None:
            trust, accepted = "given", (given.lower(),)
        elif file.known:
            trust, accepted = "known", file.known
        elif recorded is not None:
            trust, accepted = "recorded", (recorded,)
        else:
            return "first use"
        if found in accepted:
            return trust
        why = {
            "given": "not the one that you gave",
            "known": "none that is known of this file: if you know better, insist with --sha256",
            "recorded": "not the one recorded when it was first pulled: "
            "if the change is meant, insist with --sha256",
            "first use": "",
        }
        raise ArtifactError(f"{candidate} is not {file.name}: its sha256 {found} is {why[trust]}")

    def _recorded(self, file: WeightsFile) -> str | None:
        try:
            return _record(self.path(file)).read_text(encoding="ascii").partition(" ")[0]
        except (OSError, UnicodeDecodeError):
            return None


def default_folder() -> Path:
    """``$XDG_CACHE_HOME/tocsin/models``, by default ``~/.cache/tocsin/models``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tocsin" / "models"


def sha256_of(path: Path) -> str:
    """The checksum of a file, in hex.

    Raises:
        ArtifactError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error


def _record(place: Path) -> Path:
    return place.with_name(place.name + ".sha256")


def _must_load(file: WeightsFile, candidate: Path) -> None:
    """Step 2 of `admit`; raises ArtifactError."""
    if file.format == "onnx":
        from models.vision.onnx_core import OnnxCore  # noqa: PLC0415  only pulling needs it

        OnnxCore(candidate, threads=1)
    else:
        from models.vision.conversion import from_pth  # noqa: PLC0415  imports torch

        from_pth(candidate)
