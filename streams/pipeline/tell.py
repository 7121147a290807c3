"""From what the rules tell to messages: pictures first, so that a reader finds them."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from models.vision.boxes import Tracks
from models.vision.images import decode, encode
from models.vision.object_events import ObjectEvent
from models.vision.snapshots import Box, annotate, crop, hide
from streams.alerts.envelope import cloud_events_headers
from streams.alerts.objects import OpenAlert, OpenAlerts, build_object_alert
from streams.errors import StoreError
from streams.frames import FrameHeaders
from streams.pipeline.batch import Message
from streams.pipeline.frames import Frame
from streams.schemas import ModelRef, Source
from streams.schemas import encode as encode_record
from streams.state.pictures import CROP, PictureStore
from streams.tracing import traceparent_of

log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class AlertRules:
    """Where object alerts go and what they say of their origin."""

    model: ModelRef
    threshold: float
    source_topic: str
    alerts_topic: str
    blur: bool
    """Blur the people whom an alert is not about."""

    person: int | None
    """Class id of people, where the detector knows them."""


class AlertTeller:
    """Builds the messages of one frame after another. Used by one thread."""

    def __init__(self, rules: AlertRules, pictures: PictureStore | None) -> None:
        self._rules, self._pictures = rules, pictures

    def tell(
        self,
        frame: Frame,
        alerts: OpenAlerts,
        events: Sequence[ObjectEvent],
        tracks: Tracks | None = None,
    ) -> list[Message]:
        """Build a message for each event.

        Args:
            frame: of the events.
            alerts: of its camera, which take the events in.
            events: in their order.
            tracks: of the frame, in its pixels; None takes no pictures.
        """
        source = Source(self._rules.source_topic, frame.partition, frame.offset)
        messages = []
        for event in events:
            alert = alerts.advance(event, source)
            if alert is None:
                continue
            if tracks is not None and event.status != "end":
                alert = self._pictured(frame, alert, event, alerts, tracks)
            messages.append(self._message(frame.camera, alert, event, frame.headers))
        return messages

    def tell_without_frame(
        self, camera: str, alerts: OpenAlerts, events: Sequence[ObjectEvent]
    ) -> list[Message]:
        """Build a message for each event, none of them `new`, that no frame has brought about."""
        return [
            self._message(camera, alert, event)
            for event in events
            if (alert := alerts.go_on(event)) is not None
        ]

    def _message(
        self,
        camera: str,
        alert: OpenAlert,
        event: ObjectEvent,
        headers: FrameHeaders | None = None,
    ) -> Message:
        trace = [] if headers is None else headers.trace_context()
        built = build_object_alert(
            alert,
            event,
            camera_id=camera,
            model=self._rules.model,
            threshold=self._rules.threshold,
            processed_at=round(time.time() * 1000),
            traceparent=traceparent_of(trace),
        )
        return Message(
            self._rules.alerts_topic,
            camera.encode(),
            encode_record(built),
            [*cloud_events_headers(built), *trace],
            sent_at=0 if headers is None else headers.captured_at,
        )

    def _pictured(
        self,
        frame: Frame,
        alert: OpenAlert,
        event: ObjectEvent,
        alerts: OpenAlerts,
        tracks: Tracks,
    ) -> OpenAlert:
        """Keep a picture of the alert; without one it goes out all the same."""
        if self._pictures is None or frame.picture is None:
            return alert
        # Decoded anew where the network needed less than a person wants to see.
        full = frame.picture.shape[:2] == frame.shape
        picture = frame.picture if full else decode(frame.data)
        label = f"{event.class_name} {event.confidence:.2f} {event.rule}"
        if others := self._others(event, tracks, frame.shape):
            picture = hide(picture, others, keep=event.box)
        snapshot = annotate(picture, event.box, label, _caption(frame))
        try:
            reference = self._pictures.put(alert.id, encode(snapshot))
            self._pictures.put(alert.id + CROP, encode(crop(picture, event.box), quality=90))
        except StoreError as error:
            log.warning("no picture of %s: %s", alert.id, error, extra={"alert_id": alert.id})
            return alert
        return alert if reference is None else alerts.pictured(alert, reference)

    def _others(self, event: ObjectEvent, tracks: Tracks, shape: tuple[int, int]) -> list[Box]:
        """People in the frame, as shares of it, other than the one that the event is about.

        A count is about everybody.
        """
        if not self._rules.blur or self._rules.person is None or event.track == 0:
            return []
        seen = tracks.seen()
        others = (seen.class_id == self._rules.person) & (seen.tracker_id != event.track)
        height, width = shape
        return [
            (x1 / width, y1 / height, x2 / width, y2 / height)
            for x1, y1, x2, y2 in seen.xyxy[others].tolist()
        ]


def _caption(frame: Frame) -> str:
    """Where and when, for whoever sees the picture alone."""
    captured = _EPOCH + timedelta(milliseconds=frame.headers.captured_at)
    return f"{frame.camera} {captured:%Y-%m-%d %H:%M:%S}.{captured.microsecond // 100_000} UTC"
