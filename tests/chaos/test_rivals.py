"""More than one worker: one that comes and goes, and one that was thought dead."""

from __future__ import annotations

import random
import re
import time
from typing import Any

import pytest
from redis import Redis

from streams.errors import RESTART
from tests.chaos.conftest import MakeDrill
from tests.chaos.drill import Case, Drill
from tests.chaos.worker import WorkerProcess, until
from tests.conftest import Stack

pytestmark = pytest.mark.chaos

STANDSTILL_S = 30
"""A session of 6 s that nobody keeps up, and a rebalance that waits 10 s for members: twice."""

FENCED = "it is refused when it goes on: it writes nothing and ends with status 75"


@pytest.mark.fault(
    "a worker joins, and leaves", must="each partition has one owner at a time; none is stuck"
)
def test_a_second_worker_may_join_and_leave_in_the_middle(drill: Drill) -> None:
    drill.pace(0.2)
    second = drill.standby()
    first = drill.start(slow=())
    first.batches(5)
    second.go()
    second.batches(5)
    drill.pace(0.05)
    assert partitions_of(first)
    assert partitions_of(second)
    assert not partitions_of(first) & partitions_of(second)
    drill.witness.hit("both had partitions")
    assert second.terminate() == 0
    assert drill.lag() > 0, "the second worker left when everything was done"

    until(lambda: len(partitions_of(first)) == 4, 20, first.text)
    drill.drained()
    assert first.terminate() == 0
    drill.check()


class Standstill:
    """How long the partitions that are not done have stood still."""

    def __init__(self, drill: Drill) -> None:
        self._drill = drill
        self._at: dict[int, int] = {}
        self._since: dict[int, float] = {}
        self.longest_s = 0.0

    def look(self) -> None:
        """See how far each one is."""
        now = time.monotonic()
        for partition, at in self._drill.commits().items():
            if at != self._at.get(partition):
                self._at[partition], self._since[partition] = at, now
            if at < self._drill.case.stream.ends[partition]:
                self.longest_s = max(self.longest_s, now - self._since[partition])


@pytest.mark.long
@pytest.mark.fault(
    "a rebalance storm: a worker joins or leaves every 5 s",
    must=f"no partition stands still for {STANDSTILL_S} s; nothing is lost or done twice",
)
def test_workers_that_come_and_go_all_the_time_cost_nothing(
    make_drill: MakeDrill, long_case: Case, real_stack: Stack, rng: random.Random
) -> None:
    drill = make_drill(long_case, real_stack.bootstrap, real_stack.redis_url)
    drill.pace(0.4)
    present = [drill.start(slow=())]
    present[0].batches(1)
    before = generation_of(present[0])
    standstill = Standstill(drill)
    moves = refused = 0
    while moves < 14:
        begun = time.monotonic()
        if len(present) == 1 or (len(present) < 4 and rng.random() < 0.5):
            present.append(drill.start(slow=()))
        elif rng.random() < 0.5:
            present.pop(rng.randrange(len(present))).kill()
        else:
            leaving = present.pop(rng.randrange(len(present)))
            if leaving.terminate(30) != 0:  # a rebalance took its partitions while it finished
                assert leaving.status(0) == RESTART, leaving.text()
                assert "has another owner" in leaving.text()
                refused += 1
        moves += 1
        while time.monotonic() < begun + 5.0:
            standstill.look()
            time.sleep(0.5)
    generation = max(number for worker in drill.workers for number in generations_of(worker))
    # Moves that come close together make one; on a machine with a load of 25 it was every second.
    assert generation >= before + moves // 3, "hardly a storm"
    assert drill.lag() > 0
    assert standstill.longest_s < STANDSTILL_S
    drill.witness.hit(
        f"{moves} joins and leaves, generation {generation} of the group; a partition stood still "
        f"for {standstill.longest_s:.0f} s at most; {refused} were refused as they left"
    )
    drill.pace(0.0)
    drill.drained()
    for worker in present:
        assert worker.terminate() == 0
    drill.check()


@pytest.mark.parametrize(
    ("member", "resumes"),
    [
        pytest.param(
            "",
            "when the heir is done",
            id="dynamic",
            marks=pytest.mark.fault("SIGSTOP for longer than the session", must=FENCED),
        ),
        pytest.param(
            "one",
            "while the heir works",
            id="static",
            marks=pytest.mark.fault("SIGSTOP while another takes its static place", must=FENCED),
        ),
    ],
)
def test_a_worker_that_was_thought_dead_is_fenced_and_writes_nothing(
    drill: Drill, member: str, resumes: str
) -> None:
    works = resumes == "while the heir works"
    heir = drill.standby(member=member) if works else None
    zombie = drill.start(slow=(), member=member)
    zombie.batches(10)
    zombie.pause()
    assert zombie.is_inferring(), "paused between two batches"

    drill.pace(0.2)
    if heir is not None:
        heir.go()
        heir.batches(10)
        assert drill.lag() > 0
    else:
        heir = drill.start(member=member)
        drill.drained()
    same = generation_of(heir) == generation_of(zombie)
    assert same == bool(member), "a static member keeps its generation, a dynamic one does not"

    before = rows_of(drill)
    zombie.resume()
    drill.pace(0.0)
    assert zombie.status(30) == RESTART, zombie.text()
    assert "has another owner" in zombie.text()
    drill.witness.hit("stopped within a batch; its next flush was refused")
    if not works:
        assert rows_of(drill) == before

    drill.drained()
    assert heir.running, heir.text()
    assert heir.terminate() == 0
    drill.check()


def partitions_of(worker: WorkerProcess) -> set[int]:
    """The partitions that it was last assigned."""
    found = re.findall(r"assigned partitions \[(.*?)\]", worker.text())
    return {int(number) for number in found[-1].split(",") if number} if found else set()


def generation_of(worker: WorkerProcess) -> int:
    """The generation in which it was last assigned partitions."""
    return generations_of(worker)[-1]


def generations_of(worker: WorkerProcess) -> list[int]:
    """The generations in which it was assigned partitions."""
    found = re.findall(r"assigned partitions \[.+?\] in generation (\d+)", worker.text())
    return [int(number) for number in found]


def rows_of(drill: Drill) -> dict[bytes, Any]:
    """Everything in the namespace."""
    with Redis.from_url(drill.redis_url) as client:
        keys = sorted(client.scan_iter(f"{drill.group}:*", count=10_000))
        return dict(zip(keys, client.mget(keys), strict=True))
