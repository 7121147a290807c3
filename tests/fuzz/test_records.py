"""What is read back from our topics: nearly a record, it is refused or one that readers can use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.alerts.envelope import cloud_events_headers
from streams.cli.alerts import one_line
from streams.schemas import (
    DECODE_ERRORS,
    Action,
    Alert,
    DetectedObject,
    FrameObjects,
    Score,
    TrackedObject,
    decode_action,
    decode_alert,
    decode_frame_objects,
    decode_score,
    encode,
)
from tests.dashboard import a_fraud, an_object
from tests.fuzz.inputs import near

NOW = 1_700_000_000_000
BOX = (10.0, 20.0, 30.5, 60.0, 0.9, "person")
RECORDS = {
    "fraud": (decode_alert, a_fraud(1)),
    "object": (decode_alert, an_object(1)),
    "action": (
        decode_action,
        Action(id="a1", at=NOW, by="ann", action="suppress", entity="c1", until=NOW + 1, text="ok"),
    ),
    "score": (decode_score, Score("t1", "c1", 0.5, NOW, "gru", "2")),
    "frame": (
        decode_frame_objects,
        FrameObjects(
            camera_id="gate",
            seq=7,
            captured_at=NOW,
            width=640,
            height=480,
            is_still=False,
            detections=[DetectedObject(*BOX)],
            tracks=[TrackedObject(*BOX, tracker_id=3)],
        ),
    ),
}


@pytest.mark.parametrize(("decode", "good"), RECORDS.values(), ids=RECORDS)
@given(data=st.data())
def test_what_is_nearly_a_record_is_refused_or_one_that_can_be_used(
    decode: Callable[[bytes], msgspec.Struct], good: msgspec.Struct, data: Any
) -> None:
    assert decode(encode(good)) == good
    value = data.draw(near(msgspec.to_builtins(good)))
    try:
        found = decode(value)
    except DECODE_ERRORS:
        return
    assert decode(encode(found)) == found
    if isinstance(found, Alert):
        assert found.entity.encode() in dict(cloud_events_headers(found)).values()
        assert one_line(found).plain
        assert 0 <= found.source.offset < 2**63
