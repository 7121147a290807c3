"""The pages on security name what exists."""

from __future__ import annotations

import re

from tests.conftest import ROOT


def test_every_defence_of_the_threat_model_has_the_test_that_it_names() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    files = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^def (test_\w+)", files, re.MULTILINE))

    assert len(named) > 15
    assert named - there == set()
