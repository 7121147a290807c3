"""More than one worker: one that comes and goes, and one that was thought dead."""

from __future__ import annotations

import re
from typing import Any

import pytest
from redis import Redis

from tests.chaos.drill import RESTART, Drill
from tests.chaos.worker import WorkerProcess, until

pytestmark = pytest.mark.chaos


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
    assert second.terminate() == 0
    assert drill.lag() > 0, "the second worker left when everything was done"

    until(lambda: len(partitions_of(first)) == 4, 20, first.text)
    drill.drained()
    assert first.terminate() == 0
    drill.check()


@pytest.mark.parametrize(
    ("member", "resumes"),
    [("", "when the heir is done"), ("one", "while the heir works")],
    ids=["dynamic", "static"],
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
    found = re.findall(r"assigned partitions \[.+?\] in generation (\d+)", worker.text())
    return int(found[-1])


def rows_of(drill: Drill) -> dict[bytes, Any]:
    """Everything in the namespace."""
    with Redis.from_url(drill.redis_url) as client:
        keys = sorted(client.scan_iter(f"{drill.group}:*", count=10_000))
        return dict(zip(keys, client.mget(keys), strict=True))
