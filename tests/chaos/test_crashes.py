"""The power goes out, or an orchestrator says stop, in the middle of a batch."""

from __future__ import annotations

import random
import time

import pytest

from tests.chaos.drill import PACE_S, Drill

pytestmark = pytest.mark.chaos

KILLED = -9


@pytest.mark.fault(
    "kill -9, three times at random", must="the next worker goes on from the last flush"
)
def test_nothing_is_lost_or_done_twice_when_workers_are_killed_at_random(
    drill: Drill, rng: random.Random
) -> None:
    interrupted = 0
    for victim in [drill.standby(member="one") for _ in range(3)]:
        victim.go()
        victim.batches(rng.randint(6, 18))
        time.sleep(rng.uniform(0.0, 5 * PACE_S))
        victim.kill()
        interrupted += victim.is_inferring()
        assert drill.lag() > 0, "killed too late to matter"
    assert interrupted, "no kill hit a batch that was being inferred"
    drill.witness.hit(f"3 kills, {interrupted} of them within a batch")

    last = drill.finish(member="one")
    assert last.terminate() == 0
    drill.check()


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(
            "before-flush",
            marks=pytest.mark.fault(
                "kill -9 between publishing and storing",
                must="what was published goes out again under the same ids; none is new",
            ),
        ),
        pytest.param(
            "after-flush",
            marks=pytest.mark.fault(
                "kill -9 between storing and committing",
                must="what was stored is not applied again",
            ),
        ),
    ],
)
def test_nothing_is_lost_or_done_twice_when_a_worker_dies(drill: Drill, place: str) -> None:
    # The 10th flush lies within a group commit: some partitions of it are stored, others not.
    victim = drill.start(slow=("--die-at", f"{place}:10"), member="one")
    assert victim.status(60) == KILLED
    committed = drill.commits()
    assert drill.lag() > 0
    drill.witness.hit("the 10th flush ended it")

    last = drill.finish(member="one")
    replayed = last.metric("tocsin_replayed_total")
    assert last.terminate() == 0
    report = drill.check()

    if place == "after-flush":
        assert replayed > 0, "nothing that was stored had to be dropped"
    if place == "before-flush":
        assert report.repeated, "nothing that was published had to be published again"
    for partition, offset in report.repeated:
        assert offset >= committed[partition], "an alert before the commit went out again"


@pytest.mark.fault(
    "SIGTERM in the middle of a batch",
    must="the batch is finished, stored and committed, exit status 0, nothing repeated",
)
def test_sigterm_in_the_middle_of_a_batch_finishes_it_and_repeats_nothing(drill: Drill) -> None:
    drill.pace(0.2)
    stopped = drill.start(slow=(), member="one")
    stopped.batches(4)
    time.sleep(0.05)
    assert stopped.is_inferring()
    begun = time.monotonic()
    assert stopped.terminate(timeout_s=20.0) == 0
    assert time.monotonic() - begun < 10.0
    assert not stopped.is_inferring(), "stopped within a batch"
    drill.witness.hit("a batch was under way")
    assert 0 < drill.lag() < sum(drill.case.stream.ends.values())

    last = drill.finish(member="one")
    replayed = last.metric("tocsin_replayed_total")
    assert last.terminate() == 0
    report = drill.check()
    assert replayed == 0, "what was stored was not committed"
    assert report.repeated == []
