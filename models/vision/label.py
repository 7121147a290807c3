"""What an ONNX file of ours says of itself: it may be copied away from its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from models.errors import ArtifactError
from models.vision.preprocess import PADDING

LABEL_KEY: Final = "tocsin"
"""Key of the file's metadata under which our export keeps its label, as JSON."""
NAMES_KEY: Final = "names"
"""And the names of the classes, where others look for them too."""
WEIGHTS_KEY: Final = "weights_sha256"
"""And the checksum of the safetensors file that it was made from."""

PREPROCESSING: Final = f"BGR, 0 to 255, scaled to fit at the top left, beside it grey {PADDING}"
"""How this version prepares frames; see `models.vision.preprocess`."""


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a manifest without which a file must not be run, and how it wants its frames."""

    name: str
    version: str
    domain: str = ""
    """What alone it is fit for; see `models.vision.domain`."""
    limits: str = ""
    """What it cannot do, in words."""
    size: tuple[int, int]
    """(H, W) of its input in pixels."""
    preprocessing: str
    producer: str
    """The program that wrote it, with its version."""


def encode_label(label: Label) -> str:
    """Give the value for `LABEL_KEY`."""
    return msgspec.json.encode(label).decode()


def read_label(path: Path, metadata: Mapping[str, str], size: tuple[int, int]) -> Label | None:
    """Read the label from the metadata of a file; None where it is not of our export.

    Args:
        path: of the file, for the message.
        metadata: of the file.
        size: (H, W) of its input.

    Raises:
        ArtifactError: the label is damaged, or is not that of this network.
    """
    text = metadata.get(LABEL_KEY)
    if text is None:
        return None
    try:
        label = msgspec.json.decode(text, type=Label)
    except msgspec.MsgspecError as error:
        raise _again(path, f"its label is damaged ({error})") from None
    if label.size != size:
        raise _again(path, f"its label says {_text(label.size)} pixels, its input {_text(size)}")
    if label.preprocessing != PREPROCESSING:
        raise _again(
            path,
            f"it wants frames as {label.preprocessing!r} ({label.producer}), this version gives "
            f"them as {PREPROCESSING!r}",
        )
    return label


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _again(path: Path, why: str) -> ArtifactError:
    return ArtifactError(f"{path}: {why}: export it again with tocsin models export")
