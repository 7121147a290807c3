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


class _Claim(msgspec.Struct, frozen=True):
    name: str = ""
    domain: str = ""


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
    """`require_domain` by the manifest beside a file of weights, if there is one; without torch.

    Raises:
        ArtifactError: the weights are for another domain, or their manifest is damaged.
    """
    manifest = weights.with_name(weights.stem + ".json")
    if not manifest.is_file():
        return
    try:
        claim = msgspec.json.decode(manifest.read_bytes(), type=_Claim)
    except (OSError, msgspec.MsgspecError) as error:
        raise ArtifactError(f"{manifest} is no model manifest: {error}") from error
    require_domain(claim, source)
