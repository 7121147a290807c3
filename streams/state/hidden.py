"""The cards' memory on the device: one row of floats for each row of the entity table.

Only the inference thread calls it. What a new row held before is overwritten by `put`, in the
order of the batches, so a row that was evicted and given to another card is never mixed up.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from streams.state.store import Bytes2D
from streams.state.table import Loaded, Rows


class HiddenStates:
    """(capacity, H) float32 on `device`. Rows in the store are little-endian float32[H]."""

    def __init__(self, *, capacity: int, hidden: int, device: torch.device) -> None:
        self._device = device
        self._table = torch.zeros(capacity, hidden, device=device)
        self._pinned = device.type == "cuda"

    def put(self, loaded: Loaded | None) -> None:
        """Take over the memory of rows that came in from the store; zeros for new cards."""
        if loaded is not None:
            values = np.ascontiguousarray(loaded.tail).view("<f4")  # (N, H)
            self._table.index_copy_(0, self._index(loaded.rows), self.on_device(values))

    def take(self, rows: Rows) -> torch.Tensor:
        """(U,) rows -> (U, H), a copy."""
        return self._table.index_select(0, self._index(rows))

    def keep(self, rows: Rows, memory: torch.Tensor) -> None:
        """Store (U, H) as the memory of (U,) distinct rows."""
        self._table.index_copy_(0, self._index(rows), memory)

    def bytes_of(self, rows: Rows) -> Bytes2D:
        """(N,) rows -> (N, 4 H) uint8, as they go to the store."""
        values = self.take(rows).cpu().numpy().astype("<f4", copy=False)
        return np.ascontiguousarray(values).view(np.uint8)

    def on_device(self, values: NDArray[np.float32]) -> torch.Tensor:
        """Move an array over; on CUDA through pinned memory, without waiting for the copy."""
        tensor = torch.from_numpy(values)
        if self._pinned:
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor

    def _index(self, rows: Rows) -> torch.Tensor:
        tensor = torch.from_numpy(rows)
        return tensor.to(self._device, non_blocking=True) if self._pinned else tensor
