"""Training a detector: examples in, weights and their manifest out.

Everything that chance decides is drawn from (seed, step), never from what came before. So a
training that was interrupted and resumed is the one that was not, to the bit on one machine.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.checkpoint import Manifest
from models.errors import DataError
from models.vision.augment import vary
from models.vision.examples import Examples
from models.vision.judging import judge
from models.vision.loss import Target, detection_loss
from models.vision.network import Yolox, YoloxConfig
from models.vision.norms import measure_norms
from models.vision.training_state import TrainingState

_MEASURED = 8  # batches

OnProgress = Callable[[int, int, float], None]
"""Called after a step with its number, the number of all steps and the loss."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How to train, and what the manifest will say about it."""

    name: str = "detector"
    version: str = "1"
    network: YoloxConfig = field(default_factory=YoloxConfig)
    """Its `classes` gives way to the number of classes of the examples."""
    seed: int = 0
    epochs: int = 1
    batch: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 2e-2
    warmup_steps: int = 50
    bfloat16: bool = False
    """Half-precision products: faster where the CPU has instructions for them, else slower."""
    half_weights: bool = False
    """Round the result to half precision, for a file of half the size; figures are of that."""
    measure_norms: bool = False
    """Begin with batch norms measured on the data: for weights from ONNX, which come without."""
    keep_every: int = 50
    """Steps from one kept state to the next: so much work an interruption may cost."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Where the examples came from, for the manifest."""
    domain: str = ""
    """See `models.vision.domain`; empty for real video."""
    limits: str = ""
    """What the weights cannot do, in a sentence for the manifest."""


def train(
    learn: Examples,
    held_out: Examples,
    config: TrainingConfig,
    *,
    begin_from: Yolox | None = None,
    state_file: Path | None = None,
    resume: bool = False,
    on_progress: OnProgress | None = None,
) -> tuple[Yolox, Manifest]:
    """Train a network and judge it on examples that it has not seen.

    Deterministic for a seed on one machine and one number of torch threads. The manifest still
    lacks the checksum, which `checkpoint.save` fills in.

    Args:
        learn: to learn from.
        held_out: to judge by; of the same classes.
        config: how.
        begin_from: weights to start from; chance if None. What does not fit, as the last layer for
            other classes, begins anew.
        state_file: kept up to date while it learns, so that it can be resumed; deleted at the end.
        resume: go on from `state_file`.
        on_progress: told about each step.

    Raises:
        DataError: there is too little to learn from, a picture cannot be read, or the loss is lost.
        ArtifactError: `state_file` is missing, damaged, or of another training.
    """
    steps = len(learn) // config.batch * config.epochs
    if not steps:
        raise DataError(
            f"{len(learn)} pictures do not fill a batch of {config.batch}: give more pictures or a "
            "smaller batch"
        )
    # 1. A network, or what an interrupted training has made of it.
    state = _new_state(config, learn, begin_from)
    identity = _identity(config, learn, begin_from)
    if resume and state_file is not None:
        state.load(state_file, identity)
    # 2. Learn.
    began = time.monotonic() - state.seconds
    while state.step < steps:
        loss = _step(state, learn, config, steps)
        if not math.isfinite(loss):
            raise DataError(
                f"the loss is {loss} at step {state.step}: give a smaller learning rate than "
                f"{config.learning_rate:g}"
            )
        state.seconds = time.monotonic() - began
        if state_file is not None and state.step % config.keep_every == 0:
            state.save(state_file, identity)
        if on_progress is not None:
            on_progress(state.step, steps, loss)
    # 3. Judge what will be kept.
    network = state.average.eval()
    if config.half_weights:
        network = network.half().float()
    judged = judge(network, held_out)
    if state_file is not None:
        state_file.unlink(missing_ok=True)
    return network, _manifest(config, learn, state, judged)


