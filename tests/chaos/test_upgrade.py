"""Another network, or a version with other rows, beside the one that serves; and back again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from streams.state.table import ROW_VERSION
from tests.chaos.conftest import MakeCase, MakeDrill, make_network
from tests.chaos.drill import Case, Drill
from tests.chaos.oracle import Observed, Place
from tests.chaos.test_rivals import rows_of
from tests.chaos.worker import WorkerProcess, until
from tests.conftest import ROOT, Stack
from tests.nursery import nursery
from tests.worker import TOCSIN

pytestmark = pytest.mark.chaos

NEWER = Path(__file__).with_name("newer_worker.py")


EITHER = "every payment is scored by one or the other, and a state is right for its own "


def newer(drill: Drill, *, member: str = "") -> WorkerProcess:
    """Start a worker of a version whose rows are others'."""
    stem = drill.folder / f"newer-{len(drill.workers)}"
    log, marks = stem.with_suffix(".log"), stem.with_suffix(".marks")
    command = (sys.executable, str(NEWER), "--pace", str(drill.folder / "pace"))
    given = {**drill._settings(member), **drill.settings}
    worker = WorkerProcess((*command, "--marks", str(marks)), given, log, marks)
    drill.workers.append(worker)
    return worker


@pytest.mark.long
@pytest.mark.parametrize(
    "other_rows",
    [
        pytest.param(
            False,
            id="network",
            marks=pytest.mark.fault(
                "another network takes over as a group of its own, and is taken back",
                must=EITHER + "network",
            ),
        ),
        pytest.param(
            True,
            id="rows",
            marks=pytest.mark.fault(
                "a version with other rows takes over as a group of its own, and is taken back",
                must=EITHER + "version",
            ),
        ),
    ],
)
def test_what_is_new_takes_over_beside_the_old_one_and_gives_way_to_it_again(
    make_case: MakeCase,
    make_drill: MakeDrill,
    case: Case,
    real_stack: Stack,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    other_rows: bool,
) -> None:
    old = make_drill(case, real_stack.bootstrap, real_stack.redis_url)
    other = case
    if not other_rows:
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
    second = newer(new, member="two") if other_rows else new.start(member="two")
    until(lambda: second.readiness() == [], 60, second.text)
    assert "rebuilding partition" in second.text()
    assert first.terminate() == 0
    stopped = old.commits()
    new.drained(member="two")
    assert second.terminate() == 0
    with monkeypatch.context() as patch:
        if other_rows:
            patch.setattr("streams.state.table.ROW_VERSION", ROW_VERSION + 1)
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


@pytest.mark.long
@pytest.mark.fault(
    "a version with other rows is put in the old one's place, and taken back",
    must="it is not ready, names the remedy and has touched nothing; the old one goes on",
)
def test_a_version_with_other_rows_touches_nothing_in_the_place_of_the_old_one(
    drill: Drill,
) -> None:
    first = drill.start(slow=(), member="one")
    first.batches(20)
    assert first.terminate() == 0
    committed, before = drill.commits(), stored(drill)
    assert drill.lag() > 0

    second = newer(drill, member="one")
    until(second.readiness, 60, second.text)
    until(lambda: "version" in str(second.readiness()), 60, second.text)
    (why,) = second.readiness()
    assert f"version {ROW_VERSION}, now {ROW_VERSION + 1}): run tocsin state rebuild" in why
    drill.witness.hit("it met a state of the old version, and said so")
    assert second.terminate() == 0
    assert drill.commits() == committed
    assert stored(drill) == before
    assert drill.finish(member="one").terminate() == 0
    drill.check()


def stored(drill: Drill) -> dict[bytes, Any]:
    """Everything in the namespace, but for who owns it at the time."""
    return {key: value for key, value in rows_of(drill).items() if b":owner:" not in key}


def _places(observed: Observed) -> set[Place]:
    return {(alert["source"]["partition"], alert["source"]["offset"]) for alert in observed.alerts}
