"""A topic is deleted and made again under the same name: its offsets mean something else."""

from __future__ import annotations

import dataclasses
import time

import pytest

from streams.errors import RESTART
from tests.chaos.conftest import MakeDrill
from tests.chaos.drill import Case
from tests.chaos.oracle import read_topic
from tests.chaos.worker import WorkerProcess, until
from tests.conftest import Stack

pytestmark = pytest.mark.chaos

FOREIGN = "belongs to another topic"


@pytest.mark.fault(
    "the topic is deleted and made again",
    must="the worker ends; the next refuses the old state and names the remedy",
)
def test_a_topic_made_again_is_never_scored_with_the_state_of_the_old(
    make_drill: MakeDrill, case: Case, small_case: Case, real_stack: Stack
) -> None:
    # The new log is longer than the old one: no offset looks out of place.
    drill = make_drill(small_case, real_stack.bootstrap, real_stack.redis_url)
    drill.pace(0.0)
    worker = drill.start(slow=())
    drill.drained()

    # Step 1. The topic goes and comes back under the running worker.
    drill.delete_topics()
    again = dataclasses.replace(drill, case=case, alerts=f"{drill.topic}-alerts-2")
    again.prepare()
    assert worker.status(30) == RESTART, worker.text()

    drill.witness.hit("the running worker noticed, and ended")

    # Step 2. Started again, it says what is wrong, and touches nothing.
    blocked = again.start()
    until(lambda: refusal(blocked) != "", 60, blocked.text)
    assert "run tocsin state rebuild" in refusal(blocked)
    time.sleep(1.0)
    assert blocked.running
    assert again.lag() == sum(case.stream.ends.values())
    assert read_topic(again.bootstrap, again.alerts) == []

    # Step 3. Once the operator has given the old state up, it goes on by itself.
    assert again.clear_state() > 0
    again.drained()
    assert blocked.terminate() == 0
    again.check()


def refusal(worker: WorkerProcess) -> str:
    """Why it is not ready, if that is the topic."""
    return next((reason for reason in worker.readiness() or [] if FOREIGN in reason), "")
