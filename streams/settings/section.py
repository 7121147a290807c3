"""What the sections of the settings have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """Frozen, and knows all its names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TlsSettings(Section):
    """Files that TLS takes, in PEM; where there is no TLS they say nothing."""

    ssl_cafile: Path | None = None
    """Authorities to trust; the system's if unset."""

    ssl_certfile: Path | None = None
    """Certificate to show (mTLS), with what it needs up to an authority."""

    ssl_keyfile: Path | None = None
    """Key of the certificate, where it is not in the same file."""

    ssl_password: SecretStr = SecretStr("")
    """Of an encrypted key."""
