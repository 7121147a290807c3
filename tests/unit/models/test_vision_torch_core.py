from __future__ import annotations

import numpy as np
import pytest
import torch

from models.errors import DeviceError
from models.vision.torch_core import TorchCore
from tests.unit.models.test_vision_network import network

NAMES = ("cat", "dog", "cow")


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, 3, 64, 96), np.uint8)


@pytest.fixture
def core() -> TorchCore:
    return TorchCore(network(), NAMES, torch.device("cpu"))


def test_any_number_of_frames_is_answered_frame_by_frame_alike(core: TorchCore) -> None:
    assert core.run(pixels(0)).shape == (0, 126, 8)
    together = core.run(pixels(35))
    alone = np.concatenate([core.run(one[None]) for one in pixels(35)])
    np.testing.assert_allclose(together, alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 35])
def test_frames_shared_out_among_threads_come_back_in_their_order(count: int) -> None:
    shared = TorchCore(network(), NAMES, torch.device("cpu"), threads=3)
    alone = TorchCore(network(), NAMES, torch.device("cpu"))
    found = shared.run(pixels(count))
    np.testing.assert_allclose(found, alone.run(pixels(count)), atol=1e-4, rtol=1e-4)


def test_a_device_too_small_for_one_frame_is_named(
    core: TorchCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(core._served, "forward", full)
    with pytest.raises(DeviceError, match=r"cpu has not enough free memory for one frame"):
        core.run(pixels(4))


@pytest.mark.gpu
def test_half_precision_on_cuda_sees_what_the_cpu_sees(core: TorchCore) -> None:
    fast = TorchCore(network(), NAMES, torch.device("cuda:0"))
    for count in (0, 1, 3, 35):
        some = pixels(count)
        slow_outputs, fast_outputs = core.run(some), fast.run(some)
        np.testing.assert_allclose(fast_outputs[..., 4:], slow_outputs[..., 4:], atol=2e-2)
        np.testing.assert_allclose(fast_outputs[..., :4], slow_outputs[..., :4], atol=5e-2)
