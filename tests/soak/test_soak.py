"""Both paths for a long time, under one fault after another: `make soak`."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from streams.devstack import KafkaBroker, RedisServer
from tests.chaos import oracle
from tests.chaos.conftest import network_file
from tests.conftest import ROOT
from tests.nursery import nursery
from tests.passages import alerts_of, check, distinct, vision_bed
from tests.soak.check import is_sampled, judge, read_truth
from tests.soak.page import Footprint, Story
from tests.soak.servers import EMPTIED, FAULTS, REBUILD_S, Fleet, Recovery, empty_redis
from tests.soak.traffic import Passages, Payments, payments
from tests.worker import TOCSIN, Bed, environment_of

__all__ = ["network_file"]

pytestmark = pytest.mark.bench

ALERT_SHARE = 0.002
TRIAL_ROUNDS = 10
"""Of the sample's cards, by which the threshold is chosen: scores of new cards are others."""

PAUSE_S = (2.0, 10.0)
CHECKED_CARDS = 500
MOST_MIB_PER_MIN = 1.0
LONG_MIN = 15.0
"""Of a shorter life nothing can be said about its memory."""

MORE_THREADS, MORE_FILES = 3, 10
KEYS_ALWAYS, PICTURES = 1_000, 2
"""Of Redis, beside the cards' rows: markers, cameras and figures; and of each object alert a
picture of all that was seen and one of the object, for as long as those are kept."""


@pytest.fixture
def bed(
    private_kafka: KafkaBroker,
    private_redis: RedisServer,
    network_file: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Bed]:
    """Topics and settings, with a threshold that few payments reach."""
    made = vision_bed(private_kafka.bootstrap, private_redis.url, "soak", tmp_path)
    fraud = made.settings.fraud.model_copy(
        update={
            "model": network_file,
            "threshold": _threshold(network_file, request.config.getoption("chaos_seed")),
            "capacity": 16_384,  # fewer than there are cards
        }
    )
    delivery = made.settings.delivery.model_copy(
        update={"max_batch": 2000, "flush_interval_s": 0.2, "commit_interval_s": 0.5}
    )
    made.settings = made.settings.model_copy(update={"fraud": fraud, "delivery": delivery})
    yield made
    made.close()


def _threshold(network_file: Path, seed: int) -> float:
    trial, round_ms = payments(seed)
    sample = [one for one in trial if is_sampled(one.key)]
    records = (
        ((one.partition, turn * len(sample) + number), one.value(turn, number, round_ms))
        for turn in range(TRIAL_ROUNDS)
        for number, one in enumerate(sample)
    )
    network = oracle.Network(network_file.with_suffix(".safetensors"))
    scores = oracle.expect_at(records, network, {}).scores
    return oracle.threshold_in_a_gap(scores, ALERT_SHARE)


