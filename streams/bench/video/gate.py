"""How many cameras one worker holds before a mostly still scene, with the motion gate and without.

A camera counts as held while at most 1 % of all frames are dropped and 99 % of them are done within
the age that the freshest-frame policy allows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from streams.bench.video.footage import FPS, Footage, mostly_still
from streams.bench.video.load import Fates
from streams.bench.video.paced import Pace, PacedRun, run
from streams.bench.video.subject import new_place, vision_worker
from streams.settings import Settings

LENGTH: Final = 600
MOVES: Final = 30
"""Of a camera's minute at 10 fps, three seconds move."""

DROPPED: Final = 0.01
STEP: Final = 0.1
"""The search ends where the next camera count is nearer than this share."""

Say = Callable[[str], None]


def measure(
    settings: Settings, footage: Footage, seconds: float, most: int, say: Say
) -> dict[str, Any]:
    """Search for the largest number of cameras up to `most`, with the gate and without.

    Raises:
        ServerFailed: a worker ended, or does not catch up.
    """
    scene = mostly_still(footage, length=LENGTH, moves=MOVES)
    told = {
        name: _search(settings, scene, seconds, most, gate=gate, say=say)
        for name, gate in (("on", True), ("off", False))
    }
    return {"fps": FPS, "moving_share": MOVES / LENGTH, "seconds": seconds, **told}


def _search(
    settings: Settings, scene: Footage, seconds: float, most: int, *, gate: bool, say: Say
) -> dict[str, Any]:
    place, trials = new_place(settings), dict[int, PacedRun]()
    limit_ms = settings.vision.max_age_s * 1000
    with vision_worker(settings, place, motion_gate=gate, cameras=4 * most) as worker:
        worker.watch()
        worker.wait_for("tocsin_ready", 1, 120.0)

        def holds(cameras: int) -> bool:
            pace = Pace(cameras, FPS, seconds, mark=f"of-{cameras}")
            found = trials[cameras] = run(settings, place, scene, worker, pace)
            are_held = is_held(found.fates, limit_ms)
            say(
                f"gate {'on' if gate else 'off'}, {cameras} cameras: "
                f"{100 * found.fates.dropped_share:.1f} % dropped, "
                f"p99 {found.fates.frame_p99_ms:.0f} ms, {found.worker_cores:.2f} cores"
                f"{'' if are_held else ': too many'}"
            )
            return are_held

        held = largest(holds, first=8 if gate else 2, limit=most)
    best = trials.get(held)
    return {
        "cameras": held,
        "fates": None if best is None else asdict(best.fates),
        "worker_cores": None if best is None else best.worker_cores,
        "tried": {str(cameras): is_held(one.fates, limit_ms) for cameras, one in trials.items()},
    }


def is_held(fates: Fates, limit_ms: float) -> bool:
    """Whether a worker has kept up, and told what became of every frame."""
    return (
        fates.dropped_share <= DROPPED
        and fates.frame_p99_ms <= limit_ms
        and not fates.unaccounted
        and not fates.other
    )


def largest(holds: Callable[[int], bool], *, first: int, limit: int) -> int:
    """Return a number that `holds` and whose next tried one does not; 0 if 1 does not.

    Doubles from `first`, halves where that is too many already, then bisects to `STEP`.
    """
    good, bad = 0, limit + 1
    number = min(first, limit)
    while good < number < bad:
        if holds(number):
            good = number
            number = min(2 * number, limit) if bad > limit else (good + bad) // 2
        else:
            bad = number
            number = (good + bad) // 2
        if good and bad <= limit and bad - good <= max(1, STEP * good):
            break
    return good
