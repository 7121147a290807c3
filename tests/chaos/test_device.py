"""The network, or the device that it runs on, fails."""

from __future__ import annotations

import pytest

from streams.errors import RESTART
from tests.chaos.conftest import MakeCase, MakeDrill
from tests.chaos.drill import Case, Drill
from tests.chaos.worker import WorkerProcess
from tests.conftest import Stack

pytestmark = pytest.mark.chaos

GOES_ON = "the worker goes back to its last flush and scores again; nothing is buried"


def faults(worker: WorkerProcess) -> int:
    """How often the fault hit."""
    return sum(line.startswith("fault ") for line in worker.text().splitlines())


@pytest.mark.parametrize(
    "what",
    [
        pytest.param("raises", marks=pytest.mark.fault("inference raises", must=GOES_ON)),
        pytest.param(
            "is-not-a-number",
            marks=[pytest.mark.fault("inference returns NaN", must=GOES_ON), pytest.mark.long],
        ),
        pytest.param(
            "runs-out-of-memory",
            marks=[
                pytest.mark.fault("the device is out of memory for a moment", must=GOES_ON),
                pytest.mark.long,
            ],
        ),
    ],
)
def test_a_network_that_fails_for_a_while_costs_no_record(drill: Drill, what: str) -> None:
    drill.pace(0.0)
    worker = drill.start(slow=("--device", f"{what}:20:3"), member="one")
    drill.drained()
    assert faults(worker) == 3
    drill.witness.hit("3 runs of the network failed, of the 20th on")
    assert worker.terminate() == 0
    drill.check()


@pytest.mark.fault(
    "the device is lost",
    must="nothing is buried; the worker ends with status 75, and another goes on",
)
def test_a_device_that_is_lost_ends_the_worker_and_buries_nothing(drill: Drill) -> None:
    drill.pace(0.0)
    worker = drill.start(slow=("--device", "runs-out-of-memory:20:1000000"), member="one")
    assert worker.status(60) == RESTART
    assert "nothing can be scored (planted)" in worker.text()
    assert drill.lag() > 0
    drill.witness.hit(f"{faults(worker)} runs of the network failed, and it ended")
    assert drill.finish(member="one").terminate() == 0
    drill.check()


@pytest.mark.fault(
    "inference hangs",
    must="the worker says that it stands still, ends with status 75, and another goes on",
)
def test_a_network_that_hangs_ends_the_worker(drill: Drill) -> None:
    drill.pace(0.0)
    drill.settings["TOCSIN_DELIVERY__STUCK_AFTER_S"] = "3"
    worker = drill.start(slow=("--device", "hangs:20:1"), member="one")
    assert worker.status(60) == RESTART
    assert "no progress for 3 s" in worker.text()
    assert faults(worker) == 1
    drill.witness.hit("its 20th run did not return")
    assert drill.finish(member="one").terminate() == 0
    drill.check()


@pytest.mark.fault(
    "a poisoned batch", must="the one record is buried with the reason, all others are scored"
)
def test_a_record_that_nothing_can_score_is_buried_alone(
    make_case: MakeCase, make_drill: MakeDrill, small_case: Case, real_stack: Stack
) -> None:
    amounts = {place: small_case.amount(place) for place in small_case.expected.scores}
    place, amount = list(amounts.items())[len(amounts) // 2]
    while list(amounts.values()).count(amount) > 1:
        place, amount = amounts.popitem()
    case = make_case(small_case.stream, poison=[place])
    drill = make_drill(case, real_stack.bootstrap, real_stack.redis_url)
    drill.pace(0.0)
    worker = drill.start(slow=("--poison", repr(amount)), member="one")
    drill.drained()
    drill.witness.hit(f"{faults(worker)} batches and parts of batches failed")
    assert "scoring failed: RuntimeError: poison" in worker.text()
    assert worker.terminate() == 0
    drill.check()
