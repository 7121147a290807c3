"""The fraud network: a GRU is each card's memory, a small head judges the transaction.

A second head needs no labels: from the memory before a transaction it foretells the transaction,
and how far it was wrong is the transaction's novelty.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from models.checkpoint import Manifest, load
from models.errors import ArtifactError
from models.fraud.features import CARD_FEATURES
from models.fraud.profile import MAX_DAYS, PROFILE_FEATURES
from models.fraud.sequences import SequencePlan

FEATURES = {"card": CARD_FEATURES, "profile": PROFILE_FEATURES}
BUNDLED = Path(__file__).parents[1] / "artifacts" / "fraud-v2.json"


@dataclass(frozen=True, slots=True)
class FraudNetworkConfig:
    """Sizes: F card features, P profile features, H memory a card, M width of the head."""

    card_features: int = len(CARD_FEATURES)
    profile_features: int = len(PROFILE_FEATURES)
    hidden: int = 64
    head: int = 128
    dropout: float = 0.1
    large_amount: float = 1e12
    """From which on an amount alone explains a fraud; learned from the training data."""


TABLES: tuple[str, ...] = (
    "days_since_run_start",
    "days_since_before_run",
    "days_since_unexplained",
)
"""Profile features that also pick a learned row by their number of days: how the risk changes from
one day to the next is for the data to say, and no smooth function says it well. So does the amount,
by steps that are learned as quantiles of the training's amounts, finer in the tail."""

_ROWS = MAX_DAYS + 1
_STEPS = 128
LOG_AMOUNT = CARD_FEATURES.index("log_amount")

_LAST_GENUINE = PROFILE_FEATURES.index("days_since_last_genuine")
_FIRST_HAZARD = (-8.7, 1.0)
_KNOWN_BEFORE = [
    CARD_FEATURES.index(name) for name in ("usual_amount", "usual_deviation", "log_count")
]
_TIMES, _GAP = CARD_FEATURES.index("times_usual"), CARD_FEATURES.index("log_gap")
_QUANTILES = 201


