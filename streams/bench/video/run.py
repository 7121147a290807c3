"""All parts of the video bench, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.vision.domain import REAL, SIMULATED
from streams.bench.video import churn, gate, overload, paced, ratio
from streams.bench.video.footage import Footage, film, street
from streams.errors import SettingsError
from streams.pipeline.network import check_weights
from streams.settings import Settings

PICTURES: Final = 600
"""Distinct pictures, a minute of a camera; more frames are these again."""

PARTS: Final = ("ratio", "gate", "latency", "overload", "memory")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured, and how much of it."""

    weights: str | None = None
    video: Path | None = None
    parts: Sequence[str] | None = None
    """Of `PARTS`; None for all."""

    frames: int = 1200
    runs: int = 3
    seconds: float = 20.0
    """Length of a paced run."""

    cameras: int = 256
    """Most cameras that are tried before a mostly still scene."""

    minutes: float = 20.0
    """Length of the memory run."""


def measure(settings: Settings, plan: Plan, say: Say) -> dict[str, Any]:
    """Measure the parts of the plan; the report has an object for each.

    Raises:
        ArtifactError: the weights are missing, or not for such pictures.
        SettingsError: the video is none, or there is no such part.
        ServerFailed: a worker ended early, or took too long.
        TocsinError: frames are unaccounted for.
    """
    if unknown := set(plan.parts or ()) - set(PARTS):
        raise SettingsError(f"no part {min(unknown)!r}: --part is one of {', '.join(PARTS)}")
    if plan.weights is not None:
        vision = settings.vision.model_copy(update={"model": plan.weights})
        settings = settings.model_copy(update={"vision": vision})
    check_weights(settings, SIMULATED if plan.video is None else REAL)
    footage = _footage(plan)
    frames, seconds = plan.frames, plan.seconds
    known: dict[str, Callable[[], dict[str, Any]]] = {
        "ratio": lambda: ratio.compare(settings, footage, frames, plan.runs, say),
        "gate": lambda: gate.measure(settings, footage, seconds, plan.cameras, say),
        "latency": lambda: paced.measure(settings, footage, seconds, say),
        "overload": lambda: overload.measure(settings, footage, frames, seconds, say),
        "memory": lambda: churn.watch(settings, footage, plan.minutes, say),
    }
    chosen = plan.parts or PARTS
    return {
        "model": settings.vision.model,
        "pictures": str(plan.video or "simulated"),
        **{name: known[name]() for name in PARTS if name in chosen},
    }


def _footage(plan: Plan) -> Footage:
    return street(PICTURES) if plan.video is None else film(plan.video, PICTURES)
