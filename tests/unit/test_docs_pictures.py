"""Pictures in the documents are there to be seen."""

from __future__ import annotations

import re

from tests.conftest import ROOT


def test_every_picture_of_the_dashboard_is_shown_in_its_document_and_none_is_missing() -> None:
    text = (ROOT / "docs" / "dashboard.md").read_text()
    shown = re.findall(r"!\[[^\]]+\]\(dashboard/(.+?)\)", text)
    assert sorted(set(shown)) == sorted(shown)
    assert set(shown) == {path.name for path in (ROOT / "docs" / "dashboard").iterdir()}