class FraudNetwork(nn.Module):
    """Scores a transaction from the card's memory, the transaction and the terminal's profile.

    The memory of a card is its GRU state, float32[H], advanced by every one of its transactions.
    Labels reach the network only through the terminal's profile, which never enters the memory:
    a late label can change no state.

    The head sees causes. What has none to show yet, a terminal that fell into other hands after its
    last known genuine transaction, is a Weibull hazard of the days since, whose two numbers are
    learned: left to the head, so faint a risk drowns in the noise of its many weights. Cumulative
    hazards add, so the chance of a fraud is that of either cause.
    """

    day_columns: torch.Tensor
    first_rows: torch.Tensor
    amount_steps: torch.Tensor
    surprise_quantiles: torch.Tensor
    calibration: torch.Tensor

    def __init__(self, config: FraudNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.gru = nn.GRU(config.card_features, config.hidden)
        self.from_memory = nn.Linear(config.hidden, config.head)
        self.from_transaction = nn.Linear(config.card_features, config.head, bias=False)
        self.from_profile = nn.Linear(config.profile_features, config.head, bias=False)
        self.mix = nn.Linear(config.head, config.head // 2)
        self.out = nn.Linear(config.head // 2, 1)
        # Rows for each number of days, table after table, then one for each step of the amount.
        self.rows = nn.Embedding(_ROWS * len(TABLES) + _STEPS, config.head)
        columns = [PROFILE_FEATURES.index(name) for name in TABLES]
        self.register_buffer("day_columns", torch.tensor(columns), persistent=False)
        first = torch.arange(len(TABLES) + 1) * _ROWS
        self.register_buffer("first_rows", first, persistent=False)
        self.register_buffer("amount_steps", torch.zeros(_STEPS - 1))
        nn.init.zeros_(self.rows.weight)
        self.hazard = nn.Parameter(torch.tensor(_FIRST_HAZARD))  # log of the scale, shape
        self.dropout = nn.Dropout(config.dropout)
        self.foretell = nn.Sequential(
            nn.Linear(config.hidden + len(_KNOWN_BEFORE), config.head // 2),
            nn.ReLU(),
            nn.Linear(config.head // 2, 4),
        )
        self.register_buffer("surprise_quantiles", torch.zeros(_QUANTILES))
        # Slope and offset that make a probability of a logit, see `models.fraud.calibration`.
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))
        nn.init.constant_(self.out.bias, -4.0)  # frauds are rare: start from about 2 %

    def judging(self) -> list[nn.Parameter]:
        """The parameters of memory and head, without the learned rows."""
        apart = ("rows.", "foretell.")
        return [value for name, value in self.named_parameters() if not name.startswith(apart)]

    def measure(self, log_amount: torch.Tensor) -> None:
        """Set the steps of the amount from the training's (N,) `log_amount` features."""
        body, tail = torch.linspace(0.0, 0.9, 49)[1:-1], 1 - torch.logspace(-1, -4.5, 80)
        ordered, at = log_amount.sort().values, torch.cat([body, tail])
        self.amount_steps.copy_(ordered[(at * (len(ordered) - 1)).round().long()])

    def remember(self, x: torch.Tensor, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Training: N sequences of T steps side by side, padded at their ends.

        Args:
            x: (T, N, F) card features.
            hidden: (N, H) memory before.

        Returns:
            memory: (T, N, H), after each step, and (N, H) after the last.
        """
        memory, last = self.gru(x, hidden[None])  # (T, N, F) -> (T, N, H), (1, N, H)
        return memory, last[0]

    def judge(self, memory: torch.Tensor, x: torch.Tensor, risk: torch.Tensor) -> torch.Tensor:
        """The head: (..., H), (..., F), (..., P) -> logits (...).

        In place where it can be: a fresh copy of 16,384 rows costs more than a product of them.
        """
        u = self.from_memory(memory)  # (..., M)
        u += self.from_transaction(x)
        u += self.from_profile(risk)
        days = torch.round(_days(risk[..., self.day_columns]))  # (..., 3)
        days = days.clamp(0, MAX_DAYS).long()
        step = torch.searchsorted(
            self.amount_steps, x[..., LOG_AMOUNT : LOG_AMOUNT + 1].contiguous()
        )
        rows = torch.cat([days, step], -1) + self.first_rows  # (..., 4)
        # One pass that gathers and adds: 0.09 us a transaction, where two take 1.7.
        added = nn.functional.embedding_bag(
            rows.reshape(-1, rows.shape[-1]), self.rows.weight, mode="sum"
        )
        u += added.reshape(u.shape)
        u = self.dropout(nn.functional.gelu(u))
        seen = self.out(nn.functional.gelu(self.mix(u))).squeeze(-1)  # (...) logits
        scale, shape = self.hazard
        quiet = _days(risk[..., _LAST_GENUINE]).clamp(min=0.0)
        unseen = torch.exp(scale + shape * torch.log1p(quiet))
        hazard = nn.functional.softplus(seen) + unseen  # cumulative: the chance is 1 - exp(-hazard)
        return hazard + torch.log(-torch.expm1(-hazard))

    def surprise(self, before: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """How unlikely the card made its transaction: (..., H) memory before, (..., F) -> (...).

        In nats, up to a constant: amount (as a multiple of the usual one) and time since the last
        are taken for independent and normal, with the means and deviations that memory foretells.
        """
        known = torch.cat([before, x[..., _KNOWN_BEFORE]], -1)  # (..., H + 3)
        mean, scale = self.foretell(known).chunk(2, -1)  # (..., 2), log of the deviation
        scale = scale.clamp(-4.0, 4.0)
        happened = x[..., [_TIMES, _GAP]]  # (..., 2)
        off = (happened - mean) * torch.exp(-scale)
        return (0.5 * off.square() + scale).sum(-1)  # type: ignore[no-any-return]  # torch: Any

    def rank(self, surprise: torch.Tensor) -> torch.Tensor:
        """Novelty: the share of the training's transactions that surprised less, in [0, 1]."""
        return torch.searchsorted(self.surprise_quantiles, surprise) / _QUANTILES

    @torch.inference_mode()
    def trace(
        self, x: torch.Tensor, sizes: torch.Tensor, hidden: torch.Tensor, risk: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Serving: a batch of B events over U cards, in the packed order of a `SequencePlan`.

        One call without the GIL runs all waves.

        Args:
            x: (B, F) float32 on the network's device.
            sizes: (T,) int64 on the CPU, ``plan.sizes``.
            hidden: (U, H) float32, memory before, aligned with ``plan.rows``.
            risk: (B, P) float32, packed like `x`.

        Returns:
            scores: (B,) float32 in [0, 1], packed.
            memory: (B, H), packed, the card's memory after each event.
            hidden: (U, H), memory after the batch.
        """
        if len(x) == 0:
            return x.new_zeros(0), hidden[:0], hidden
        packed, last = self.gru(PackedSequence(x, sizes), hidden[None])
        memory = packed.data  # (B, F) -> (B, H)
        slope, offset = self.calibration
        return torch.sigmoid(self.judge(memory, x, risk) * slope + offset), memory, last[0]

    def step(
        self, x: torch.Tensor, sizes: torch.Tensor, hidden: torch.Tensor, risk: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`trace` without the memory in between: scores (B,) and memory after (U, H)."""
        scores, _, after = self.trace(x, sizes, hidden, risk)
        return scores, after


def _days(feature: torch.Tensor) -> torch.Tensor:
    """The number of days that a feature of `profile_features` stands for."""
    return (feature + 1.0) * 30.0


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


def load_fraud(manifest_path: Path | None = None) -> tuple[FraudNetwork, Manifest]:
    """A trained network, ready to score (evaluation mode, CPU); None takes the bundled one.

    Raises:
        ArtifactError: the files are missing or damaged, or fit other features or another network.
    """
    path = manifest_path or BUNDLED
    state, manifest = load(path, FEATURES)
    try:
        network = FraudNetwork(FraudNetworkConfig(**manifest.config))  # type: ignore[arg-type]
        network.load_state_dict(state)
    except (TypeError, RuntimeError) as error:
        raise ArtifactError(
            f"{path} describes another network than this version has: train it again"
        ) from error
    return network.eval(), manifest


def config_fields(config: FraudNetworkConfig) -> dict[str, int | float]:
    """The config as the manifest keeps it."""
    return asdict(config)