def test_nothing_is_lost_doubled_or_invented_and_nothing_grows(
    bed: Bed,
    private_kafka: KafkaBroker,
    private_redis: RedisServer,
    network_file: Path,
    request: pytest.FixtureRequest,
) -> None:
    minutes: float = request.config.getoption("soak_minutes")
    seed: int = request.config.getoption("chaos_seed")
    rate: float = request.config.getoption("soak_rate")
    rng = random.Random(seed)
    topics = bed.settings.topics
    fleet = Fleet(bed, private_kafka, private_redis)
    try:
        # 1. Traffic, and one fault after another.
        fleet.start()
        fraud = Payments(private_kafka.bootstrap, topics.transactions, rate, seed)
        people = Passages(bed)
        fraud.start()
        people.start()
        fleet.progressed()
        recoveries = _befall(fleet, rng, minutes * 60)

        # 2. Calm: everything is committed, and every worker stops as it should.
        fraud.stop()
        people.stop()
        fleet.until(lambda: bed.lag(bed.settings.fraud.group, topics.transactions) == 0, REBUILD_S)
        fleet.until(lambda: bed.lag(bed.settings.vision.group, topics.frames) == 0)
        commits = fleet.commits.now()
        fleet.stop()

        # 3. The whole, compared.
        truth = read_truth(private_kafka.bootstrap, topics.transactions)
        network = oracle.Network(network_file.with_suffix(".safetensors"))
        verdict = judge(bed, network, truth, commits)
        objects = [alert for alert in alerts_of(bed) if alert.kind == "object"]
        longest = _longest(fleet)
        story = Story(
            minutes=minutes,
            seed=seed,
            verdict=verdict,
            recoveries=recoveries,
            restarts=fleet.restarts,
            footprints=longest,
            ceiling_mib=max(sample[1] for life in fleet.lives for sample in life.samples),
            redis_keys=_redis_keys(private_redis),
            passages=people.passed * 3,
            frames=people.frames,
            object_alerts=len({alert.id for alert in objects}),
            object_repeated=len(objects) - len(distinct(objects)),
        )
        page: Path | None = request.config.getoption("soak_page")
        story.write(page or bed.folder / "soak.md")
        print((page or bed.folder / "soak.md").read_text())
    finally:
        fleet.close()

    assert sum(truth.ends.values()) == fraud.sent
    assert (verdict.lost, verdict.applied_twice, verdict.invented_rows) == (0, 0, 0)
    assert not verdict.report.problems, verdict.report
    check(objects, people.passed)
    late = [one for one in recoveries if one.within_s and one.seconds > one.within_s]
    assert not late
    most_keys = len(truth.counts) + PICTURES * story.object_alerts + KEYS_ALWAYS
    assert story.redis_keys <= most_keys, f"more than {most_keys:,} keys"
    for one in longest:
        assert one.minutes >= LONG_MIN or minutes < 3 * LONG_MIN, "nobody lived long enough"
        if one.minutes >= LONG_MIN:
            assert one.slope_mib_per_min <= MOST_MIB_PER_MIN, one
            assert one.threads[1] <= one.threads[0] + MORE_THREADS, one
            assert one.files[1] <= one.files[0] + MORE_FILES, one
    _state_check(bed)


def _befall(fleet: Fleet, rng: random.Random, seconds: float) -> list[Recovery]:
    """Let one thing after another go wrong for so long; each is waited out."""
    begun = said = time.monotonic()
    recoveries: list[Recovery] = []
    names = list(FAULTS)
    weights = [FAULTS[name][2] for name in names]
    is_emptied = False
    while (now := time.monotonic()) - begun < seconds:
        if now - said > 60:
            said = now
            print(f"{(now - begun) / 60:.0f} min, {len(recoveries)} faults", flush=True)
        if not is_emptied and now - begun > seconds / 3:
            is_emptied = True
            recoveries.append(Recovery(EMPTIED, empty_redis(fleet, rng), None))
        else:
            name = rng.choices(names, weights)[0]
            fault, within_s, _ = FAULTS[name]
            recoveries.append(Recovery(name, fault(fleet, rng), within_s))
        calm = time.monotonic() + rng.uniform(*PAUSE_S)
        fleet.until(lambda until=calm: time.monotonic() > until)
    return recoveries


def _longest(fleet: Fleet) -> list[Footprint]:
    found = []
    for agent in ("fraud", "vision"):
        lives = [one for one in fleet.lives if one.role.startswith(agent) and len(one.samples) > 9]
        found.append(Footprint.of(max(lives, key=lambda one: len(one.samples))))
    return found


def _redis_keys(server: RedisServer) -> int:
    with Redis.from_url(server.url) as redis:
        return int(redis.dbsize())


def _state_check(bed: Bed) -> None:
    """`tocsin state check` agrees."""
    command = (*TOCSIN, "state", "check", "--cards", str(CHECKED_CARDS))
    found = nursery().run(command, environment_of(bed.settings), ROOT)
    assert found.returncode == 0, found.stdout + found.stderr
    print(found.stdout)
