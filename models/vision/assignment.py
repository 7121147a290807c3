"""Which places of the grids shall learn which object: SimOTA.

Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021" (arXiv 2107.08430), section 2.3. Each
object gets the few places that already predict it best, as many as their overlaps add up to.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

_CANDIDATES = 10  # places whose overlaps are added up
_RADIUS = 1.5  # cells around an object's centre that may claim it even from outside of its box
_OUTSIDE = 1e5  # cost of a place that is not both inside the box and near its centre


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the places of one picture with N objects shall learn.

    Attributes:
        place: (M,) int64, places that have an object.
        target: (M,) int64, which of the N it is.
        overlap: (M,) float in [0, 1] of the place's present box with it.
    """

    place: torch.Tensor
    target: torch.Tensor
    overlap: torch.Tensor


@dataclass(frozen=True, slots=True)
class Predictions:
    """What the A places say of one picture now.

    Attributes:
        boxes: (A, 4) x1, y1, x2, y2 in pixels.
        objectness: (A,) logits.
        classes: (A, C) logits.
        points: (A, 2) centres of the places in pixels.
        strides: (A, 1) pixels a cell.
    """

    boxes: torch.Tensor
    objectness: torch.Tensor
    classes: torch.Tensor
    points: torch.Tensor
    strides: torch.Tensor


@torch.no_grad()
def assign(now: Predictions, xyxy: torch.Tensor, class_id: torch.Tensor) -> Assignment:
    """Choose places for the N objects of one picture, boxes (N, 4) and classes (N,)."""
    boxes, points = now.boxes, now.points
    nothing = torch.zeros(0, dtype=torch.int64, device=boxes.device)
    if not len(xyxy):
        return Assignment(nothing, nothing, boxes.new_zeros(0))
    # 1. Only places inside an object or near the centre of one come into question.
    low, high = xyxy[:, None, :2], xyxy[:, None, 2:]  # (N, 1, 2)
    inside = ((points > low) & (points < high)).all(2)  # (N, A)
    near = ((points - (low + high) / 2).abs() < _RADIUS * now.strides).all(2)  # (N, A)
    possible = (inside | near).any(0).nonzero()[:, 0]  # (K,)
    if not len(possible):
        return Assignment(nothing, nothing, boxes.new_zeros(0))
    # 2. What it costs to let each of them stand for each object.
    overlap = pairwise_iou(xyxy, boxes[possible])  # (N, K)
    probs = now.classes[possible].sigmoid() * now.objectness[possible, None].sigmoid()  # (K, C)
    wanted = functional.one_hot(class_id, now.classes.shape[1]).to(probs)  # (N, C)
    pairs = probs.sqrt()[None].expand(len(xyxy), -1, -1)  # (N, K, C)
    by_class = functional.binary_cross_entropy(
        pairs, wanted[:, None].expand_as(pairs), reduction="none"
    ).sum(2)  # (N, K)
    both = (inside & near)[:, possible]
    cost = by_class - 3.0 * (overlap + 1e-8).log() + _OUTSIDE * ~both
    # 3. The cheapest of each object, as many as its best overlaps add up to.
    best = overlap.topk(min(_CANDIDATES, len(possible)), 1).values
    number = best.sum(1).int().clamp(1, len(possible)).tolist()
    taken = torch.zeros_like(cost, dtype=torch.bool)
    for row, few in enumerate(number):
        taken[row, cost[row].topk(few, largest=False).indices] = True
    # 4. A place that several objects want goes to the one to which it costs least.
    several = taken.sum(0) > 1
    cheapest = cost[:, several].argmin(0)
    taken[:, several] = False
    taken[cheapest, several.nonzero()[:, 0]] = True
    target, column = taken.nonzero(as_tuple=True)
    return Assignment(possible[column], target, overlap[target, column])


def pairwise_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Intersection over union (N, K) of boxes (N, 4) and (K, 4)."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])  # (N, K, 2)
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(2)  # (N, K)
    sizes = [(box[:, 2:] - box[:, :2]).clamp(min=0).prod(1) for box in (a, b)]
    return shared / (sizes[0][:, None] + sizes[1][None] - shared + 1e-9)
