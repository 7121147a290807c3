"""Why the network scored a transaction as it did: groups of inputs are neutralised in turn.

The contribution of a group is how far the score falls when the group says nothing: an ordinary
amount, an ordinary hour, a card or a terminal without history. Contributions need not add up to
the score, for the network is not additive.
"""

import numpy as np
import numpy.typing as npt
import torch

from models.fraud.features import CARD_FEATURES
from models.fraud.network import FraudNetwork
from models.fraud.profile import new_profiles, profile_features, summarise
from models.fraud.sequences import SequencePlan

GROUPS: dict[str, tuple[str, ...]] = {
    "amount": ("log_amount", "amount_clipped", "amount_z", "amount_ratio"),
    "timing": (
        "log_gap",
        "gap_below_minute",
        "gap_below_hour",
        "hour_sin",
        "hour_cos",
        "night",
        "weekday_sin",
        "weekday_cos",
        "weekend",
    ),
    "card_history": ("usual_amount", "usual_deviation", "same_terminal", "log_count"),
    "terminal_history": (),
}
"""Card features of each group; ``card_history`` also empties the memory, ``terminal_history``
empties the profile."""


def memory_before(
    slots: npt.NDArray[np.int64], plan: SequencePlan, before: torch.Tensor, memory: torch.Tensor
) -> torch.Tensor:
    """Memory that each of K slots started from.

    Args:
        slots: (K,) packed.
        plan: of the batch.
        before: (U, H) memory before the batch, aligned with ``plan.rows``.
        memory: (B, H) memory after each slot, packed.

    Returns:
        (K, H): of the slot one wave earlier in the same lane, or from before the batch.
    """
    wave, lane = plan.wave[slots], plan.lane[slots]
    first = wave == 0
    offsets = np.cumsum(plan.sizes) - plan.sizes
    previous = offsets[np.maximum(wave - 1, 0)] + lane
    device = before.device
    old = before[torch.from_numpy(lane).to(device)]  # (K, H)
    new = memory[torch.from_numpy(previous).to(device)]  # (K, H)
    return torch.where(torch.from_numpy(first).to(device)[:, None], old, new)


@torch.inference_mode()
def contributions(
    network: FraudNetwork, x: torch.Tensor, risk: torch.Tensor, hidden: torch.Tensor
) -> npt.NDArray[np.float32]:
    """How far each score falls without each group.

    Args:
        network: that scored.
        x: (K, F) card features.
        risk: (K, P) profile features.
        hidden: (K, H) memory before the transaction.

    Returns:
        (K, len(GROUPS)) float32 in [-1, 1].
    """
    if len(x) == 0:
        return np.empty((0, len(GROUPS)), np.float32)
    empty = profile_features(summarise(new_profiles(1)), np.zeros(1, np.int64))
    no_profile = torch.from_numpy(empty).to(risk.device).expand_as(risk)  # (K, P)
    xs, hiddens, risks = [x], [hidden], [risk]
    for group, names in GROUPS.items():
        muted = x.clone()
        muted[:, [CARD_FEATURES.index(name) for name in names]] = 0.0  # centred: the ordinary case
        xs.append(muted)
        hiddens.append(torch.zeros_like(hidden) if group == "card_history" else hidden)
        risks.append(no_profile if group == "terminal_history" else risk)
    # One call for all of it: a call costs more than its rows.
    rows = torch.tensor([len(xs) * len(x)])
    scores, _ = network.step(torch.cat(xs), rows, torch.cat(hiddens), torch.cat(risks))
    full, *without = scores.reshape(len(xs), len(x))  # (1 + G, K) -> (K,), G of (K,)
    return torch.stack([full - score for score in without], 1).cpu().numpy()
