"""The network in torch: the GPU's backend, and the one that any weights run on."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch

from models.errors import DeviceError
from models.vision.buckets import Buckets
from models.vision.grid import places
from models.vision.network import ServedYolox, Yolox, fold


class TorchCore:
    """A `Yolox` on the CPU in single precision, or on a CUDA device in half precision.

    On CUDA frames go in through a page-locked buffer and calls have one of a few sizes (`Buckets`),
    so that memory and the choice of kernels settle after the first call of each.

    On the CPU the frames of a call are shared out among threads of our own, each of which runs the
    whole network over its part: torch's threads meet at every layer, and each meeting waits for the
    one that a decoder has kept from its core. On two cores 16 frames took 8.2 ms each with two of
    torch's threads and 7.3 with two of ours, a single frame 20 and 16.
    """

    def __init__(
        self, network: Yolox, names: Sequence[str], device: torch.device, *, threads: int = 0
    ) -> None:
        """Fold `network` and move it to `device`; the caller's is changed.

        Args:
            network: to be served.
            names: of its classes.
            device: that it runs on.
            threads: of ours, on the CPU; the process then calls ``torch.set_num_threads(1)``. 0 and
                1 leave the work to torch's own.
        """
        self.names = tuple(names)
        self.size = network.config.size
        self._device = device
        self._cuda = device.type == "cuda"
        self._dtype = torch.float16 if self._cuda else torch.float32
        self._served = ServedYolox(fold(network)).eval().to(device, self._dtype)
        self._buckets = Buckets(torch.OutOfMemoryError, pad=self._cuda)
        self._threads = 1 if self._cuda else max(threads, 1)
        self._pool = ThreadPoolExecutor(self._threads, "network")
        self._staging = torch.zeros(0, dtype=torch.uint8)
        if self._cuda:
            self._served = self._served.to(memory_format=torch.channels_last)

    def run(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(B, 3, H, W) to (B, A, 5 + C)."""
        if not len(pixels):
            return np.zeros((0, len(places(self.size)[0]), 5 + len(self.names)), np.float32)
        try:
            return self._buckets.run(pixels, self._call)
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"{self._device} has not enough free memory for one frame of {self.size}: free "
                "some, or take a smaller network"
            ) from error

    def _call(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        parts = np.array_split(pixels, min(self._threads, len(pixels)))
        if len(parts) == 1:
            return self._forward(pixels)
        return np.concatenate(list(self._pool.map(self._forward, parts)))

    @torch.inference_mode()
    def _forward(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        x = self._on_device(torch.from_numpy(pixels)).to(self._dtype)  # (B, 3, H, W)
        out: npt.NDArray[np.float32] = self._served(x).float().cpu().numpy()  # (B, A, 5 + C)
        return out

    def _on_device(self, pixels: torch.Tensor) -> torch.Tensor:
        """Copy to the device. The outputs' way back waits for it, so one buffer is enough."""
        if not self._cuda:
            return pixels
        if len(self._staging) < len(pixels):
            self._staging = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=True)
        pinned = self._staging[: len(pixels)]
        pinned.copy_(pixels)
        moved = pinned.to(self._device, non_blocking=True)
        return moved.to(memory_format=torch.channels_last)
