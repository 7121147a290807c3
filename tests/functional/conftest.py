"""What the tests of the vision agent share."""

from __future__ import annotations

from pathlib import Path

import pytest

import streams.app.vision
from tests.fakes.blobs import RULES, load_blobs


@pytest.fixture
def blobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that finds bright blobs, in the place of a trained one."""
    monkeypatch.setattr(streams.app.vision, "load_network", load_blobs)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A rules file: whoever enters the picture, or its right half."""
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path
