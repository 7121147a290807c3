"""A network with random weights: it detects nothing, and depends on every one of its inputs."""

from __future__ import annotations

from pathlib import Path

import torch

from models.checkpoint import Manifest, save
from models.fraud.network import FEATURES, FraudNetwork, FraudNetworkConfig, config_fields


def random_model(folder: Path, *, seed: int = 7) -> Path:
    """Write a model whose scores spread over (0, 1); return its manifest."""
    torch.manual_seed(seed)
    network = FraudNetwork(FraudNetworkConfig(hidden=16, head=32))
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(1.5)
        network.rows.weight.normal_(0.0, 0.2)
        network.out.bias.fill_(-1)
        network.measure(torch.linspace(-3.0, 3.0, 1000))
    save(folder / "random", network, bare_manifest(network.config, str(seed)))
    return folder / "random.json"


def bare_manifest(config: FraudNetworkConfig, version: str, sha256: str = "") -> Manifest:
    """A manifest of a network that nobody trained."""
    return Manifest(
        name="random",
        version=version,
        features={group: list(names) for group, names in FEATURES.items()},
        config=config_fields(config),
        threshold=0.5,
        training={},
        metrics={},
        created="2020-01-01T00:00:00Z",
        sha256=sha256,
    )
