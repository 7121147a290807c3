"""From a batch of events to one sequence a row, packed for a recurrent network.

A batch holds several events of the same row (a card, a terminal), in the order of their arrival.
`plan_sequences` sorts it once into *waves*: wave 0 holds the first event of every row, wave 1 the
second of those that have one, and so on. Rows stand by falling number of events, so a wave touches
the first ``sizes[t]`` of them; this is the packed order of ``torch.nn.utils.rnn.PackedSequence``,
and one GIL-free call runs a network over all waves. Whatever is computed wave by wave, or by prefix
sums within a row, does not depend on where the stream of events was cut into batches.

Names, for a batch of B events over U rows in T waves::

    position  0..B-1  place in the batch, that is order of arrival
    slot      0..B-1  place in packed order, wave after wave
    lane      0..U-1  place of a row in `rows`, by falling number of events
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SequencePlan:
    """Where each event of a batch stands in packed order. All arrays are int64.

    Attributes:
        packed: (B,) position that each slot holds.
        rows: (U,) distinct rows, lane by lane.
        sizes: (T,) rows that are alive in each wave, falling.
        lane: (B,) lane of each slot.
        wave: (B,) wave of each slot.
        last: (U,) slot of the last event of each lane.
        order: (B,) positions sorted by (row, arrival).
        dest: (B,) slot of each entry of `order`.
        starts: (U,) where each row begins in `order`, rows ascending.
        counts: (U,) events of each row, rows ascending.
        distinct: (U,) distinct rows, ascending.
        by_count: (U,) ``rows == distinct[by_count]``.
    """

    packed: Ints
    rows: Ints
    sizes: Ints
    lane: Ints
    wave: Ints
    last: Ints
    order: Ints
    dest: Ints
    starts: Ints
    counts: Ints
    distinct: Ints
    by_count: Ints

    def __len__(self) -> int:
        return len(self.packed)


def plan_sequences(rows: Ints) -> SequencePlan:
    """Sort a batch into waves.

    Args:
        rows: (B,) int64, row of each event in order of arrival; may be empty.
    """
    # 1. Sort by row, keeping arrival order, and find where each row begins.
    batch = len(rows)
    order, ordered = _stable_sort(rows)
    begins = np.empty(batch, np.bool_)
    begins[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
    starts = np.flatnonzero(begins)
    counts = np.diff(starts, append=batch)
    distinct = ordered[starts]

    # 2. Give each row its lane: the more events, the lower.
    by_count, _ = _stable_sort(-counts)
    lane_of = np.empty_like(by_count)
    lane_of[by_count] = np.arange(len(by_count))
    sizes = len(counts) - np.cumsum(np.bincount(counts, minlength=1))[:-1]
    offsets = np.cumsum(sizes) - sizes

    # 3. Place every event: slot = where its wave begins + its lane.
    positions = np.arange(batch)
    wave = np.repeat(np.arange(len(sizes)), sizes)
    lane = positions - offsets[wave]
    rank = positions - np.repeat(starts, counts)
    dest = offsets[rank] + np.repeat(lane_of, counts)
    packed = np.empty_like(order)
    packed[dest] = order
    return SequencePlan(
        packed=packed,
        rows=distinct[by_count],
        sizes=sizes,
        lane=lane,
        wave=wave,
        last=dest[(starts + counts - 1)[by_count]],
        order=order,
        dest=dest,
        starts=starts,
        counts=counts,
        distinct=distinct,
        by_count=by_count,
    )


def _stable_sort(keys: Ints) -> tuple[Ints, Ints]:
    """Stable order of the keys, and the keys in that order.

    The place rides in the low bits of the key, because numpy sorts int64 itself many times faster
    than it sorts stably through an index; keys too large for that take the slow way.
    """
    bits = max(len(keys) - 1, 0).bit_length()
    limit = 1 << (62 - bits)
    if len(keys) and (keys.min() < -limit or keys.max() >= limit):
        order = np.argsort(keys, kind="stable")
        return order, keys[order]
    tagged = (keys << bits) | np.arange(len(keys))
    tagged.sort()
    return tagged & ((1 << bits) - 1), tagged >> bits
