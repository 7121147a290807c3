"""What is in every frame, as messages: for evaluation, and for whoever draws on the pictures."""

from __future__ import annotations

from streams.pipeline.batch import Message
from streams.pipeline.frames import Frame
from streams.pipeline.watch import Sight
from streams.schemas import DetectedObject, FrameObjects, TrackedObject, encode


class TrackTeller:
    """Builds the message on a frame's objects.

    Args:
        topic: where it goes, keyed by camera.
        names: of the detector's classes.
    """

    def __init__(self, topic: str, names: tuple[str, ...]) -> None:
        self._topic, self._names = topic, names

    def tell(self, frame: Frame, sight: Sight) -> Message:
        """Say what was detected in a frame, and which tracks were seen in it."""
        found, seen = sight.detections, sight.tracks.seen()
        detections = [
            DetectedObject(x1, y1, x2, y2, confidence, self._names[class_id])
            for (x1, y1, x2, y2), confidence, class_id in zip(
                found.xyxy.tolist(), found.confidence.tolist(), found.class_id.tolist(), strict=True
            )
        ]
        tracks = [
            TrackedObject(x1, y1, x2, y2, confidence, self._names[class_id], tracker_id)
            for (x1, y1, x2, y2), confidence, class_id, tracker_id in zip(
                seen.xyxy.tolist(),
                seen.confidence.tolist(),
                seen.class_id.tolist(),
                seen.tracker_id.tolist(),
                strict=True,
            )
        ]
        height, width = frame.shape
        objects = FrameObjects(
            camera_id=frame.camera,
            seq=frame.headers.seq,
            captured_at=frame.headers.captured_at,
            width=width,
            height=height,
            is_still=frame.is_still,
            detections=detections,
            tracks=tracks,
        )
        return Message(self._topic, frame.camera.encode(), encode(objects))
