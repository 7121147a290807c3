"""What is said of alerts that have not come yet: kept in Redis, so that any dashboard joins them.

A case system may judge a payment before the worker that is behind has scored it, and of the topics
one may be read before another. Most verdicts are on payments without an alert, so that the newest
alone are kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from streams.dashboard.view.records import in_one_line
from streams.dashboard.view.scripts import KEEP, KEEP_ACTIONS
from streams.schemas import (
    Action,
    Alert,
    Label,
    TransactionLabel,
    decode_action,
    decode_label,
    encode,
)
from streams.state.redis_client import translated

MOST: Final = 20_000
"""Verdicts kept of each kind, of the newest that came: about 300 bytes of Redis each."""

MOST_ACTIONS: Final = 5_000
"""Actions kept: about 1 KiB of Redis each, with a text of 300 characters."""

Placed = tuple[Label, int]
"""A verdict and its offset."""


class Waiting:
    """Every method raises `StoreError` when Redis does not serve it."""

    def __init__(self, client: Any, prefix: str) -> None:
        self._client = client
        self._transactions = [f"{prefix}waiting", f"{prefix}waiting-since"]
        self._objects = [f"{prefix}waiting-objects", f"{prefix}waiting-objects-since"]
        self._actions = [f"{prefix}waiting-actions", f"{prefix}waiting-actions-since"]
        self._keep, self._keep_actions = map(client.register_script, (KEEP, KEEP_ACTIONS))

    async def keep(self, labels: Sequence[Placed]) -> None:
        """Keep verdicts: of several on the same the later, on a tie by offset."""
        now = round(time.time() * 1000)
        args: dict[bool, list[Any]] = {}
        for label, offset in labels:
            entry = (_name(label), label.labelled_at, offset, encode(label))
            args.setdefault(isinstance(label, TransactionLabel), [MOST, now]).extend(entry)
        with translated():
            for is_transaction, one in args.items():
                keys = self._transactions if is_transaction else self._objects
                await self._keep(keys=keys, args=one)

    async def keep_actions(self, actions: Sequence[Action]) -> None:
        """Keep what people did about alerts."""
        now = round(time.time() * 1000)
        with translated():
            await self._keep_actions(
                keys=self._actions, args=[MOST_ACTIONS, now, *map(_member, actions)]
            )

    async def find(self, alerts: Sequence[Alert]) -> tuple[list[Placed], list[Action]]:
        """Give the verdicts, and what people did, that wait for these alerts."""
        transactions = [str(one.detail.get("tx_id")) for one in alerts if one.kind == "fraud"]
        objects = [one.id for one in alerts if one.kind == "object"]
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.zcard(self._actions[0])
                for keys, names in ((self._transactions, transactions), (self._objects, objects)):
                    if names:
                        pipe.hmget(keys[0], names)
                waiting, *held = await pipe.execute()
        labels = [_placed(value) for found in held for value in found if value is not None]
        return labels, await self._actions_on(alerts) if waiting else []

    async def _actions_on(self, alerts: Sequence[Alert]) -> list[Action]:
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for alert in alerts:
                    begin = _begin(alert.id)
                    pipe.zrange(
                        self._actions[0], b"[" + begin, b"(" + begin[:-1] + b"\x0b", bylex=True
                    )
                found = await pipe.execute()
        return [decode_action(one.partition(b"\n")[2]) for members in found for one in members]

    async def forget(self, labels: Iterable[Placed]) -> None:
        """Keep verdicts no longer."""
        names: dict[bool, list[str]] = {}
        for label, _ in labels:
            names.setdefault(isinstance(label, TransactionLabel), []).append(_name(label))
        with translated():
            for is_transaction, gone in names.items():
                held, since = self._transactions if is_transaction else self._objects
                await self._client.hdel(held, *gone)
                await self._client.zrem(since, *gone)

    async def forget_actions(self, actions: Sequence[Action]) -> None:
        """Keep what people did no longer."""
        if actions:
            with translated():
                for key in self._actions:
                    await self._client.zrem(key, *map(_member, actions))


def _name(label: Label) -> str:
    return label.tx_id if isinstance(label, TransactionLabel) else label.alert_id


def _placed(held: bytes) -> Placed:
    _, offset, value = held.split(b" ", 2)
    return decode_label(value), int(offset)


def _begin(alert_id: str) -> bytes:
    """How members about an alert begin, and no others."""
    return f"{in_one_line(alert_id)}\n".encode()


def _member(action: Action) -> bytes:
    return _begin(action.alert_id) + encode(action)
