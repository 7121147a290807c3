"""Why the network scored a transaction as it did: groups of inputs are neutralised in turn.

Without a group the transaction has an ordinary amount, comes at an ordinary time, or is of a card
or at a terminal without history. A group's contribution is how far the score rises when the group
is added, taken along two orders of the groups, one the reverse of the other, and averaged. Along
each order the rises add up to the whole rise, so the contributions do too: they sum to the score
less that of a transaction with every group neutral.

Source: Strumbelj, Kononenko, *An Efficient Explanation of Individual Classifications using Game
Theory*, JMLR 11, 2010, with the two orders in the place of many random ones.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from models.fraud.features import CARD_FEATURES
from models.fraud.network import FraudNetwork
from models.fraud.profile import new_profiles, profile_features, summarise

GROUPS: dict[str, tuple[str, ...]] = {
    "amount": ("log_amount", "amount_clipped", "amount_z", "amount_ratio", "times_usual"),
    "gap": ("log_gap", "gap_below_minute", "gap_below_hour"),
    "hour": ("hour_sin", "hour_cos", "night", "weekday_sin", "weekday_cos", "weekend"),
    "card_history": ("usual_amount", "usual_deviation", "same_terminal", "log_count"),
    "terminal_history": (),
}
"""Card features of each group; ``card_history`` also empties the memory, ``terminal_history``
empties the profile."""


@torch.inference_mode()
def contributions(
    network: FraudNetwork, x: torch.Tensor, risk: torch.Tensor, hidden: torch.Tensor
) -> npt.NDArray[np.float32]:
    """How far each group raises each score.

    Args:
        network: that scored.
        x: (K, F) card features.
        risk: (K, P) profile features.
        hidden: (K, H) memory before the transaction.

    Returns:
        (K, len(GROUPS)) float32 in [-1, 1], summing to the score less the neutral score.
    """
    groups = list(GROUPS)
    if len(x) == 0:
        return np.empty((0, len(groups)), np.float32)
    # 1. The sets of groups that the two orders pass through, from none to all.
    forward = [frozenset(groups[:n]) for n in range(len(groups) + 1)]
    reverse = [frozenset(groups[len(groups) - n :]) for n in range(len(groups) + 1)]
    sets = list(dict.fromkeys(forward + reverse))

    # 2. One call for all of them: a call costs more than its rows.
    parts = [_with(groups_shown, x, risk, hidden) for groups_shown in sets]
    xs, risks, hiddens = (torch.cat(column) for column in zip(*parts, strict=True))
    scores, _ = network.step(xs, torch.tensor([len(xs)]), hiddens, risks)
    score_of = dict(zip(sets, scores.reshape(len(sets), len(x)), strict=True))  # (K,) of each set

    # 3. The rise that each group brings, averaged over the orders.
    rises = {group: torch.zeros_like(score_of[sets[0]]) for group in groups}
    for order in (forward, reverse):
        for less, more in pairwise(order):
            (added,) = more - less
            rises[added] += 0.5 * (score_of[more] - score_of[less])
    return torch.stack([rises[group] for group in groups], 1).cpu().numpy()


def _with(
    shown: frozenset[str], x: torch.Tensor, risk: torch.Tensor, hidden: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The inputs with only some groups: (K, F), (K, P), (K, H)."""
    muted = [
        CARD_FEATURES.index(name)
        for group, names in GROUPS.items()
        if group not in shown
        for name in names
    ]
    x = x.clone()
    x[:, muted] = 0.0  # centred: the ordinary case
    if "terminal_history" not in shown:
        empty = summarise(new_profiles(1), large_amount=0.0)
        nothing = profile_features(empty, np.zeros(1, np.int64))
        risk = torch.from_numpy(nothing).to(risk.device).expand_as(risk)
    return x, risk, hidden if "card_history" in shown else torch.zeros_like(hidden)
