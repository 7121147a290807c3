"""The rules file is read again when it changes; one that is no good changes nothing."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest

from streams.frame_metrics import FrameMetrics
from streams.pipeline.rulebooks import RuleBooks

ZONES = b"[zones]\nall = [[0, 0], [1, 0], [1, 1]]\n"
ENTER = b'[[rule]]\nname = "in"\nkind = "enter"\nzone = "all"\nclasses = ["person"]\n'


class Rules:
    """Rules over a file, looked at whenever a test says so."""

    def __init__(self, path: Path) -> None:
        self.path, self.now, self.metrics = path, 0.0, FrameMetrics()
        path.write_bytes(ZONES)
        self.books = RuleBooks(path, ("person",), self.metrics, lambda: self.now)

    def write(self, content: bytes) -> list[str]:
        """Names of the rules after the file was written and looked at."""
        self.path.write_bytes(content)
        return self.look()

    def look(self) -> list[str]:
        self.now += 2.0
        self.books.refresh()
        return [rule.name for rule in self.books.of("gate").rules]

    @property
    def refused(self) -> float:
        return float(self.metrics.rules_refused._value.get())

    @property
    def in_force(self) -> list[str]:
        (family,) = self.metrics.rules.collect()
        return [sample.labels["sha256"] for sample in family.samples]


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    return Rules(tmp_path / "rules.toml")


def test_a_changed_file_is_in_force_and_says_so(rules: Rules) -> None:
    assert rules.look() == []
    assert rules.write(ZONES + ENTER) == ["in"]
    assert rules.in_force == [hashlib.sha256(ZONES + ENTER).hexdigest()]
    assert rules.refused == 0


def test_a_broken_file_is_refused_once_and_the_old_rules_stay(
    rules: Rules, caplog: pytest.LogCaptureFixture
) -> None:
    rules.write(ZONES + ENTER)
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        assert rules.write(ENTER) == ["in"]  # of a zone that is not there
        assert rules.look() == ["in"]
    assert [record.getMessage() for record in caplog.records] == [
        f"the rules stay as they were: {rules.path}: rule 'in' names the zone 'all'; there is: none"
    ]
    assert rules.refused == 1
    assert rules.in_force == [hashlib.sha256(ZONES + ENTER).hexdigest()]
    assert rules.write(ZONES + ENTER) == ["in"]
    assert rules.refused == 0


def test_a_file_that_is_gone_for_a_while_changes_nothing(
    rules: Rules, caplog: pytest.LogCaptureFixture
) -> None:
    rules.write(ZONES + ENTER)
    rules.path.unlink()
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        assert rules.look() == rules.look() == ["in"]
    assert len(caplog.records) == 1
    assert rules.refused == 1
    assert rules.write(ZONES + ENTER) == ["in"]
    assert rules.refused == 0
