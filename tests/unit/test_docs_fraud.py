"""The pages on the fraud network are of the network that is bundled."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.fraud.network import load_fraud

PAGES = Path(__file__).parents[2] / "docs" / "fraud"


@pytest.mark.parametrize("page", ["report.md", "model-card.md"])
def test_the_network_that_is_shipped_is_the_one_that_was_measured(page: str) -> None:
    named = re.findall(r"sha256:([0-9a-f]+)", (PAGES / page).read_text(encoding="utf-8"))
    _, manifest = load_fraud()  # refuses weights of another checksum
    assert named
    assert set(named) == {manifest.sha256}
