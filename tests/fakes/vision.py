"""Tracks and rule books as the tests need them."""

from __future__ import annotations

import numpy as np

from models.vision.boxes import CONFIRMED, Tracks
from models.vision.rules_file import RuleBook, parse_rules

WIDTH, HEIGHT = 1000, 500
CLASSES = ("person", "car", "suitcase")
PERSON, CAR, SUITCASE = range(3)

GEOMETRY = """
[zones]
west = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]
[lines]
middle = [[0.5, 0.0], [0.5, 1.0]]
"""

Seen = tuple[int, float, float]
"""Track id, and where it stands in shares of the frame."""


def book(*rules: str) -> RuleBook:
    """Of rules without their header; the zone ``west`` and the line ``middle`` exist."""
    text = GEOMETRY + "".join(f"[[rule]]\n{rule}\n" for rule in rules)
    return parse_rules(text.encode(), CLASSES, "rules.toml")


def tracks(
    *seen: Seen,
    class_id: int = PERSON,
    confidence: float = 0.8,
    height: float = 0.2,
    status: int = CONFIRMED,
    unseen_s: float = 0.0,
) -> Tracks:
    """Boxes half as wide as they are high (in pixels), standing at the given points."""
    n = len(seen)
    ids, feet = np.array([s[0] for s in seen], np.int64), np.array([s[1:] for s in seen])
    feet = feet.reshape(-1, 2) * [WIDTH, HEIGHT]
    tall = height * HEIGHT
    corners = [feet[:, 0] - tall / 4, feet[:, 1] - tall, feet[:, 0] + tall / 4, feet[:, 1]]
    return Tracks(
        xyxy=np.stack(corners, 1).astype(np.float32),
        confidence=np.full(n, confidence, np.float32),
        class_id=np.full(n, class_id, np.int64),
        tracker_id=ids,
        hits=np.full(n, 5, np.int64),
        age_s=np.full(n, 1.0),
        unseen_s=np.full(n, unseen_s),
        status=np.full(n, status, np.uint8),
    )


def both(a: Tracks, b: Tracks) -> Tracks:
    """The tracks of two, in one frame."""
    return Tracks(
        *(
            np.concatenate([getattr(a, name), getattr(b, name)])
            for name in (
                "xyxy", "confidence", "class_id", "tracker_id", "hits", "age_s", "unseen_s",
                "status",
            )
        )
    )  # fmt: skip
