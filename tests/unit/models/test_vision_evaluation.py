from __future__ import annotations

import numpy as np
import pytest

from models.errors import DataError
from models.vision.annotations import Truth
from models.vision.boxes import Detections
from models.vision.evaluation import average_precision, in_classes_of, matched_classes

Row = tuple[float, float, float, float]
A: Row = (0, 0, 10, 10)
B: Row = (50, 50, 90, 90)


def truth(*rows: Row, class_id: int = 0, ignored: bool = False) -> Truth:
    xyxy = np.array(rows, np.float32).reshape(-1, 4)
    return Truth(xyxy, np.full(len(rows), class_id), np.full(len(rows), ignored))


def found(*rows: tuple[Row, float], class_id: int = 0) -> Detections:
    return Detections(
        np.array([row for row, _ in rows], np.float32).reshape(-1, 4),
        np.array([score for _, score in rows], np.float32),
        np.full(len(rows), class_id),
    )


def test_without_an_object_to_find_there_is_nothing_to_judge() -> None:
    for truths, some in (([], []), ([truth(A, ignored=True)], [found((A, 0.9))])):
        with pytest.raises(DataError, match="no object of the classes to judge: cat"):
            average_precision(truths, some, {0: "cat"})


def test_finding_nothing_scores_nothing() -> None:
    overall, each = average_precision([truth(A, B)], [Detections.empty()], {0: "cat"})
    assert (overall.ap, overall.ap50, each["cat"].ap) == (0, 0, 0)


def test_finding_everything_scores_one() -> None:
    truths = [truth(A, B), truth()]
    overall, _ = average_precision(truths, [found((B, 0.4), (A, 0.9)), found()], {0: "cat"})
    assert (overall.ap, overall.ap50) == pytest.approx((1, 1))


def test_a_false_alarm_that_ranks_first_costs_half() -> None:
    overall, _ = average_precision([truth(A)], [found((B, 0.9), (A, 0.8))], {0: "cat"})
    assert overall.ap50 == pytest.approx(0.5)


def test_a_box_that_fits_loosely_counts_at_the_lower_thresholds() -> None:
    overall, _ = average_precision([truth(A)], [found(((0, 0, 10, 7.8), 0.9))], {0: "cat"})
    assert overall.ap50 == pytest.approx(1)
    assert overall.ap == pytest.approx(0.6)  # IoU 0.78: of 0.50 to 0.95, six thresholds are below


def test_what_is_ignored_is_neither_missed_nor_punished() -> None:
    truths = [Truth(np.array([A, B], np.float32), np.zeros(2, np.int64), np.array([False, True]))]
    for some in (found((A, 0.5)), found((A, 0.5), (B, 0.9))):
        assert average_precision(truths, [some], {0: "cat"})[0].ap == pytest.approx(1)


def test_classes_are_judged_apart_and_others_not_at_all() -> None:
    truths = [truth(A, class_id=1), truth(B, class_id=4), truth(B, class_id=2)]
    some = [found((A, 0.9), class_id=1), found((B, 0.9), class_id=1), found((A, 0.9), class_id=9)]
    overall, each = average_precision(truths, some, {1: "cat", 4: "dog", 3: "cow"})
    assert sorted(each) == ["cat", "dog"]
    assert (each["cat"].ap, each["dog"].ap, overall.ap) == pytest.approx((1, 0, 0.5))


def test_classes_are_matched_by_name() -> None:
    matched = matched_classes(("person", "car", "dog"), ("dog", "bike", "person"))
    assert matched == {0: 2, 2: 0}
    some = Detections(np.zeros((4, 4), np.float32), np.zeros(4, np.float32), np.array([0, 1, 2, 9]))
    assert in_classes_of(matched, some).class_id.tolist() == [2, 0]
    assert len(in_classes_of(matched, Detections.empty())) == 0
    assert len(in_classes_of({}, some)) == 0
