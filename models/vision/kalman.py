"""A Kalman filter for boxes: constant velocity, noise in proportion to the box's height.

A box is centre x, centre y, width and height. Their noises are independent, so the 8 x 8 filter
falls apart into four of two states each (value and velocity): no matrix is inverted, and N tracks
take one pass of array arithmetic. Acceleration is white noise, integrated exactly, so that two
steps of 50 ms predict what one of 100 ms does: frames come at irregular times. Source: Bar-Shalom,
Li and Kirubarajan, Estimation with Applications to Tracking and Navigation, section 6.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.vision.boxes import Boxes

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Motion:
    """How boxes move and how well they are measured; all in heights of the box.

    Attributes:
        measured: standard deviation of a detector's centre and size.
        velocity: of the unknown velocity of a new track, per second.
        acceleration: of the change of velocity, per second and square root of a second.
        size: factor on both for width and height, which change more slowly than the place.
    """

    measured: float = 0.12
    velocity: float = 1.5
    acceleration: float = 0.8
    size: float = 0.35


def to_cxcywh(xyxy: Boxes) -> Floats:
    """(N, 4) float64 centre x, centre y, width, height of (N, 4) corners."""
    low, high = xyxy[:, :2].astype(np.float64), xyxy[:, 2:].astype(np.float64)
    return np.concatenate([(low + high) / 2, high - low], 1)


def to_xyxy(cxcywh: Floats) -> Boxes:
    """(N, 4) float32 corners of (N, 4) centre x, centre y, width, height."""
    half = cxcywh[:, 2:] / 2
    return np.concatenate([cxcywh[:, :2] - half, cxcywh[:, :2] + half], 1).astype(np.float32)


def begin(measured: Floats, motion: Motion) -> tuple[Floats, Floats]:
    """Filters of new tracks.

    Args:
        measured: (N, 4) boxes, centre and size.
        motion: how boxes move.

    Returns:
        mean: (N, 2, 4), the values and their velocities a second.
        covariance: (N, 3, 4): of the value, between value and velocity, of the velocity.
    """
    mean = np.stack([measured, np.zeros_like(measured)], 1)
    height = measured[:, 3:]
    value = np.broadcast_to((motion.measured * height) ** 2, measured.shape)
    speed = (motion.velocity * height * _factor(motion)) ** 2
    return mean, np.stack([value, np.zeros_like(measured), speed], 1)


def predict(
    mean: Floats, covariance: Floats, elapsed_s: float, motion: Motion
) -> tuple[Floats, Floats]:
    """Filters (as from `begin`) after `elapsed_s` >= 0 seconds without a measurement."""
    place, velocity = mean[:, 0], mean[:, 1]
    pp, pv, vv = covariance[:, 0], covariance[:, 1], covariance[:, 2]
    noise = (motion.acceleration * place[:, 3:] * _factor(motion)) ** 2  # (N, 4)
    pp = pp + elapsed_s * (2 * pv + elapsed_s * vv) + noise * elapsed_s**3 / 3
    pv = pv + elapsed_s * vv + noise * elapsed_s**2 / 2
    vv = vv + noise * elapsed_s
    place = place + elapsed_s * velocity
    place[:, 2:] = np.maximum(place[:, 2:], 1.0)  # a shrinking box must not turn inside out
    return np.stack([place, velocity], 1), np.stack([pp, pv, vv], 1)


def correct(
    mean: Floats, covariance: Floats, measured: Floats, motion: Motion
) -> tuple[Floats, Floats]:
    """Filters (as from `begin`) after one measurement (N, 4) each."""
    place, velocity = mean[:, 0], mean[:, 1]
    pp, pv, vv = covariance[:, 0], covariance[:, 1], covariance[:, 2]
    total = pp + (motion.measured * measured[:, 3:]) ** 2  # > 0: a box has a height
    gain, drift = pp / total, pv / total
    missed = measured - place
    mean = np.stack([place + gain * missed, velocity + drift * missed], 1)
    return mean, np.stack([pp * (1 - gain), pv * (1 - gain), vv - drift * pv], 1)


def _factor(motion: Motion) -> Floats:
    """(4,): 1 for the place, `size` for width and height."""
    return np.array([1.0, 1.0, motion.size, motion.size])
