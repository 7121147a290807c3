"""A checker that finds nothing proves nothing: here it must find what we broke."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.chaos.conftest import MakeDrill
from tests.chaos.drill import Case, Drill
from tests.chaos.oracle import Observed
from tests.conftest import Stack

pytestmark = pytest.mark.chaos


def test_each_kind_of_damage_is_found_and_no_damage_is_not(
    make_drill: MakeDrill, small_case: Case, real_stack: Stack
) -> None:
    drill = make_drill(small_case, real_stack.bootstrap, real_stack.redis_url)
    assert drill.finish().terminate() == 0
    report = drill.check()
    assert report.repeated == []
    whole = drill.observed()
    assert len(whole.alerts) > 100

    cards = small_case.expected.cards
    name = next(name for name, card in cards.items() if card.large)

    def row(observed: Observed) -> NDArray[Any]:
        found = observed.rows[name]
        assert found is not None
        return found

    def lose_an_event(observed: Observed) -> None:
        row(observed)["state"]["count"] -= 1

    def apply_twice(observed: Observed) -> None:
        row(observed)["state"]["count"] += 2

    def change_a_mean(observed: Observed) -> None:
        row(observed)["state"]["mean"] += 1e-4

    def forget_a_large_transaction(observed: Observed) -> None:
        row(observed)["state"]["large_count"] -= 1

    def change_when_it_was_large(observed: Observed) -> None:
        row(observed)["state"]["large_time"][0] += 1

    def change_how_large_it_was(observed: Observed) -> None:
        row(observed)["state"]["large_ratio"][0] += 0.01

    def change_the_memory(observed: Observed) -> None:
        observed.hidden[name] = observed.hidden[name] + np.float32(0.01)

    def lose_a_row(observed: Observed) -> None:
        observed.rows[name] = None

    def write_a_stranger(observed: Observed) -> None:
        observed.keys += 1

    def lose_an_alert(observed: Observed) -> None:
        observed.alerts.pop(17)

    def invent_an_alert(observed: Observed) -> None:
        alert = observed.alerts[0]
        quiet = next(p for p, s in small_case.expected.scores.items() if s < 0.5 * alert["score"])
        source = {**alert["source"], "partition": quiet[0], "offset": quiet[1]}
        observed.alerts.append({**alert, "source": source})

    def score_from_another_memory(observed: Observed) -> None:
        observed.alerts[3] = {**observed.alerts[3], "score": observed.alerts[3]["score"] - 0.01}

    def lose_a_dead_letter(observed: Observed) -> None:
        observed.dead.pop()

    def cut_a_dead_letter(observed: Observed) -> None:
        place, value = next((p, v) for p, v in observed.dead if v)
        observed.dead.append((place, value[1:]))

    def commit_too_little(observed: Observed) -> None:
        observed.commits[2] -= 1

    damages: list[tuple[Callable[[Observed], None], str]] = [
        (lose_an_event, "events lost"),
        (apply_twice, "events applied twice"),
        (change_a_mean, "usual amounts wrong"),
        (forget_a_large_transaction, "large transactions wrong"),
        (change_when_it_was_large, "large transactions wrong"),
        (change_how_large_it_was, "large transactions wrong"),
        (change_the_memory, "memories wrong"),
        (lose_a_row, "cards lost"),
        (write_a_stranger, "unknown rows"),
        (lose_an_alert, "alerts lost"),
        (invent_an_alert, "alerts invented"),
        (score_from_another_memory, "scores wrong"),
        (lose_a_dead_letter, "dead letters lost"),
        (cut_a_dead_letter, "dead letters changed"),
        (commit_too_little, "commits off the log end"),
        (lambda seen: seen.ahead.append((1, 500, 400)), "commits ahead of the state"),
        (lambda seen: seen.set_back.append((1, 400, 500)), "markers set back"),
    ]
    for damage, kind in damages:
        observed = copy.deepcopy(whole)
        damage(observed)
        assert kind in drill.report(observed).problems, kind


def test_without_the_guard_a_replay_applies_events_twice_and_the_check_says_so(
    drill: Drill,
) -> None:
    victim = drill.start(slow=("--die-at", "after-flush:9"), member="one")
    assert victim.status(60) == -9

    reckless = drill.start(slow=("--without-guard",), member="one")
    drill.drained()
    assert reckless.terminate() == 0

    report = drill.report()
    assert report.problems["events applied twice"] > 0
    assert report.problems["memories wrong"] > 0
    assert report.problems["events lost"] == 0


def test_a_commit_that_runs_ahead_of_the_state_is_seen_though_all_is_right_in_the_end(
    drill: Drill,
) -> None:
    hasty = drill.start(slow=("--acknowledge-early",), member="one")
    drill.drained()
    assert hasty.terminate() == 0

    assert set(drill.report().problems) == {"commits ahead of the state"}
