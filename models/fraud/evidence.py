"""What a card says about a fraud on it: does the card explain the fraud, or the terminal?

A fraud of five times the card's usual amount, amid other large ones, speaks of a card that somebody
else holds and says little about the terminal where it was made. When a label arrives, the card's
large transactions around the labelled one are looked up in its row; the answer is kept beside the
label in the terminal's profile.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from models.fraud.features import LARGE_KEPT, LARGE_RATIO
from models.fraud.verdicts import FRAUD

DAY_MS = 86_400_000
BACK_MS, AHEAD_MS = 10 * DAY_MS, 6 * DAY_MS
"""Large transactions this long before and after the labelled one count."""

LAG_MS = DAY_MS
"""Only what happened this long before the verdict counts: by then the fraud agent has seen it, so
that the answer does not depend on how far it was when the label came."""

_MOST_EXCESS = 3.0  # one huge amount is not several large ones


def card_evidence(
    cards: npt.NDArray[Any],
    event_time: npt.NDArray[np.int64],
    labelled_at: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """How large each of L labelled transactions was for its card, and what stood around it.

    Args:
        cards: (L,) CARD_STATE of the card of each, now; a blank one where the card is unknown.
        event_time: (L,) int64 ms, of the labelled transaction.
        labelled_at: (L,) int64 ms, of the verdict.

    Returns:
        ratio: (L,) float32, times the card's usual amount; `LARGE_RATIO` stands for that or less.
        burst: (L,) float32, excess over `LARGE_RATIO` of the card's other large transactions near
            it, each at most 3; 0 where there is none.
    """
    time, large = cards["large_time"], cards["large_ratio"]  # (L, LARGE_KEPT)
    used = np.arange(LARGE_KEPT) < cards["large_count"][:, None]
    own = used & (time == event_time[:, None])
    ratio = np.max(large, 1, initial=LARGE_RATIO, where=own)
    until = np.minimum(event_time + AHEAD_MS, labelled_at - LAG_MS)
    near = used & ~own & (time >= event_time[:, None] - BACK_MS) & (time <= until[:, None])
    excess = np.minimum(large - LARGE_RATIO, _MOST_EXCESS)
    return ratio.astype(np.float32), excess.sum(1, where=near).astype(np.float32)


def with_evidence(labels: npt.NDArray[Any], cards: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """L labels with what their cards say: `ratio` and `burst` filled in.

    Args:
        labels: (L,) LABEL.
        cards: (L,) CARD_STATE of the card of each.

    Returns:
        (L,) LABEL, a copy. A genuine transaction needs no explanation and gets none.
    """
    out = labels.copy()
    out["ratio"], out["burst"] = LARGE_RATIO, 0.0
    frauds = np.flatnonzero(labels["verdict"] == FRAUD)
    some = labels[frauds]
    out["ratio"][frauds], out["burst"][frauds] = card_evidence(
        cards[frauds], some["event_time"], some["labelled_at"]
    )
    return out
