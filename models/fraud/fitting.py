"""The training loop: truncated backpropagation over the cards' sequences, memory carried on.

Everything that is drawn is drawn from the seed before the first step, so that a run that was
interrupted goes on from its last checkpoint to the same weights.
"""

import copy
import hashlib
import math
import pickle  # nosec B403 # for the names of its errors
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.errors import DataError
from models.fraud.dataset import Dataset
from models.fraud.network import LOG_AMOUNT, FraudNetwork, FraudNetworkConfig

OnProgress = Callable[[int, int, float], None]
"""Called after a step with its number, the number of all steps and the loss."""

CHECKPOINT_EVERY_S = 15.0
CURVE_POINTS = 40

# What torch raises on a file that is damaged, cut or of another kind, and what a dict without our
# names raises: found by cutting checkpoints and changing their bytes.
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    RuntimeError,
    pickle.UnpicklingError,
)


@dataclass(frozen=True, slots=True)
class FitConfig:
    """How to descend."""

    seed: int = 0
    epochs: int = 4
    cards_at_once: int = 128
    steps_at_once: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2


@dataclass(frozen=True, slots=True)
class _Part:
    """Some steps of some cards side by side.

    `x` (T, N, F), `real` (T, N) without padding, `counts` (T, N), and of the C that count: `risk`
    (C, P), `truth` (C,).
    """

    begins: bool
    x: torch.Tensor
    real: torch.Tensor
    counts: torch.Tensor
    risk: torch.Tensor
    truth: torch.Tensor


