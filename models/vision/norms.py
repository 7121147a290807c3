"""Batch norms that were folded away, brought back to life."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from models.vision.network import Yolox


@torch.no_grad()
def measure_norms(network: Yolox, batches: Iterable[torch.Tensor]) -> None:
    """Give every batch norm the statistics of what it sees, without changing what it computes.

    A network read from ONNX has norms with a mean of 0 and a variance of 1, whatever comes in. In
    training mode they would normalise by the batch's own statistics and wreck the network. Here
    mean and variance become those measured, and scale and shift make up for it.

    Args:
        network: changed in place; left in evaluation mode.
        batches: (B, 3, H, W) each, letterboxed frames such as it will be trained on.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    seen: dict[int, list[torch.Tensor]] = {id(norm): [] for norm in norms}

    def look(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        x = inputs[0].double()  # (B, F, H, W); a difference of squares needs the digits
        seen[id(norm)].append(torch.stack((x.mean((0, 2, 3)), x.square().mean((0, 2, 3)))))

    # 1. One pass: what a norm sees does not depend on the statistics of those before it.
    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    network.eval()
    for batch in batches:
        network(batch)
    for hook in hooks:
        hook.remove()
    # 2. (x - m) / sqrt(v + eps) * g + b stays the same function of x for the new m and v.
    for norm in norms:
        mean, square = torch.stack(seen[id(norm)]).mean(0)  # (F,), (F,)
        variance = (square - mean.square()).clamp(min=0)
        old_mean, old_variance = norm.running_mean, norm.running_var
        if old_mean is None or old_variance is None:  # a norm that keeps no statistics
            continue
        slope = norm.weight / (old_variance + norm.eps).sqrt()
        norm.bias.add_((mean - old_mean) * slope)
        norm.weight.copy_(slope * (variance + norm.eps).sqrt())
        old_mean.copy_(mean)
        old_variance.copy_(variance)
