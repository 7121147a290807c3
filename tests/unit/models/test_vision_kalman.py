from __future__ import annotations

import numpy as np
import pytest

from models.vision.kalman import Motion, begin, correct, predict, to_cxcywh, to_xyxy

MOTION = Motion()
BOXES = np.array([[100.0, 200.0, 40.0, 100.0], [300.0, 50.0, 20.0, 60.0]])


def test_no_boxes_give_no_filters() -> None:
    mean, covariance = begin(np.zeros((0, 4)), MOTION)
    mean, covariance = predict(mean, covariance, 0.1, MOTION)
    mean, covariance = correct(mean, covariance, np.zeros((0, 4)), MOTION)
    assert mean.shape == (0, 2, 4)
    assert covariance.shape == (0, 3, 4)


def test_corners_and_centres_are_each_others_inverse() -> None:
    corners = np.array([[1, 2, 5, 10]], np.float32)
    assert to_cxcywh(corners).tolist() == [[3, 6, 4, 8]]
    assert to_xyxy(to_cxcywh(corners)).tolist() == corners.tolist()


def test_two_short_steps_predict_what_a_long_one_does() -> None:
    mean, covariance = begin(BOXES, MOTION)
    mean[:, 1] = [[30.0, -20.0, 1.0, 2.0], [5.0, 6.0, 0.0, 0.0]]
    once = predict(mean, covariance, 0.3, MOTION)
    # Noise follows the height, which hardly changes on the way.
    twice = predict(*predict(mean, covariance, 0.1, MOTION), 0.2, MOTION)
    np.testing.assert_allclose(once[0], twice[0])
    np.testing.assert_allclose(once[1], twice[1], rtol=0.02)


def test_no_time_changes_nothing() -> None:
    mean, covariance = begin(BOXES, MOTION)
    still = predict(mean, covariance, 0.0, MOTION)
    np.testing.assert_array_equal(still[0], mean)
    np.testing.assert_array_equal(still[1], covariance)


def test_a_steady_walk_is_learned() -> None:
    mean, covariance = begin(BOXES, MOTION)
    for frame in range(1, 40):
        mean, covariance = predict(mean, covariance, 0.1, MOTION)
        walked = BOXES + np.array([6.0, -3.0, 0.0, 0.0]) * frame
        mean, covariance = correct(mean, covariance, walked, MOTION)
    np.testing.assert_allclose(mean[:, 1, :2], [[60.0, -30.0]] * 2, rtol=0.02)


def test_the_filter_is_the_textbook_one_in_matrices() -> None:
    mean, covariance = begin(BOXES[:1], MOTION)
    matrix_mean = np.array([100.0, 0.0])
    speed, noise, spread = (
        (factor * 100.0) ** 2 for factor in (MOTION.velocity, MOTION.acceleration, MOTION.measured)
    )
    matrix = np.diag([spread, speed])
    rng = np.random.default_rng(0)
    for _ in range(10):
        dt, x = rng.uniform(0.02, 0.5), rng.uniform(80, 120)
        forward = np.array([[1.0, dt], [0.0, 1.0]])
        drift = noise * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        matrix_mean, matrix = forward @ matrix_mean, forward @ matrix @ forward.T + drift
        gain = matrix[:, 0] / (matrix[0, 0] + spread)
        matrix_mean = matrix_mean + gain * (x - matrix_mean[0])
        matrix = matrix - np.outer(gain, matrix[0])
        mean, covariance = predict(mean, covariance, dt, MOTION)
        mean, covariance = correct(mean, covariance, np.array([[x, 200.0, 40.0, 100.0]]), MOTION)
    assert mean[0, :, 0] == pytest.approx(matrix_mean)
    assert covariance[0, :, 0] == pytest.approx([matrix[0, 0], matrix[0, 1], matrix[1, 1]])


def test_a_shrinking_box_does_not_turn_inside_out() -> None:
    mean, covariance = begin(BOXES, MOTION)
    mean[:, 1, 2:] = -1000.0
    mean, _ = predict(mean, covariance, 1.0, MOTION)
    assert (mean[:, 0, 2:] >= 1).all()
