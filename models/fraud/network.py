"""The fraud network: a GRU is each card's memory, a small head judges the transaction."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from models.checkpoint import Manifest, load
from models.errors import ArtifactError
from models.fraud.features import CARD_FEATURES
from models.fraud.profile import PROFILE_FEATURES

FEATURES = {"card": CARD_FEATURES, "profile": PROFILE_FEATURES}
BUNDLED = Path(__file__).parents[1] / "artifacts" / "fraud-v1.json"


@dataclass(frozen=True, slots=True)
class FraudNetworkConfig:
    """Sizes: F card features, P profile features, H memory a card, M width of the head."""

    card_features: int = len(CARD_FEATURES)
    profile_features: int = len(PROFILE_FEATURES)
    hidden: int = 64
    head: int = 128
    dropout: float = 0.1


class FraudNetwork(nn.Module):
    """Scores a transaction from the card's memory, the transaction and the terminal's profile.

    The memory of a card is its GRU state, float32[H], advanced by every one of its transactions.
    Labels reach the network only through the terminal's profile, which never enters the memory:
    a late label can change no state.
    """

    def __init__(self, config: FraudNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.gru = nn.GRU(config.card_features, config.hidden)
        self.from_memory = nn.Linear(config.hidden, config.head)
        self.from_transaction = nn.Linear(config.card_features, config.head, bias=False)
        self.from_profile = nn.Linear(config.profile_features, config.head, bias=False)
        self.mix = nn.Linear(config.head, config.head // 2)
        self.out = nn.Linear(config.head // 2, 1)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.constant_(self.out.bias, -4.0)  # frauds are rare: start from about 2 %

    def forward(
        self, x: torch.Tensor, risk: torch.Tensor, hidden: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Training: N sequences of T steps side by side, padded at their ends.

        Args:
            x: (T, N, F) card features.
            risk: (T, N, P) profile features.
            hidden: (N, H) memory before.

        Returns:
            logits: (T, N), and memory after: (N, H).
        """
        memory, last = self.gru(x, hidden[None])  # (T, N, F) -> (T, N, H), (1, N, H)
        return self.judge(memory, x, risk), last[0]

    def judge(self, memory: torch.Tensor, x: torch.Tensor, risk: torch.Tensor) -> torch.Tensor:
        """The head: (..., H), (..., F), (..., P) -> logits (...).

        In place where it can be: a fresh copy of 16,384 rows costs more than a product of them.
        """
        u = self.from_memory(memory)  # (..., M)
        u += self.from_transaction(x)
        u += self.from_profile(risk)
        u = self.dropout(torch.relu_(u))
        return self.out(torch.relu_(self.mix(u))).squeeze(-1)  # type: ignore[no-any-return]

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
        return torch.sigmoid(self.judge(memory, x, risk)), memory, last[0]

    def step(
        self, x: torch.Tensor, sizes: torch.Tensor, hidden: torch.Tensor, risk: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`trace` without the memory in between: scores (B,) and memory after (U, H)."""
        scores, _, after = self.trace(x, sizes, hidden, risk)
        return scores, after


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
