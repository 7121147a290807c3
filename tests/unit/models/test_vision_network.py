from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from models.vision.grid import places
from models.vision.network import NANO, PRESETS, ServedYolox, Yolox, YoloxConfig, fold
from models.vision.norms import measure_norms

SMALL = replace(NANO, classes=3, size=(64, 96))


def network(config: YoloxConfig = SMALL, seed: int = 0) -> Yolox:
    """Random weights and, unlike a new network, norms that do something."""
    torch.manual_seed(seed)
    made = Yolox(config)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return made.eval()


def frames(count: int, size: tuple[int, int] = SMALL.size) -> torch.Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(1)) * 255


@torch.no_grad()
def test_outputs_have_a_row_for_each_place() -> None:
    made = network()
    count = len(places(SMALL.size)[0])
    assert made(frames(0)).shape == (0, count, 8)
    assert made(frames(2)).shape == (2, count, 8)


@torch.no_grad()
def test_another_size_of_input_will_do() -> None:
    assert network()(frames(1, (96, 32))).shape == (1, len(places((96, 32))[0]), 8)


@torch.no_grad()
def test_frames_of_a_batch_do_not_touch_each_other() -> None:
    made, some = network(), frames(3)
    alone = torch.cat([made(one[None]) for one in some])
    torch.testing.assert_close(made(some), alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "millions"),
    [("nano", 0.91), ("tiny", 5.06), ("s", 8.97), ("m", 25.3), ("l", 54.2)],
)
def test_a_preset_has_as_many_parameters_as_published(kind: str, millions: float) -> None:
    with torch.device("meta"):
        made = Yolox(PRESETS[kind])
    count = sum(parameter.numel() for parameter in made.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.05)


@torch.no_grad()
def test_folding_the_norms_changes_no_output() -> None:
    made, some = network(), frames(2)
    before = made(some)
    folded = fold(made)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(some), before, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_what_is_served_are_probabilities_beside_the_same_offsets() -> None:
    made, some = network(), frames(2)
    raw, served = made(some), ServedYolox(made)(some)
    torch.testing.assert_close(served[..., :4], raw[..., :4])
    torch.testing.assert_close(served[..., 4:], raw[..., 4:].sigmoid())


def test_a_new_network_sees_nothing_much() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        served = ServedYolox(Yolox(SMALL).eval())(frames(1))
    assert served[..., 4].mean() == pytest.approx(0.01, abs=0.005)


def test_every_parameter_learns() -> None:
    made = network().train()
    made(frames(2)).square().mean().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters())


@pytest.mark.parametrize("size", [(0, 32), (31, 32), (32, 48), (416, 415)])
def test_a_size_that_the_grids_do_not_fit_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        YoloxConfig(size=size)


@torch.no_grad()
def test_measured_norms_compute_the_same_and_fit_their_inputs() -> None:
    made, some = network(), frames(4)
    before = made(some)
    measure_norms(made, some.split(2))
    torch.testing.assert_close(made(some), before, atol=1e-2, rtol=1e-3)
    # With statistics that fit, normalising by those of the batch changes little.
    learning = made.train()(some)
    wrecked = network().train()(some)
    assert (learning - before).abs().mean() < 0.02 * (wrecked - before).abs().mean()
