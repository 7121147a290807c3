"""What happens when a member of a consumer group is given partitions, and what if that fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

from aiokafka import ConsumerRebalanceListener, TopicPartition
from typing_extensions import override

Begin = Callable[[Iterable[TopicPartition]], Awaitable[Collection[TopicPartition]]]
"""Seeks to where to begin; returns the partitions that are not to be fetched yet."""


class Joining(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Awaits `begin` with what a consumer was given, before anything of it is fetched.

    aiokafka fetches from the committed offset while a listener is still at it, which is why all is
    paused meanwhile. It logs what a listener raises, and goes on: call `check` after each fetch,
    before its records are used.
    """

    def __init__(self, consumer: Any, begin: Begin) -> None:
        self._consumer, self._begin = consumer, begin
        self._error: Exception | None = None
        self.is_beginning = False
        """Whether `begin` is at it: what is paused then is not for others to resume."""

    @override
    async def on_partitions_revoked(self, revoked: Any) -> None:
        """What is under way is done again by whoever comes next."""

    @override
    async def on_partitions_assigned(self, assigned: Any) -> None:
        self.is_beginning = True
        self._consumer.pause(*assigned)
        try:
            later = await self._begin(assigned)
        except Exception as error:  # noqa: BLE001 - raised by `check`
            self._error = error
        else:
            self._consumer.resume(*(one for one in assigned if one not in later))
        finally:
            self.is_beginning = False

    def check(self) -> None:
        """Raise what `begin` raised: places are wrong, and what was fetched is not to be used."""
        if self._error is not None:
            raise self._error