def _new_state(config: TrainingConfig, learn: Examples, begin_from: Yolox | None) -> TrainingState:
    torch.manual_seed(config.seed)
    network = Yolox(replace(config.network, classes=len(learn.names)))
    if begin_from is not None:
        own = network.state_dict()
        given = begin_from.state_dict()
        fits = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
        if any(name.startswith("backbone.") and name not in fits for name in own):
            raise DataError("the weights to begin from are of a network of other sizes")
        network.load_state_dict(fits, strict=False)
    if config.measure_norms:
        steps = min(_MEASURED, len(learn) // config.batch)
        measure_norms(network, (_batch(learn, config, step)[0] for step in range(steps)))
    # OpenCV's layout, in which small convolutions are fastest on a CPU.
    network = network.to(memory_format=torch.channels_last)
    wide = [p for p in network.parameters() if p.ndim > 1]
    flat = [p for p in network.parameters() if p.ndim <= 1]  # decay would only shrink scales
    optimizer = torch.optim.AdamW(
        [{"params": wide, "weight_decay": config.weight_decay}, {"params": flat, "weight_decay": 0}]
    )
    return TrainingState(network.train(), copy.deepcopy(network), optimizer)


def _step(state: TrainingState, learn: Examples, config: TrainingConfig, steps: int) -> float:
    """One batch; returns the loss before it was learned from."""
    size = config.network.size
    images, targets = _batch(learn, config, state.step)
    for group in state.optimizer.param_groups:
        group["lr"] = config.learning_rate * _schedule(state.step, steps, config.warmup_steps)
    state.network.train()
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
        raw = state.network(images)  # (B, A, 5 + C)
    if not bool(raw.isfinite().all()):
        return math.nan
    loss = detection_loss(raw, size, targets)
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), 10.0)
    state.optimizer.step()
    state.step += 1
    _follow(state.average, state.network, max(0.002, 9 / (state.step + 9)))
    return float(loss.detach())


def _batch(learn: Examples, config: TrainingConfig, step: int) -> tuple[torch.Tensor, list[Target]]:
    """Images (B, 3, H, W) from 0 to 255 and their targets; the same for the same step."""
    epoch, place = divmod(step, len(learn) // config.batch)
    order = learn.order(epoch, config.seed)[place * config.batch : (place + 1) * config.batch]
    images, targets = [], []
    for index in order.tolist():
        rng = np.random.default_rng([config.seed, 6, epoch, index])
        varied = vary(learn[index], config.network.size, rng)
        truth, learned = varied.truth, ~varied.truth.ignored
        images.append(varied.image)
        targets.append(
            Target(
                torch.from_numpy(truth.xyxy[learned]),
                torch.from_numpy(truth.class_id[learned]),
                torch.from_numpy(truth.xyxy[truth.ignored]),
            )
        )
    pixels = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2))  # (B, 3, H, W), channels last
    return pixels.float(), targets


def _schedule(step: int, steps: int, warmup: int) -> float:
    """Share of the learning rate: up at first, then down a cosine to a fiftieth."""
    falling = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps))
    return min(1.0, (step + 1) / max(1, min(warmup, steps // 4))) * falling


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, share: float) -> None:
    for mean, value in zip(
        average.state_dict().values(), network.state_dict().values(), strict=True
    ):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, share)
        else:
            mean.copy_(value)


def _identity(config: TrainingConfig, learn: Examples, begin_from: Yolox | None) -> str:
    """Checksum of all that decides how a training goes."""
    decides = {k: v for k, v in asdict(config).items() if k not in {"keep_every", "version"}}
    text = json.dumps([decides, learn.fingerprint], sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode())
    for value in begin_from.state_dict().values() if begin_from is not None else ():
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _manifest(
    config: TrainingConfig,
    learn: Examples,
    state: TrainingState,
    judged: tuple[float, dict[str, float]],
) -> Manifest:
    network, (threshold, metrics) = state.average, judged
    said = {"name", "version", "network", "data", "domain", "limits"}
    return Manifest(
        name=config.name,
        version=config.version,
        features={},
        config={**asdict(network.config), "size": list(network.config.size)},
        classes=list(learn.names),
        domain=config.domain,
        limits=config.limits,
        threshold=threshold,
        training={
            "data": dict(config.data),
            "fingerprint": learn.fingerprint,
            "pictures": len(learn),
            "steps": state.step,
            "seconds": round(state.seconds, 1),
            **{k: v for k, v in asdict(config).items() if k not in said},
        },
        metrics=metrics,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
