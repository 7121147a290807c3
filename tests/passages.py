"""People who walk past cameras, and what must be told of them."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from streams.frames import FrameHeaders
from streams.schemas import Alert, decode_alert
from tests.conftest import ROOT
from tests.fakes.blobs import PASSING, RULES
from tests.worker import Bed, Produced, WorkerProcess, bed_on

BLOBS = (sys.executable, str(ROOT / "tests" / "chaos" / "vision_worker.py"))
"""The worker, with a detector of bright rectangles."""

LISTENING = {"TOCSIN_VISION__SILENCE_S": "1"}
"""A camera is silent soon."""

STEP_MS = 100
CAMERAS = ("gate", "door", "yard")


def passages(count: int, *, begun_ms: int, cameras: Sequence[str] = CAMERAS) -> list[Produced]:
    """`count` people, one after another, before each camera."""
    return [
        shot(value, camera, number, begun_ms + STEP_MS * number)
        for number, value in enumerate(PASSING * count)
        for camera in cameras
    ]


def shot(value: bytes | None, camera: str, seq: int, captured_at: int, **headers: str) -> Produced:
    fields = FrameHeaders(camera_id=camera, captured_at=captured_at, seq=seq, **headers)  # type: ignore[arg-type]
    return Produced(value, camera.encode(), fields.to_headers())  # type: ignore[arg-type]


def alerts_of(bed: Bed) -> list[Alert]:
    return [decode_alert(record.value) for record in bed.read(bed.settings.topics.alerts)]


def distinct(alerts: Sequence[Alert]) -> list[Alert]:
    """As a consumer keeps them: by event id, the first."""
    return list({alert.event_id: alert for alert in reversed(alerts)}.values())


def check(alerts: Sequence[Alert], count: int, cameras: Sequence[str] = CAMERAS) -> None:
    """Each thing that happened was told, from one `new` to one `end`, and nothing else was."""
    once = distinct(alerts)
    by_id: dict[str, list[Alert]] = {}
    for alert in once:
        by_id.setdefault(alert.id, []).append(alert)
    told = Counter((own[0].entity, own[0].detail["rule"]) for own in by_id.values())
    assert told == {(c, rule): count for c in cameras for rule in ("anyone", "right-half")}
    for own in by_id.values():
        ordered = sorted(own, key=lambda alert: alert.revision)
        assert [alert.revision for alert in ordered] == list(range(len(ordered)))
        statuses = [alert.status for alert in ordered]
        assert statuses[0] == "new"
        assert statuses[-1] == "end"
        assert set(statuses[1:-1]) <= {"update"}


def caught_up(bed: Bed, worker: WorkerProcess) -> None:
    group, topic = bed.settings.vision.group, bed.settings.topics.frames
    worker.until(lambda: bed.lag(group, topic) == 0, "commit of everything")


def ended(bed: Bed) -> set[str]:
    """Alerts that have ended."""
    time.sleep(0.5)  # reading them all takes from the worker that is waited for
    return {alert.id for alert in alerts_of(bed) if alert.status == "end"}


def now_ms() -> int:
    return round(time.time() * 1000)


def vision_bed(bootstrap: str, redis_url: str, name: str, folder: Path) -> Bed:
    """A bed with topics and rules, whose worker keeps every frame."""
    rules = folder / "rules.toml"
    rules.write_text(RULES)
    made = bed_on(bootstrap, redis_url, name, folder)
    vision = made.settings.vision.model_copy(
        update={
            "policy": "keep-all",
            "rules": rules,
            "threads": 1,
            "max_batch": 8,
            "silence_s": 600.0,  # however slow the machine is
        }
    )
    made.settings = made.settings.model_copy(update={"vision": vision})
    made.create_topics()
    return made
