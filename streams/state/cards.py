"""Rows of cards as the fraud agent wrote them, for agents that only read them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.fraud.features import new_card_state
from streams.state.store import Identity, StateStore, digests
from streams.state.table import Records, parse_heads, row_dtype


class CardHistory:
    """Looks cards up in the namespace of the fraud agent. Prepare thread only."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._row = row_dtype(new_card_state(0).dtype)

    def find(self, cards: Sequence[str]) -> Records:
        """Return the state of N cards, (N,) CARD_STATE; a blank one where nothing is stored.

        Which partition a card is on is its producer's choice, so every partition is asked. Of a
        card that came on several the row that saw most counts.
        """
        found = new_card_state(len(cards))
        identity = self._store.identity()
        if not len(cards) or identity is None:
            return found
        partitions = Identity.decode(identity).partitions
        names = list(dict.fromkeys(cards))
        homes = np.repeat(np.arange(partitions, dtype=np.int32), len(names))
        stored = self._store.load(homes, np.tile(digests(names), (partitions, 1)))
        present = [place for place, row in enumerate(stored) if row is not None]
        heads = parse_heads([row for row in stored if row is not None], self._row)
        known: dict[str, Records] = {}
        for place, state in zip(present, heads["state"], strict=True):
            name = names[place % len(names)]
            if name not in known or known[name]["count"] < state["count"]:
                known[name] = state
        for place, card in enumerate(cards):
            if card in known:
                found[place] = known[card]
        return found
