"""The broker goes away and comes back, and the topic grows."""

from __future__ import annotations

import random
import time

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from streams.devstack import KafkaBroker, RedisServer
from tests.chaos.conftest import MakeCase, MakeDrill, under_load
from tests.chaos.drill import Case, Drill
from tests.chaos.events import Stream, simulated
from tests.chaos.worker import until

pytestmark = pytest.mark.chaos

BY_ITSELF = "the worker goes on by itself; no commit runs ahead"


@pytest.fixture
def lonely_drill(
    make_drill: MakeDrill, case: Case, private_kafka: KafkaBroker, redis_server: RedisServer
) -> Drill:
    """A drill whose Kafka nobody else uses."""
    return make_drill(case, private_kafka.bootstrap, redis_server.url)


@pytest.mark.fault("the broker is killed and comes back", must=BY_ITSELF)
def test_a_broker_that_is_killed_under_load_costs_nothing(
    lonely_drill: Drill, private_kafka: KafkaBroker
) -> None:
    drill = lonely_drill
    drill.start(slow=(), member="one")
    worker = under_load(drill, 15)
    private_kafka.kill()
    was_inferring = worker.is_inferring()
    private_kafka.start()
    drill.witness.hit(f"killed {'with' if was_inferring else 'without'} a batch under way")
    drill.finish_as_begun()


@pytest.mark.long
@pytest.mark.fault("the broker restarts ten times under load", must=BY_ITSELF)
def test_a_broker_that_restarts_ten_times_under_load_costs_nothing(
    make_drill: MakeDrill,
    long_case: Case,
    private_kafka: KafkaBroker,
    redis_server: RedisServer,
    rng: random.Random,
) -> None:
    drill = make_drill(long_case, private_kafka.bootstrap, redis_server.url)
    drill.pace(0.3)
    drill.start(slow=(), member="one")
    kills = inferring = 0
    for _ in range(10):
        worker = under_load(drill, rng.randint(3, 10))
        if rng.random() < 0.5:
            private_kafka.kill()
            kills += 1
        else:
            private_kafka.stop()
        inferring += worker.is_inferring()
        private_kafka.start()
    drill.witness.hit(f"{kills} kills and {10 - kills} stops, {inferring} with a batch under way")
    drill.finish_as_begun(120)


@pytest.mark.long
@pytest.mark.fault(
    "the broker is gone for a minute",
    must="the worker says so, its memory does not grow, and it goes on by itself",
)
def test_a_broker_that_is_gone_for_a_minute_is_waited_for(
    lonely_drill: Drill, private_kafka: KafkaBroker
) -> None:
    drill = lonely_drill
    worker = drill.start(slow=(), member="one")
    worker.batches(10)
    private_kafka.kill()
    begun = time.monotonic()
    reason = worker.reasons("waiting for Kafka")
    before = worker.memory_mib()
    time.sleep(60 - (time.monotonic() - begun))
    grown = worker.memory_mib() - before
    assert grown < 20
    private_kafka.start()
    drill.witness.hit(f"“{reason.partition(':')[0]}” on /readyz; {grown:+.0f} MiB in that minute")
    drill.finish_as_begun()


@pytest.mark.fault(
    "the topic gets two more partitions",
    must="the worker refuses to mix two layouts and names the remedy; once the state is deleted it "
    "is rebuilt for all partitions",
)
def test_a_topic_that_grows_is_refused_until_the_state_is_rebuilt(
    make_case: MakeCase,
    make_drill: MakeDrill,
    private_kafka: KafkaBroker,
    redis_server: RedisServer,
) -> None:
    old = simulated(count=8_000, cards=200, seed=2).partitions
    new = simulated(count=1_000, cards=50, seed=9, card="late").partitions
    case = make_case(Stream((*old, new[0] + new[1], new[2] + new[3])))
    drill = make_drill(case, private_kafka.bootstrap, redis_server.url)
    drill.pace(0.0)
    drill.start(slow=())
    drilled = sum(map(len, old))
    until(lambda: sum(drill.commits().values()) == drilled, 60, drill.workers[-1].text)

    client = AdminClient({"bootstrap.servers": drill.bootstrap})
    for done in client.create_partitions(
        [NewPartitions(drill.topic, len(case.stream.ends))]
    ).values():
        done.result(20)
    for partition in range(len(old), len(case.stream.ends)):
        drill.produce(partition, case.stream.partitions[partition])
    worker = drill.start()
    reason = worker.reasons("run tocsin state rebuild")
    assert "(partitions 4, now 6)" in reason
    drill.witness.hit("“belongs to another ... (partitions 4, now 6)” on /readyz")
    for running in drill.workers:
        running.kill()

    assert drill.clear_state() > 0
    assert drill.finish().terminate() == 0
    drill.check()
