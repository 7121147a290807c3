"""Assignment, loss, variations and judging: the parts of a training step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.vision.annotations import Truth
from models.vision.assignment import Predictions, assign, pairwise_iou
from models.vision.augment import vary
from models.vision.boxes import Detections, iou
from models.vision.examples import (
    HELD_OUT_WORLDS,
    TEST_WORLDS,
    TRAINING_WORLDS,
    Example,
    SceneExamples,
)
from models.vision.grid import places
from models.vision.judging import balance
from models.vision.loss import Target, detection_loss

SIZE = (64, 96)
CELLS, STRIDES = (torch.from_numpy(a) for a in places(SIZE))
PLACES = len(CELLS)


def predictions(boxes: torch.Tensor | None = None, classes: int = 2) -> Predictions:
    points = (CELLS + 0.5) * STRIDES
    square = torch.cat((points - STRIDES, points + STRIDES), 1)
    return Predictions(
        square if boxes is None else boxes,
        torch.zeros(PLACES),
        torch.zeros(PLACES, classes),
        points,
        STRIDES,
    )


def target(
    *xyxy: list[float], class_id: int = 0, ignored: list[list[float]] | None = None
) -> Target:
    return Target(
        torch.tensor(xyxy).reshape(-1, 4),
        torch.full((len(xyxy),), class_id),
        torch.tensor(ignored or []).reshape(-1, 4),
    )


def test_nothing_is_assigned_to_an_empty_picture() -> None:
    nothing = target()
    chosen = assign(predictions(), nothing.xyxy, nothing.class_id)
    assert len(chosen.place) == len(chosen.target) == len(chosen.overlap) == 0


def test_an_object_gets_places_near_its_centre_and_one_place_has_one_object() -> None:
    wanted = target([8, 8, 40, 40], [10, 8, 42, 40], [70, 30, 72, 33])
    chosen = assign(predictions(), wanted.xyxy, wanted.class_id)
    assert set(chosen.target.tolist()) == {0, 1, 2}
    assert len(set(chosen.place.tolist())) == len(chosen.place)
    points = predictions().points[chosen.place]
    low, high = wanted.xyxy[chosen.target, :2], wanted.xyxy[chosen.target, 2:]
    reach = 1.5 * STRIDES[chosen.place]
    assert ((points > low - reach) & (points < high + reach)).all()


def test_overlaps_in_torch_are_those_in_numpy() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 50, (2, 7, 4)).astype(np.float32)
    a, b = np.concatenate((corners[..., :2], corners[..., :2] + corners[..., 2:]), 2)
    expected = iou(a, b)
    found = pairwise_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    assert found == pytest.approx(expected, abs=1e-5)


def perfect(xyxy: list[float], class_id: int) -> torch.Tensor:
    """Outputs of a network that says exactly that and nothing else."""
    raw = torch.full((1, PLACES, 7), -12.0)
    x1, y1, x2, y2 = xyxy
    centre = torch.tensor([(x1 + x2) / 2, (y1 + y2) / 2])
    raw[0, :, :2] = centre / STRIDES - CELLS
    raw[0, :, 2:4] = torch.log(torch.tensor([x2 - x1, y2 - y1]) / STRIDES)
    wanted = target(xyxy, class_id=class_id)
    now = predictions(torch.tensor([xyxy]).expand(PLACES, 4))
    place = assign(now, wanted.xyxy, wanted.class_id).place
    raw[0, place, 4] = raw[0, place, 5 + class_id] = 12.0
    return raw


def test_the_loss_is_least_for_the_truth() -> None:
    box = [16.0, 16.0, 48.0, 48.0]
    raw = perfect(box, 1)
    right = float(detection_loss(raw, SIZE, [target(box, class_id=1)]))
    assert 0 <= right < 0.01
    assert float(detection_loss(raw, SIZE, [target(box, class_id=0)])) > 1.0
    shifted = [20.0, 20.0, 52.0, 52.0]
    assert float(detection_loss(raw, SIZE, [target(shifted, class_id=1)])) > 1.0
    assert float(detection_loss(raw, SIZE, [target()])) > 1.0


def test_a_find_in_an_ignored_region_costs_nothing() -> None:
    box = [16.0, 16.0, 48.0, 48.0]
    raw = perfect(box, 1)
    around = [[0.0, 0.0, 96.0, 64.0]]
    assert float(detection_loss(raw, SIZE, [target(ignored=around)])) < 0.01


@pytest.mark.parametrize("seed", range(8))
def test_boxes_follow_the_pixels_of_a_variation(seed: int) -> None:
    image = np.full((180, 320, 3), 60, np.uint8)
    image[70:110, 140:190] = 235
    truth = Truth(np.array([[140, 70, 190, 110]], np.float32), np.array([1]), np.zeros(1, np.bool_))
    varied = vary(Example(image, truth), (192, 320), np.random.default_rng(seed))
    assert varied.image.shape == (192, 320, 3)
    rows, columns = np.nonzero(varied.image.max(2) > 0.72 * varied.image.max())
    painted = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert varied.truth.xyxy[0] == pytest.approx(painted, abs=2.5)
    again = vary(Example(image, truth), (192, 320), np.random.default_rng(seed))
    assert (again.image == varied.image).all()


def test_a_variation_of_an_empty_picture_is_one() -> None:
    none = Truth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_))
    empty = Example(np.zeros((90, 160, 3), np.uint8), none)
    varied = vary(empty, (64, 96), np.random.default_rng(0))
    assert varied.truth.xyxy.shape == (0, 4)


def test_scenes_are_the_same_each_time_and_training_never_sees_those_of_the_test() -> None:
    scenes = SceneExamples(70)
    late = scenes[69].image
    assert (scenes[0].image != late).any()
    assert (SceneExamples(70)[69].image == late).all()
    assert scenes.fingerprint == SceneExamples(70).fingerprint != SceneExamples(71).fingerprint
    assert (
        SceneExamples.of_training(2, 0)[0].image != SceneExamples.of_training(2, 1)[0].image
    ).any()
    assert TRAINING_WORLDS < HELD_OUT_WORLDS < TEST_WORLDS
    with pytest.raises(IndexError):
        scenes[70]


def test_hidden_objects_are_ignored_by_share() -> None:
    strict, lax = SceneExamples(24, hard=0.9), SceneExamples(24, hard=0.0)
    assert any(strict[i].truth.ignored.any() for i in range(24))
    assert not any(lax[i].truth.ignored.any() for i in range(24))


def test_the_threshold_balances_misses_and_false_alarms() -> None:
    box = np.array([[0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]], np.float32)
    truth = Truth(box, np.zeros(3, np.int64), np.array([False, False, True]))
    found = Detections(
        np.concatenate((box, box[:1] + 70)),
        np.array([0.9, 0.8, 0.95, 0.3], np.float32),
        np.zeros(4, np.int64),
    )
    assert balance([truth], [found]) == pytest.approx((0.8, 1.0, 1.0))
    assert balance([truth], [Detections.empty()]) == (0.5, 0.0, 0.0)
