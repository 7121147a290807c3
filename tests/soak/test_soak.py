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
from tests.soak.check import Truth, is_sampled, judge, read_truth
from tests.soak.page import Demands, Footprint, Story, write_unfinished
from tests.soak.servers import EMPTIED, FAULTS, REBUILD_S, Fleet, Recovery, empty_redis
from tests.soak.traffic import CAMERAS, Passages, Payments, payments
from tests.worker import TOCSIN, Bed, environment_of

__all__ = ["network_file"]

pytestmark = pytest.mark.bench

ALERT_SHARE = 0.002
TRIAL_ROUNDS = 10
"""Of the sample's cards, by which the threshold is chosen: scores of new cards are others."""

PAUSE_S = (2.0, 10.0)
CHECKED_CARDS = 500
MOST_MIB_PER_MIN = 1.0
MOVES_PER_MIN = 60
MOST_MISSED = 0.1
"""Of all faults, those that nothing shows to have hit."""

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
    page: Path = request.config.getoption("soak_page") or bed.folder / "soak.md"
    rng = random.Random(seed)
    demands = Demands()
    fleet = Fleet(bed, private_kafka, private_redis)
    fraud = Payments(
        private_kafka.bootstrap,
        bed.settings.topics.transactions,
        request.config.getoption("soak_rate"),
        seed,
    )
    people = Passages(private_kafka.bootstrap, bed.settings.topics.frames)
    try:
        # 1. Traffic, and one fault after another.
        fleet.start()
        fraud.start()
        people.start()
        fleet.progressed()
        recoveries = _befall(fleet, rng, minutes * 60)

        # 2. Calm: everything is committed, and every worker stops as it should.
        fraud.stop()
        people.stop()
        fleet.until(lambda: not any(fleet.commits["fraud"].lags().values()), REBUILD_S)
        fleet.until(lambda: not any(fleet.commits["vision"].lags().values()), REBUILD_S)
        commits = fleet.commits["fraud"].now()
        fleet.stop()

        # 3. The whole, compared.
        truth = read_truth(private_kafka.bootstrap, bed.settings.topics.transactions)
        network = oracle.Network(network_file.with_suffix(".safetensors"))
        verdict = judge(bed, network, truth, commits, fleet.watches["fraud"])
        objects = [alert for alert in alerts_of(bed) if alert.kind == "object"]
        story = Story(
            minutes=minutes,
            seed=seed,
            verdict=verdict,
            recoveries=recoveries,
            watches=fleet.watches,
            restarts=fleet.restarts,
            footprints=_longest(fleet),
            ceiling_mib=max(sample[1] for life in fleet.lives for sample in life.samples),
            redis_keys=_redis_keys(private_redis),
            passages=people.passed * len(CAMERAS),
            frames=people.frames,
            object_alerts=len({alert.id for alert in objects}),
            object_repeated=len(objects) - len(distinct(objects)),
        )

        # 4. What must hold; the page says whether it does.
        with demands.of("every payment that was sent is on the topic"):
            assert sum(truth.ends.values()) == fraud.sent
        with demands.of("each person is told of once, from start to end"):
            check(objects, people.passed, CAMERAS)
        with demands.of("`tocsin state check` agrees"):
            _state_check(bed)
        _judge_events(story, demands)
        _judge_faults(story, demands)
        _judge_footprints(story, truth, demands)
        story.write(page, demands)
    except BaseException as error:
        write_unfinished(page, minutes, seed, error)
        raise
    finally:
        fleet.close()
        print(page.read_text())
    assert not demands.failed


def _judge_events(story: Story, demands: Demands) -> None:
    found = story.verdict
    counts = (found.lost, found.applied_twice, found.invented_rows)
    demands.that(counts == (0, 0, 0), "no payment is lost, applied twice or invented", counts)
    report = found.report
    demands.that(not report.problems, "nothing of the sampled cards differs", report)
    demands.that(report.borderline == 0, "no alert is decided by rounding", report.borderline)
    baseless = found.baseless_alerts
    demands.that(not baseless, "each alert is of a payment of its card", baseless[:3])
    for agent, watch in story.watches.items():
        ahead = watch.ahead()
        demands.that(not ahead, f"no {agent} commit is ahead of the state", ahead[:3])
        demands.that(not watch.set_back, f"no {agent} marker is set back", watch.set_back[:3])
        emptied = int(agent == "fraud")
        demands.that(
            watch.losses == emptied, f"Redis lost of {agent} what we deleted", watch.losses
        )
        enough = watch.moves >= MOVES_PER_MIN * story.minutes
        demands.that(enough, f"{agent} commits are seen to move", watch.moves)


def _judge_faults(story: Story, demands: Demands) -> None:
    hit = [one for one in story.recoveries if one.seconds is not None]
    late = [one for one in hit if one.within_s and (one.seconds or 0.0) > one.within_s]
    demands.that(not late, "recovery is within what is promised", late)
    missed = len(story.recoveries) - len(hit)
    few = missed <= MOST_MISSED * len(story.recoveries)
    demands.that(few, "nearly every fault hits", f"{missed} of {len(story.recoveries)} did not")
    never = {*FAULTS, EMPTIED} - {one.kind for one in hit}
    demands.that(not never, "every kind of fault hits", never)


def _judge_footprints(story: Story, truth: Truth, demands: Demands) -> None:
    most_keys = len(truth.counts) + PICTURES * story.object_alerts + KEYS_ALWAYS
    demands.that(story.redis_keys <= most_keys, "Redis holds no more keys than it needs", most_keys)
    if story.minutes < 3 * LONG_MIN:
        demands.skip(f"whether memory, threads and files grow, which takes {3 * LONG_MIN} minutes")
    for one in story.footprints:
        lived = one.minutes >= LONG_MIN or story.minutes < 3 * LONG_MIN
        demands.that(lived, f"a {one.role} process lives long", one)
        if one.minutes >= LONG_MIN:
            slope = one.slope_mib_per_min <= MOST_MIB_PER_MIN
            demands.that(slope, f"the memory of {one.role} does not grow", one)
            threads = one.threads[1] <= one.threads[0] + MORE_THREADS
            demands.that(threads, f"the threads of {one.role} do not become more", one)
            files = one.files[1] <= one.files[0] + MORE_FILES
            demands.that(files, f"the open files of {one.role} do not become more", one)


def _befall(fleet: Fleet, rng: random.Random, seconds: float) -> list[Recovery]:
    """Let one thing after another go wrong for so long; each is waited out.

    First one of each kind, however long that takes, then as they are drawn.
    """
    begun = said = time.monotonic()
    recoveries: list[Recovery] = []
    names = list(FAULTS)
    weights = [FAULTS[name][2] for name in names]
    first = rng.sample(names, len(names))
    is_emptied = False
    while (now := time.monotonic()) - begun < seconds or first:
        if now - said > 60:
            said = now
            print(f"{(now - begun) / 60:.0f} min, {len(recoveries)} faults", flush=True)
        if not is_emptied and now - begun > seconds / 3:
            is_emptied = True
            recoveries.append(Recovery(EMPTIED, empty_redis(fleet, rng), None))
        else:
            name = first.pop() if first else rng.choices(names, weights)[0]
            fault, within_s, _ = FAULTS[name]
            recoveries.append(Recovery(name, fault(fleet, rng), within_s))
        if recoveries[-1].seconds is None:
            print(f"no hit: {recoveries[-1].kind}", flush=True)
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
