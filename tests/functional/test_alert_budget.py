"""So many alerts a day, whoever works, whatever dies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.fraud.drift import reference_of
from streams.app.build import build_agent
from streams.errors import Fenced, SettingsError
from streams.metrics import Metrics
from streams.pipeline.budget import Budget
from streams.schemas import decode_alert
from streams.settings import load_settings
from streams.status import Status
from tests.fakes.desk import COLD, DAY_MS, START_MS, Desk, DeskWorker, Scores, stream
from tests.fakes.model import random_model
from tests.fakes.records import FakeRecord, payment
from tests.functional.test_agents_fraud import World

DAYS = 16


def desk(scores: Scores, alerts: float, *, burst: float = 1.5, floor: float = 0.001) -> Desk:
    return Desk(scores, Budget(alerts, burst, floor))


@pytest.mark.parametrize(
    ("alerts", "workers", "drift"),
    [(10, 1, 0.0), (10, 3, 0.05), (40, 1, 0.05), (40, 3, 0.0), (120, 1, 0.0), (120, 3, 0.05)],
)
def test_so_many_alerts_a_day_go_out(alerts: int, workers: int, drift: float) -> None:
    many = desk(stream(DAYS, drift=drift, seed=alerts), alerts)
    many.run(many.workers(workers), die_every=97)

    a_day = many.a_day()[2:]  # the first is cold, the second was made by it
    # Chance alone moves a number by its root; the weekly rhythm and the drift add their part.
    assert abs(a_day.mean() / alerts - 1.0) < 0.03 + (alerts * len(a_day)) ** -0.5
    assert np.abs(a_day - alerts).max() < 0.25 * alerts + 3.0 * alerts**0.5


@pytest.mark.parametrize("workers", [1, 3])
def test_a_death_repeats_alerts_but_changes_none(workers: int) -> None:
    scores = stream(8, volume=2000, seed=3)
    calm, killed = desk(scores, 40), desk(scores, 40)
    calm.run(calm.workers(workers), batch=90)
    after = killed.run(killed.workers(workers), batch=90, die_every=7)

    assert killed.alerts.keys() == calm.alerts.keys()
    assert max(killed.alerts.values()) > 1  # some did go out twice: the deaths were felt
    stored = [after[0].policy.read(partition).rows for partition in range(4)]
    assert sum(int(rows["alerts"].sum()) for rows in stored) == len(killed.alerts)
    assert sum(int(rows["counts"].sum()) for rows in stored) == len(scores)


def test_two_workers_that_meet_an_hour_at_once_agree_on_its_threshold() -> None:
    scores = stream(5, volume=2000, seed=5)
    pair = desk(scores, 20)
    first, second = pair.run(pair.workers(2))
    late = START_MS + 5 * DAY_MS
    limits = [
        worker.policy.thresholds(
            np.array([0.5], np.float32),
            np.array([late]),
            np.array([worker.partitions[0]], np.int32),
        )
        for worker in (first, second)
    ]
    assert limits[0] == limits[1] != COLD


def test_one_threshold_holds_for_an_hour_in_every_batch_and_after_a_restart() -> None:
    scores = stream(4, volume=1000, seed=2)
    one = desk(scores, 20)
    (worker,) = one.run(one.workers(1))
    again = DeskWorker(one, range(4))
    hours = np.unique(scores.event_time // 3_600_000) * 3_600_000
    flat = np.full(len(hours), 0.1, np.float32), hours, np.zeros(len(hours), np.int32)

    before = worker.policy.thresholds(*flat)
    np.testing.assert_array_equal(again.policy.thresholds(*flat), before)
    assert len(set(before.tolist())) > 24


def test_a_wave_is_let_through_for_an_hour_and_paid_back_later() -> None:
    scores = stream(12, seed=1)
    hour = (scores.event_time - START_MS) // 3_600_000
    wave = (hour >= 6 * 24 + 10) & (hour < 6 * 24 + 13)
    raised = scores.score.copy()
    raised[np.flatnonzero(wave)[::10]] = 0.99
    hit = desk(Scores(scores.event_time, raised, scores.partition), 40)
    hit.run(hit.workers(2), batch=60)

    a_day = hit.a_day()
    assert a_day[6] > 40  # the wave was seen,
    assert a_day[6] < 40 + 0.75 * (wave.sum() // 10)  # and held down after its first hour;
    assert 0 < a_day[7] < 40  # what it overdrew was paid back, and alerts did not cease
    assert abs(a_day[9:].mean() - 40) < 12


def test_a_quiet_time_does_not_save_up_for_a_flood() -> None:
    scores = stream(10, seed=4)
    day = (scores.event_time - START_MS) // DAY_MS
    kept = ~np.isin(day, [5, 6])
    rested = desk(scores.take(np.flatnonzero(kept)), 40)
    rested.run(rested.workers(1))
    assert rested.a_day()[7] < 1.5 * 40 + 3 * 60**0.5


def test_a_worker_that_lost_its_partitions_cannot_store_its_counts() -> None:
    scores = stream(2, volume=500)
    contested = desk(scores, 10)
    (old,) = contested.workers(1)
    old.take(np.arange(200))
    DeskWorker(contested, range(4))
    with pytest.raises(Fenced):
        old.flush()


def test_the_sketches_are_rebuilt_with_the_cards() -> None:
    scores = stream(5, volume=1000, seed=6)
    lost, kept = desk(scores, 20), desk(scores, 20)
    lost.run(lost.workers(1))
    kept.run(kept.workers(1))
    lost.workers(1)[0].store.clear()
    (worker,) = lost.run(lost.workers(1))
    for partition in range(4):
        np.testing.assert_array_equal(
            worker.policy.read(partition).rows,
            kept.workers(1)[0].policy.read(partition).rows,
        )


# -- in the agent ---------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("model"))


def payments(days: range, each: int = 60) -> list[tuple[int, FakeRecord]]:
    start, found = START_MS - START_MS % DAY_MS - 600 * DAY_MS, []
    for day in days:
        for i in range(each):
            number = day * each + i
            value = payment(
                tx_id=str(number),
                card_id=f"c{number % 17}",
                amount=1.0 + number * 37 % 400,
                event_time=start + day * DAY_MS + i * DAY_MS // each,
            )
            found.append((number % 2, FakeRecord(number // 2, value)))
    return found


def test_the_agent_stores_its_sketch_beside_its_cards_and_keeps_the_budget(model: Path) -> None:
    world = World(
        model,
        policy="budget",
        alerts_per_day=6,
        threshold=0.1,
        alerts_floor=0.0,
        publish_scores=False,
    )
    fraud = world.worker("fraud")
    fraud.agent.sized(2)
    by_day: dict[int, list[float]] = {}
    for day in range(12):
        if day == 6:
            fraud = world.worker("fraud")  # a successor, which reads what was stored
            fraud.agent.sized(2)
        records = payments(range(day, day + 1))
        for begin in range(0, len(records), 7):
            for message in fraud.take(records[begin : begin + 7]).messages:
                alert = decode_alert(message.value or b"")
                by_day.setdefault(day, []).append(alert.threshold)
                assert alert.score >= alert.threshold
            fraud.flush()

    assert set(by_day[0]) == {0.1}  # the cold start says which threshold it used
    later = [len(by_day.get(day, [])) for day in range(2, 12)]
    assert 4.0 <= np.mean(later) <= 8.0
    assert 0.1 not in {threshold for day in range(2, 12) for threshold in by_day.get(day, [])}


@pytest.mark.parametrize(
    ("fraud", "message"),
    [
        ({"policy": "budget"}, "say how many with fraud.alerts_per_day"),
        ({"alerts_per_day": 100}, r"fraud.alerts_per_day \(100\) is kept by fraud.policy budget"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    model: Path, fraud: dict[str, Any], message: str
) -> None:
    settings = load_settings(redis={"url": "memory://"}, fraud={"model": model, **fraud})
    with pytest.raises(SettingsError, match=message):
        build_agent("fraud", settings, Status())


def test_the_agent_counts_its_inputs_and_scores_against_the_models_reference(model: Path) -> None:
    rng = np.random.default_rng(1)
    reference = reference_of({"log_amount": rng.normal(size=5000), "score": rng.random(5000)})
    named = model.with_name("with-reference")
    manifest = json.loads(model.read_text())
    named.with_suffix(".json").write_text(json.dumps({**manifest, "reference": reference}))
    weights = model.with_suffix(".safetensors").read_bytes()
    named.with_suffix(".safetensors").write_bytes(weights)

    fraud = World(named.with_suffix(".json"), publish_scores=False).worker("fraud")
    metrics = Metrics("fraud")
    fraud.agent.observe(metrics)
    for day in range(5):
        fraud.take(payments(range(day, day + 1), each=500))

    for name in reference:
        labels = {"agent": "fraud", "input": name}
        found = metrics.registry.get_sample_value("tocsin_drift_psi", labels)
        assert found is not None
        assert found > 0.1  # amounts and scores of random weights look like neither
