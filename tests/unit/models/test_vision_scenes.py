from __future__ import annotations

import numpy as np
import pytest

from models.vision.boxes import area
from models.vision.scenes import CLASS_NAMES, StreetCamera
from models.vision.scenes.camera import MIN_VISIBLE
from models.vision.scenes.light import DAY_S, daylight
from models.vision.scenes.shapes import Sketch, extent, in_pixels, paint


def test_the_same_seed_and_moment_is_the_same_picture_in_any_order() -> None:
    first, again = StreetCamera(7), StreetCamera(7)
    early, truth = first.frame(3.2)
    first.frame(250.0)
    again.frame(99.0)
    repeated, boxes = again.frame(3.2)
    assert (early == repeated).all()
    assert (truth.xyxy == boxes.xyxy).all()
    assert (truth.object_id == boxes.object_id).all()
    assert (first.frame(3.2)[0] == early).all()


def test_other_seeds_are_other_streets() -> None:
    one, other = StreetCamera(1), StreetCamera(2)
    assert one.street != other.street
    assert (one.frame(5.0)[0] != other.frame(5.0)[0]).mean() > 0.5


@pytest.mark.parametrize(("width", "height"), [(640, 360), (320, 192), (800, 600)])
def test_pictures_have_the_size_asked_for_and_boxes_lie_within(width: int, height: int) -> None:
    camera = StreetCamera(3, width=width, height=height)
    for t in (0.0, 40.0, 80.0):
        image, truth = camera.frame(t)
        assert image.shape == (height, width, 3)
        assert image.dtype == np.uint8
        assert truth.xyxy.dtype == np.float32
        assert (area(truth.xyxy) > 0).all()
        assert (truth.xyxy >= 0).all()
        assert (truth.xyxy <= [width, height, width, height]).all()
        assert ((truth.visible >= MIN_VISIBLE) & (truth.visible <= 1.0 + 1e-6)).all()
        assert len(set(truth.object_id.tolist())) == len(truth)
        assert set(truth.class_id.tolist()) <= set(range(len(CLASS_NAMES)))


def test_what_moves_changes_pixels_inside_of_its_box_and_hardly_any_outside() -> None:
    camera = StreetCamera(12)
    compared = 0
    for t in (10.0, 33.0, 61.0):
        (one, before), (two, after) = camera.frame(t), camera.frame(t + 0.4)
        changed = np.abs(one.astype(np.int16) - two).max(2) > 40
        moved = np.zeros(changed.shape, np.bool_)
        for truth in (before, after):
            for x1, y1, x2, y2 in truth.xyxy.tolist():
                # Its shadow falls a little outside of it.
                low = int(y2 + 0.1 * (x2 - x1)) + 3
                moved[max(0, int(y1) - 1) : low, max(0, int(x1) - 3) : int(x2) + 4] = True
        assert changed[~moved].mean() < 0.002
        for box, object_id, visible in zip(
            before.xyxy, before.object_id, before.visible, strict=True
        ):
            later = after.xyxy[after.object_id == object_id]
            if visible > 0.9 and len(later) and np.abs(later[0] - box).max() > 8:
                x1, y1, x2, y2 = box.round().astype(int).tolist()
                assert changed[y1:y2, x1:x2].mean() > 0.05
                compared += 1
    assert compared >= 3


def test_a_box_touches_the_pixels_of_its_object_on_every_side() -> None:
    """The extent is of the corners that are painted, not a guess about the figure."""
    sketch = Sketch()
    sketch.limb((0.0, 0.0), (1.0, 2.0), 0.4, (255, 255, 255), taper=0.5)
    sketch.oval((0.5, 2.5), (0.3, 0.2), (255, 255, 255))
    sketch.box((-1.0, 0.5), (-0.5, 0.8), (255, 255, 255), glow=True)

    figure = sketch.done()
    image = np.zeros((120, 120, 3), np.uint8)
    pixels = in_pixels(figure, (60.0, 100.0), 25.0)
    paint(image, figure, pixels, (1.0, 1.0, 1.0))
    rows, columns = np.nonzero(image[..., 0] > 127)
    painted = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert extent(pixels) == pytest.approx(painted, abs=1.5)


def test_people_and_vehicles_come_go_and_hide_each_other() -> None:
    camera = StreetCamera(5)
    seen: dict[int, int] = {}
    hidden = False
    for t in np.arange(0.0, 90.0, 1.0).tolist():
        _, truth = camera.frame(t)
        hidden |= bool((truth.visible < 0.6).any())
        for object_id, class_id in zip(truth.object_id, truth.class_id, strict=True):
            assert seen.setdefault(int(object_id), int(class_id)) == class_id
    left = set(seen) - set(camera.frame(89.0)[1].object_id.tolist())
    assert min(sum(c == k for c in seen.values()) for k in (0, 1)) >= 4
    assert len(left) >= 10
    assert hidden


def test_motion_is_continuous_at_any_frame_rate() -> None:
    camera = StreetCamera(9)
    for begin in (20.0, 47.0):
        previous = camera.frame(begin)[1]
        for k in range(1, 13):
            truth = camera.frame(begin + k / 25)[1]
            for object_id, box in zip(truth.object_id, truth.xyxy, strict=True):
                before = previous.xyxy[previous.object_id == object_id]
                if len(before):  # 9 m/s at 40 pixels a metre is 15 pixels a frame
                    assert np.abs((before[0] - box)[[1, 3]]).max() < 12
                    assert np.abs((before[0, ::2] + 0) - box[::2]).max() < 30
            previous = truth


def test_nights_are_darker_than_days() -> None:
    assert daylight(0.0, 0.0) == 1.0
    assert daylight(DAY_S / 2, 0.0) == 0.0
    camera = StreetCamera(4)
    means = [camera.frame(t)[0].mean() for t in np.linspace(0.0, DAY_S, 13).tolist()]
    assert max(means) > 1.6 * min(means)


def test_regions_for_rules_lie_in_the_picture() -> None:
    camera = StreetCamera(8)
    regions = camera.street.regions()
    assert set(regions) == {"roadway", "crossing", "far pavement", "near pavement"}
    for corners in regions.values():
        assert corners.shape == (4, 2)
        assert (corners >= 0).all()
        assert (corners <= [640, 360]).all()
    assert regions["far pavement"][:, 1].max() < regions["near pavement"][:, 1].max()
