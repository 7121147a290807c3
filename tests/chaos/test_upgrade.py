"""Another network beside the one that serves, as a group of its own; and back again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.conftest import MakeCase, MakeDrill, make_network
from tests.chaos.drill import Case
from tests.chaos.oracle import Observed, Place
from tests.chaos.worker import until
from tests.conftest import ROOT, Stack
from tests.nursery import nursery
from tests.worker import TOCSIN

pytestmark = pytest.mark.chaos


@pytest.mark.long
@pytest.mark.fault(
    "another network takes over as a group of its own, and is taken back",
    must="every payment is scored by one or the other, and a state is right for its own network",
)
def test_another_network_takes_over_beside_the_old_one_and_gives_way_to_it_again(
    make_case: MakeCase, make_drill: MakeDrill, case: Case, real_stack: Stack, tmp_path: Path
) -> None:
    old = make_drill(case, real_stack.bootstrap, real_stack.redis_url)
    # Its rows are wider: neither program can read what the other one stores.
    network = make_network(tmp_path / "other", seed=12, hidden=48)
    other = make_case(case.stream, manifest=network)
    assert other.expected.scores != case.expected.scores

    # 1. The new group begins where the old one is, while that one goes on.
    first = old.start(slow=(), member="one")
    first.batches(20)
    old.pace(2.0)
    settings = {"TOCSIN_FRAUD__GROUP": f"{old.group}-new"}
    given = {**old._settings(""), **settings}
    done = nursery().run((*TOCSIN, "state", "adopt", old.group), given, ROOT)
    assert done.returncode == 0, done.stderr
    again = nursery().run((*TOCSIN, "state", "adopt", old.group), given, ROOT)
    assert again.returncode != 0
    assert "has begun already" in again.stderr

    # 2. It rebuilds without a word up to there, then both alert; the old one is stopped.
    new = make_drill(other, real_stack.bootstrap, real_stack.redis_url, beside=old)
    adopted = new.commits()
    assert any(adopted.values())
    second = new.start(member="two")
    until(lambda: second.readiness() == [], 60, second.text)
    assert "rebuilding partition" in second.text()
    assert first.terminate() == 0
    stopped = old.commits()
    new.drained(member="two")
    assert second.terminate() == 0
    seen = new.observed()
    told = new.report(seen)
    assert set(told.problems) <= {"alerts lost"}, told  # those of before it began
    assert told.repeated == []
    due = {place for place, score in other.expected.scores.items() if score >= other.threshold}
    assert _places(seen) == {place for place in due if place[1] >= adopted[place[0]]}
    until_stop = {
        place
        for place, score in case.expected.scores.items()
        if score >= case.threshold and place[1] < stopped[place[0]]
    }
    assert until_stop <= _places(old.observed())
    old.witness.hit(f"the new one began at {sum(adopted.values()):,} records and took over")

    # 3. And back: the old group goes on where it stopped.
    assert old.lag() > 0
    assert old.finish(member="one").terminate() == 0
    old.check()


def _places(observed: Observed) -> set[Place]:
    return {(alert["source"]["partition"], alert["source"]["offset"]) for alert in observed.alerts}
