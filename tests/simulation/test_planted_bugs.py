"""The check can fail: it finds every bug that is planted in the parts that keep the promise."""

from __future__ import annotations

import pytest

from streams.metrics import Metrics
from streams.simulation.history import History
from tests.simulation.planted import BUGS, Plant, a_batch_behind_another_thrown_away

pytestmark = pytest.mark.slow

HISTORIES = 1000
"""The rarest takes a hundred or so."""


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_caught(bug: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    bug(monkeypatch)
    metrics = Metrics("test")
    for seed in range(HISTORIES):
        outcome = History(seed, metrics, is_large=False).run()
        assert outcome.violated != "broken", f"the bug is another: {outcome.message}"
        if outcome.violated not in ("", "stuck"):
            break
    else:
        pytest.fail("nothing was lost, doubled, reordered, invented or committed too early")

    monkeypatch.undo()  # and it was the bug
    assert History(seed, metrics, is_large=False).run().violated == ""


def test_a_batch_that_is_thrown_away_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    a_batch_behind_another_thrown_away(monkeypatch)
    metrics = Metrics("test")
    for seed in range(HISTORIES):
        outcome = History(seed, metrics, is_large=False).run()
        if outcome.violated == "broken":
            break
    assert "were fetched and never reached the agent" in outcome.message
