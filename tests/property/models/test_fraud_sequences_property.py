import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.fraud.sequences import plan_sequences

batches = st.lists(st.integers(0, 9) | st.integers(-(2**63), 2**63 - 1), max_size=60)


@given(batches)
def test_every_event_stands_once_in_its_lane_in_order_of_arrival(rows: list[int]) -> None:
    batch = np.array(rows, np.int64)
    plan = plan_sequences(batch)
    assert sorted(plan.packed.tolist()) == list(range(len(rows)))
    assert (plan.rows[plan.lane] == batch[plan.packed]).all()
    for lane, row in enumerate(plan.rows.tolist()):
        assert plan.packed[plan.lane == lane].tolist() == [
            place for place, other in enumerate(rows) if other == row
        ]


@given(batches)
def test_waves_fall_and_touch_a_prefix_of_the_lanes(rows: list[int]) -> None:
    plan = plan_sequences(np.array(rows, np.int64))
    assert (np.diff(plan.sizes) <= 0).all()
    assert plan.sizes.sum() == len(rows)
    begin = 0
    for wave, alive in enumerate(plan.sizes.tolist()):
        assert plan.lane[begin : begin + alive].tolist() == list(range(alive))
        assert (plan.wave[begin : begin + alive] == wave).all()
        begin += alive


@given(batches)
def test_the_views_of_a_plan_agree(rows: list[int]) -> None:
    plan = plan_sequences(np.array(rows, np.int64))
    assert (plan.packed[plan.dest] == plan.order).all()
    assert (plan.distinct[plan.by_count] == plan.rows).all()
    assert (np.diff(plan.distinct.astype(object)) > 0).all()
    ends = plan.starts + plan.counts - 1
    assert (plan.packed[plan.last] == plan.order[ends[plan.by_count]]).all()
