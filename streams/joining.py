"""What happens when a member of a consumer group is given partitions, and what if that fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiokafka import ConsumerRebalanceListener, TopicPartition
from typing_extensions import override


class Joining(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Awaits `begin` with what a consumer was given, before it fetches any of it.

    aiokafka logs what `begin` raises and fetches from wherever it stands: call `check` after each
    fetch, before its records are used.
    """

    def __init__(self, begin: Callable[[Iterable[TopicPartition]], Awaitable[None]]) -> None:
        self._begin = begin
        self._error: Exception | None = None

    @override
    async def on_partitions_revoked(self, revoked: Any) -> None:
        """What is under way is done again by whoever comes next."""

    @override
    async def on_partitions_assigned(self, assigned: Any) -> None:
        try:
            await self._begin(assigned)
        except Exception as error:  # noqa: BLE001 - raised by `check`
            self._error = error

    def check(self) -> None:
        """Raise what `begin` raised: places are wrong, and what was fetched is not to be used."""
        if self._error is not None:
            raise self._error
