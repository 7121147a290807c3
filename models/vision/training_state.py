"""A training that can be interrupted: everything it needs to go on, in one safetensors file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from models.errors import ArtifactError
from models.vision.network import Yolox


@dataclass(slots=True)
class TrainingState:
    """What changes while it learns.

    Attributes:
        network: that learns.
        average: running average of its weights, the result.
        optimizer: of `network`.
        step: that were done.
        seconds: that they took, of all runs together.
    """

    network: Yolox
    average: Yolox
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0

    def save(self, path: Path, identity: str) -> None:
        """Replace `path`, so that there is always a whole one.

        Args:
            path: of the file.
            identity: of settings and data: only the same training may go on from here.
        """
        tensors = {
            **{f"network.{k}": v for k, v in self.network.state_dict().items()},
            **{f"average.{k}": v for k, v in self.average.state_dict().items()},
        }
        for place, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{place}.{k}": v for k, v in moments.items()}
        data = safetensors.torch.save(
            {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
            {"identity": identity, "step": str(self.step), "seconds": json.dumps(self.seconds)},
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(data)
        fresh.replace(path)

    def load(self, path: Path, identity: str) -> None:
        """Go on where `save` was.

        Raises:
            ArtifactError: the file is missing, damaged, or of another training.
        """
        if not path.is_file():
            raise ArtifactError(f"{path} is missing: there is nothing to resume, start without")
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (safetensors.SafetensorError, OSError) as error:
            raise ArtifactError(f"{path} is damaged: start without --resume ({error})") from error
        if metadata.get("identity") != identity:
            raise ArtifactError(
                f"{path} is of a training with other options or other data: give the same ones, "
                "or start without --resume"
            )
        self.network.load_state_dict(_below("network.", tensors))
        self.average.load_state_dict(_below("average.", tensors))
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _below("optimizer.", tensors).items():
            place, _, key = name.partition(".")
            moments.setdefault(int(place), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.step, self.seconds = int(metadata["step"]), float(json.loads(metadata["seconds"]))


def _below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
