"""Which frames are skipped: the late, the stale with some to spare, and those too often."""

from __future__ import annotations

from collections import Counter

import pytest

from streams.pipeline.freshness import MAX_GAP_MS, FrameRules, Passage

NOW = 1_700_000_000_000
FRESHEST = FrameRules(keep_all=False, max_age_ms=2000, max_fps=30)
KEEP_ALL = FrameRules(keep_all=True, max_age_ms=2000, max_fps=30)


def test_frames_in_order_are_taken() -> None:
    passage = Passage()
    for step in range(10):
        assert passage.decide(NOW + 100 * step, NOW + 100 * step, FRESHEST) == "take"
    assert passage.broken is None


@pytest.mark.parametrize("rules", [FRESHEST, KEEP_ALL])
def test_a_frame_from_before_the_last_one_is_late(rules: FrameRules) -> None:
    passage = Passage()
    passage.decide(NOW, NOW, rules)
    assert passage.decide(NOW - 1, NOW, rules) == "late"
    assert passage.decide(NOW - MAX_GAP_MS, NOW, rules) == "late"
    assert passage.decide(NOW + 100, NOW + 100, rules) == "take"


def test_a_clock_that_was_set_back_starts_anew() -> None:
    passage = Passage()
    passage.decide(NOW, NOW, KEEP_ALL)
    back = NOW - 3_600_000
    assert passage.decide(back, NOW, KEEP_ALL) == "take"
    assert passage.broken == "the camera's clock was set back"
    passage.broken = None
    assert passage.decide(back + 100, NOW, KEEP_ALL) == "take"
    assert passage.broken is None


def test_a_long_gap_breaks_what_was_followed_also_behind_stale_frames() -> None:
    passage = Passage()
    passage.decide(NOW, NOW, FRESHEST)
    later = NOW + MAX_GAP_MS + 5_000
    assert passage.decide(later - 3_000, later, FRESHEST) == "stale"
    assert passage.decide(later, later, FRESHEST) == "take"
    assert passage.broken == "no picture came for a while"


def test_stale_frames_are_skipped_until_half_the_age_is_reached() -> None:
    passage = Passage()
    ages = [2500, 2001, 1999, 1500, 1001, 1000, 1500, 2000, 2001]
    fates = [
        passage.decide(NOW + 100 * step, NOW + 100 * step + age, FRESHEST)
        for step, age in enumerate(ages)
    ]
    assert fates == [*["stale"] * 5, "take", "take", "take", "stale"]


def test_nothing_is_stale_or_too_often_where_all_is_kept() -> None:
    passage = Passage()
    fates = [passage.decide(NOW + step, NOW + 10**9, KEEP_ALL) for step in range(100)]
    assert set(fates) == {"take"}


def test_a_camera_of_500_frames_a_second_is_sampled() -> None:
    passage = Passage()
    fates = Counter(passage.decide(NOW + 2 * i, NOW + 2 * i, FRESHEST) for i in range(500))
    assert fates.keys() == {"take", "too often"}
    assert 28 <= fates["take"] <= 34


def test_a_camera_at_the_limit_loses_nothing_to_jitter() -> None:
    passage = Passage()
    times = [NOW + round(1000 * i / 30) for i in range(300)]
    assert {passage.decide(at, at, FRESHEST) for at in times} == {"take"}
