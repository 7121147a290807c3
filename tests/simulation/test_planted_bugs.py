"""The check can fail: it finds every bug that is planted in the parts that keep the promise."""

from __future__ import annotations

import pytest

from streams.metrics import Metrics
from streams.simulation.history import History
from tests.simulation.planted import BUGS, Plant

pytestmark = pytest.mark.slow

HISTORIES = 1000
"""The rarest takes a hundred or so."""


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_caught(bug: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    bug(monkeypatch)
    metrics = Metrics("test")
    for seed in range(HISTORIES):
        outcome = History(seed, metrics).run()
        if outcome.violated not in ("", "stuck", "broken"):
            break
    else:
        pytest.fail("nothing was lost, doubled, reordered, invented or committed too early")

    monkeypatch.undo()  # and it was the bug
    assert History(seed, metrics).run().violated == ""
