"""What a detector's weights were made for, and the refusal of anything else.

Weights that have only seen drawn streets find next to nothing on real video, and nothing in their
outputs would say so. Their manifest does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

import msgspec

from models.errors import ArtifactError

SIMULATED: Final = "simulated"
"""Domain of weights that know the simulated street camera alone, and the name of that source."""

REAL: Final = "real video"
"""Any other source, where nobody has a better name for it."""

STREET_NAME: Final = "street"
STREET_WEIGHTS: Final = Path(__file__).resolve().parents[1] / "artifacts" / "street-v1.json"
"""The bundled weights for the simulated street camera, and their name on the command line."""


class Claim(Protocol):
    """The part of a manifest that counts here; `models.checkpoint.Manifest` has it."""

    @property
    def name(self) -> str:
        """Of the weights."""
        ...

    @property
    def domain(self) -> str:
        """What alone they are fit for; empty if anything."""
        ...


class Given(msgspec.Struct, frozen=True):
    """What stands beside a file of weights or in it; it may be anybody's."""

    name: str = ""
    version: str = ""
    domain: str = ""
    limits: str = ""
    sha256: str = ""
    """Checksum of the safetensors file that is meant."""


def require_domain(manifest: Claim, source: str) -> None:
    """Let weights look only at what they were made for; those without a domain look at anything.

    Args:
        manifest: of the weights.
        source: `SIMULATED` for the simulated street camera, else what the frames come from, in
            words for the message: a file, an address, `REAL`.

    Raises:
        ArtifactError: the weights are for another domain.
    """
    if not manifest.domain or manifest.domain == source:
        return
    raise ArtifactError(
        f"the weights {manifest.name!r} know the {manifest.domain} street camera only and would "
        f"miss nearly everything in {source}: take official ones, tocsin models list shows them"
    )


def require_domain_of(weights: Path, source: str) -> None:
    """`require_domain` by what is known of a file of weights; without torch.

    Raises:
        ArtifactError: the weights are for another domain; or see `claim_of`.
    """
    claim = claim_of(weights)
    if claim is not None:
        require_domain(claim, source)


def claim_of(weights: Path) -> Given | None:
    """What vouches for a file of weights, if anything does.

    It is the label in an ONNX file of ours, which goes wherever the file goes; for any other the
    manifest beside it.

    Raises:
        ArtifactError: the two are not of the same weights, or one of them is damaged.
    """
    beside = weights.with_name(weights.stem + ".json")
    given: Given | None = None
    if beside.is_file():
        try:
            given = msgspec.json.decode(beside.read_bytes(), type=Given)
        except (OSError, msgspec.MsgspecError) as error:
            raise ArtifactError(f"{beside} is no model manifest: {error}") from error
    if weights.suffix != ".onnx":
        return given
    from models.vision.onnx_core import label_of  # noqa: PLC0415  torch does without

    label, sha256 = label_of(weights)
    if label is None:
        return given
    if given is not None and given.sha256 != sha256:
        raise ArtifactError(
            f"{weights} was not made from the weights that {beside.name} beside it describes: "
            "export it again with tocsin models export, or keep it apart from that file"
        )
    return Given(label.name, label.version, label.domain, label.limits, sha256)
