"""Transactions as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Transactions:
    """N card transactions in the order of their event time; every column has length N.

    Attributes:
        tx_id: int64 or str objects, unique.
        card_id: int64 or str objects.
        terminal_id: int64 or str objects.
        amount: float64, not negative, in the scoring currency.
        event_time: int64, milliseconds since the epoch, UTC, rising.
        is_fraud: bool, the verdict that a label brings later.
        scenario: int8, which way of fraud a simulator played (0 for genuine).
    """

    tx_id: npt.NDArray[Any]
    card_id: npt.NDArray[Any]
    terminal_id: npt.NDArray[Any]
    amount: npt.NDArray[np.float64]
    event_time: npt.NDArray[np.int64]
    is_fraud: npt.NDArray[np.bool_]
    scenario: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.event_time)

    def take(self, index: slice | npt.NDArray[Any]) -> Transactions:
        """Rows of a slice, an index array or a mask, as views where numpy allows it."""
        return Transactions(*(getattr(self, field.name)[index] for field in fields(self)))

    @classmethod
    def concat(cls, parts: Sequence[Transactions]) -> Transactions:
        """One after the other; at least one part."""
        return cls(
            *(
                np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(cls)
            )
        )

    def card_codes(self) -> tuple[npt.NDArray[np.int64], int]:
        """Dense card numbers 0..K-1, int64[N], and K."""
        return _codes(self.card_id)

    def terminal_codes(self) -> tuple[npt.NDArray[np.int64], int]:
        """Dense terminal numbers 0..K-1, int64[N], and K."""
        return _codes(self.terminal_id)


def _codes(ids: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], int]:
    distinct, codes = np.unique(ids, return_inverse=True)
    return codes.astype(np.int64), len(distinct)
