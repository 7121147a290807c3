"""The loss of YOLOX: overlap of boxes, objectness, class.

Source: arXiv 2107.08430 and the official code, Megvii-BaseDetection/YOLOX (Apache-2.0).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from models.vision.assignment import Predictions, assign
from models.vision.grid import places
from models.vision.network import decode

_BOX_WEIGHT = 5.0


@dataclass(frozen=True, slots=True)
class Target:
    """The N objects of one picture.

    Attributes:
        xyxy: (N, 4) float32 pixels of the canvas.
        class_id: (N,) int64.
        ignored: (M, 4) float32, regions in which nothing counts as background.
    """

    xyxy: torch.Tensor
    class_id: torch.Tensor
    ignored: torch.Tensor


def detection_loss(raw: torch.Tensor, size: tuple[int, int], targets: list[Target]) -> torch.Tensor:
    """Mean over the places that have an object; a scalar.

    Args:
        raw: (B, A, 5 + C) of `Yolox`, for canvases of `size` (H, W).
        size: (H, W).
        targets: B of them.
    """
    decoded = decode(raw.float(), size)  # (B, A, 5 + C)
    centre, side = decoded[..., :2], decoded[..., 2:4]
    boxes = torch.cat((centre - side / 2, centre + side / 2), 2)  # (B, A, 4)
    objectness, classes = decoded[..., 4], decoded[..., 5:]
    cells, strides = (torch.from_numpy(a).to(boxes) for a in places(size))
    points = (cells + 0.5) * strides  # (A, 2)
    wanted, weight = torch.zeros_like(objectness), torch.ones_like(objectness)  # (B, A)
    box_loss = class_loss = raw.new_zeros((), dtype=torch.float32)
    found = 0
    for b, target in enumerate(targets):
        now = Predictions(boxes[b], objectness[b], classes[b], points, strides)
        chosen = assign(now, target.xyxy, target.class_id)
        inside = (points > target.ignored[:, None, :2]) & (points < target.ignored[:, None, 2:])
        weight[b, inside.all(2).any(0)] = 0.0
        weight[b, chosen.place] = wanted[b, chosen.place] = 1.0
        found += len(chosen.place)
        mine, theirs = boxes[b, chosen.place], target.xyxy[chosen.target]  # (M, 4)
        overlap = _paired_iou(mine, theirs)
        box_loss = box_loss + (1.0 - overlap**2).sum()
        one_hot = functional.one_hot(target.class_id[chosen.target], classes.shape[2]).float()
        soft = one_hot * chosen.overlap[:, None]  # a badly placed box shall not be sure
        class_loss = class_loss + functional.binary_cross_entropy_with_logits(
            classes[b, chosen.place], soft, reduction="sum"
        )
    background = functional.binary_cross_entropy_with_logits(
        objectness, wanted, weight=weight, reduction="sum"
    )
    return (_BOX_WEIGHT * box_loss + background + class_loss) / max(found, 1)


def _paired_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(M,) overlap of box m with box m."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    sizes = [(box[:, 2:] - box[:, :2]).prod(1) for box in (a, b)]
    return shared / (sizes[0] + sizes[1] - shared + 1e-9)