def fit(
    data: Dataset,
    learned: npt.NDArray[np.bool_],
    network_config: FraudNetworkConfig,
    config: FitConfig,
    *,
    checkpoint: Path | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[FraudNetwork, list[tuple[int, float]]]:
    """AdamW on a cosine, binary cross-entropy, and an average of the weights as the result.

    Deterministic for a seed on one machine and one number of torch threads.

    Args:
        data: inputs of N transactions.
        learned: (N,) bool, those whose verdict may be learned from.
        network_config: sizes of the network.
        config: how to descend.
        checkpoint: file to write now and then, to go on from if it is there, and to delete at the
            end.
        on_progress: called after every step.

    Returns:
        The network, ready to score, and the learning curve: (step, mean loss since the last point).

    Raises:
        DataError: the checkpoint belongs to another training.
    """
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    network = FraudNetwork(network_config).train()
    network.measure(torch.from_numpy(data.x[learned, LOG_AMOUNT]))
    average = copy.deepcopy(network)
    tables, foreteller = network.rows.parameters(), network.foretell.parameters()
    optimizer = torch.optim.AdamW(
        [
            {"params": network.judging(), "weight_decay": config.weight_decay},
            {"params": tables, "weight_decay": 0.0},
            {"params": foreteller, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
    )
    seen = int(np.flatnonzero(learned)[-1]) + 1
    rounds = [_sequences(data.cards[:seen], config, rng) for _ in range(config.epochs)]
    total = sum(-(-len(group) // config.steps_at_once) for groups in rounds for group in groups)
    run = _Run(network, average, optimizer, run_fingerprint(config, network_config, data, learned))
    first = run.resume(checkpoint) if checkpoint else 0
    saved = time.monotonic()
    for step, part in enumerate(_parts(data, learned, rounds, config), 1):
        if step <= first:
            continue
        if part.begins:
            run.hidden = torch.zeros(part.x.shape[1], network_config.hidden)
        memory, last = network.remember(part.x, run.hidden)
        # Both heads learn at once; what foretells learns nothing into the memory.
        before = torch.cat([run.hidden[None], memory[:-1].detach()])
        surprise = network.surprise(before[part.real], part.x[part.real]).mean()
        run.hidden = last.detach()
        loss = None
        if len(part.truth):
            logits = network.judge(memory[part.counts], part.x[part.counts], part.risk)
            loss = nn.functional.binary_cross_entropy_with_logits(logits, part.truth)
        run.descend(loss, surprise, config.learning_rate * _schedule(step / total), step)
        run.record(step, total)
        if on_progress is not None:
            on_progress(step, total, run.loss)
        if checkpoint and time.monotonic() - saved > CHECKPOINT_EVERY_S:
            run.save(checkpoint, step)
            saved = time.monotonic()
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return average.eval(), run.curve


class _Run:
    """What changes from step to step."""

    def __init__(
        self,
        network: FraudNetwork,
        average: FraudNetwork,
        optimizer: torch.optim.Optimizer,
        fingerprint: str,
    ) -> None:
        self.network, self.average, self.optimizer = network, average, optimizer
        self.fingerprint = fingerprint
        self.hidden = torch.zeros(0)
        self.loss = math.nan
        self.curve: list[tuple[int, float]] = []
        self._losses: list[float] = []

    def descend(
        self, loss: torch.Tensor | None, surprise: torch.Tensor, learning_rate: float, step: int
    ) -> None:
        """One step of both heads; of the foreteller alone where no verdict counts."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad()
        surprise.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.foretell.parameters(), 1.0)
        if loss is not None:
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(
                [*self.network.judging(), *self.network.rows.parameters()], 1.0
            )
            self.loss = float(loss.detach())
            self._losses.append(self.loss)
        self.optimizer.step()
        weight = max(0.005, 1 / (step / 10 + 1))
        with torch.no_grad():
            for mean, value in zip(
                self.average.parameters(), self.network.parameters(), strict=True
            ):
                mean.lerp_(value, weight)

    def record(self, step: int, total: int) -> None:
        """A point of the learning curve, `CURVE_POINTS` times in all."""
        if step * CURVE_POINTS // total > (step - 1) * CURVE_POINTS // total and self._losses:
            self.curve.append((step, round(float(np.mean(self._losses)), 5)))
            self._losses = []

    def save(self, path: Path, step: int) -> None:
        """Write everything that the steps after `step` depend on; whole or not at all."""
        state: dict[str, Any] = {
            "fingerprint": self.fingerprint,
            "step": step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "hidden": self.hidden,
            "random": torch.get_rng_state(),
            "curve": self.curve,
            "losses": self._losses,
        }
        draft = path.with_name(path.name + ".part")
        torch.save(state, draft)
        draft.replace(path)

    def resume(self, path: Path) -> int:
        """Go back to the checkpoint at `path`, if there is one; return its step, else 0."""
        if not path.exists():
            return 0
        try:
            state = torch.load(path, weights_only=True)
            if state["fingerprint"] != self.fingerprint:
                raise DataError(
                    f"{path} is the checkpoint of another training: delete it to start afresh"
                )
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.hidden, self.curve = state["hidden"], [tuple(point) for point in state["curve"]]
            self._losses = state["losses"]
            torch.set_rng_state(state["random"])
            return int(state["step"])
        except _DAMAGED as error:
            raise DataError(f"{path} is no checkpoint: delete it to start afresh") from error


def run_fingerprint(
    config: FitConfig, network: FraudNetworkConfig, data: Dataset, learned: npt.NDArray[np.bool_]
) -> str:
    """Of all that the result of `fit` depends on: 16 hex digits that tell one run from another."""
    digest = hashlib.sha256()
    digest.update(repr((sorted(asdict(config).items()), sorted(asdict(network).items()))).encode())
    for part in (data.x, data.risk, data.cards, data.transactions.is_fraud, learned):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()[:16]


def _schedule(done: float) -> float:
    """Share of the learning rate: up over the first 5 %, then down a cosine to nearly nothing."""
    return min(1.0, done / 0.05) * (0.5 + 0.5 * math.cos(math.pi * done) + 0.005)


def _sequences(
    cards: npt.NDArray[np.int64], config: FitConfig, rng: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Groups of cards of like length, (T, N) each: places in time order, -1 behind a card's end."""
    order = np.argsort(cards, kind="stable")
    counts = np.bincount(cards)
    starts = np.cumsum(counts) - counts
    by_length = np.argsort(counts + rng.uniform(0, 8, len(counts)), kind="stable")
    by_length = by_length[counts[by_length] > 0]
    groups = []
    for begin in range(0, len(by_length), config.cards_at_once):
        chosen = by_length[begin : begin + config.cards_at_once]
        step = np.arange(counts[chosen].max())[:, None]  # (T, 1)
        place = np.minimum(starts[chosen] + step, len(order) - 1)  # (T, N)
        groups.append(np.where(step < counts[chosen], order[place], -1))
    rng.shuffle(groups)
    return groups


def _parts(
    data: Dataset,
    learned: npt.NDArray[np.bool_],
    rounds: list[list[npt.NDArray[np.int64]]],
    config: FitConfig,
) -> Iterator[_Part]:
    truth = data.transactions.is_fraud
    for group in (group for groups in rounds for group in groups):
        for begin in range(0, len(group), config.steps_at_once):
            places = group[begin : begin + config.steps_at_once]
            at = np.maximum(places, 0)
            counts = (places >= 0) & learned[at]
            chosen = at[counts]
            yield _Part(
                begin == 0,
                torch.from_numpy(data.x[at]),
                torch.from_numpy(places >= 0),
                torch.from_numpy(counts),
                torch.from_numpy(data.risk[chosen]),
                torch.from_numpy(truth[chosen].astype(np.float32)),
            )
