from __future__ import annotations

import random

import numpy as np
import pytest

from models.vision.mot import MotRows, mot_rows
from models.vision.tracking_metrics import count_tracks, total

NAMES = ("mota", "idf1", "hota", "switches", "false_positives", "misses")
NOTHING = mot_rows([], [], [], [])


def walkers(seed: int, *, frames: int = 60, people: int = 8) -> tuple[MotRows, MotRows]:
    """Truth and a faulty tracker's output: misses, inventions, jitter and swapped ids.

    Drawn with `random.Random.random`, whose numbers Python promises not to change.
    """
    draw = random.Random(seed).random
    truth, found = [], []
    for person in range(people):
        x, y, dx, dy = 600 * draw(), 300 * draw(), 8 * draw() - 4, 4 * draw() - 2
        first, track = int(20 * draw()), 100 + 20 * person
        for frame in range(first + 1, frames + 1):
            x, y = x + dx, y + dy
            if draw() < 0.9:
                truth.append((frame, person, x, y, x + 40, y + 100))
            if draw() < 0.04:
                track = 100 + int(12 * draw()) + 20 * person
            if draw() < 0.85:
                a, b = x + 16 * draw() - 8, y + 30 * draw() - 15
                found.append((frame, track, a, b, a + 40, b + 100))
            if draw() < 0.05:
                a, b = 600 * draw(), 300 * draw()
                found.append((frame, 900 + person, a, b, a + 40, b + 100))
    return _rows(truth), _rows(found)


def _rows(boxes: list[tuple[float, ...]]) -> MotRows:
    table = np.array(boxes)
    return mot_rows(table[:, 0], table[:, 1], table[:, 2:], np.ones(len(table)))


def test_nothing_found_in_nothing_is_no_error() -> None:
    figures = count_tracks(NOTHING, NOTHING).figures()
    assert figures["switches"] == figures["misses"] == figures["false_positives"] == 0


def test_nothing_found_scores_zero_and_misses_all() -> None:
    truth, _ = walkers(0)
    figures = count_tracks(truth, NOTHING).figures()
    assert figures["mota"] == figures["idf1"] == figures["hota"] == 0
    assert figures["misses"] == len(truth)


def test_boxes_where_nothing_is_count_against_the_tracker() -> None:
    _, found = walkers(0)
    assert count_tracks(NOTHING, found).figures()["false_positives"] == len(found)


def test_the_truth_itself_is_perfect() -> None:
    truth, _ = walkers(0)
    figures = count_tracks(truth, truth).figures()
    assert figures["mota"] == figures["idf1"] == 1
    assert figures["hota"] == pytest.approx(1)


def test_a_renamed_track_costs_one_switch_and_half_of_its_identity() -> None:
    truth, _ = walkers(0, people=1)
    half = truth.frame > np.median(truth.frame)
    renamed = MotRows(truth.frame, truth.tracker_id + half, truth.xyxy, truth.confidence)
    figures = count_tracks(truth, renamed).figures()
    assert figures["switches"] == 1
    assert figures["mota"] == pytest.approx(1 - 1 / len(truth))
    assert figures["idf1"] == pytest.approx((~half).sum() / len(truth))


# mota, idf1, hota, switches, false positives and misses of `walkers`, and under 0 of the three
# together, as computed by TrackEval 1.3.0 (numpy 2.4.6) from the same boxes.
REFERENCE = {
    0: (0.6690328305235137, 0.5814781834372217, 0.42283687455255875, 45, 160, 168),
    1: (0.6388888888888888, 0.6227390180878553, 0.4239097555368706, 19, 53, 71),
    2: (0.6805555555555556, 0.49586776859504134, 0.39325863054394083, 15, 53, 47),
    3: (0.6900269541778976, 0.6219839142091153, 0.4481015342224528, 11, 54, 50),
}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_figures_are_those_of_trackeval(seed: int) -> None:
    figures = count_tracks(*walkers(seed)).figures()
    assert [figures[name] for name in NAMES] == pytest.approx(REFERENCE[seed], abs=1e-9)


def test_sequences_are_summed_as_trackeval_does() -> None:
    figures = total(count_tracks(*walkers(seed)) for seed in (1, 2, 3)).figures()
    assert [figures[name] for name in NAMES] == pytest.approx(REFERENCE[0], abs=1e-9)
