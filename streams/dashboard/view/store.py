"""The view in Redis: writes that may be repeated, and reads that are bounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from streams.dashboard.view.records import (
    Suppression,
    Verdict,
    ViewedAlert,
    decision_facet,
    decode_suppression,
    decode_verdict,
    facets_of,
    hides,
    transaction_facet,
    verdict_of,
)
from streams.dashboard.view.scripts import ADVANCE, DROP, NOTE, PUT
from streams.dashboard.view.waiting import Placed, Waiting
from streams.errors import SettingsError, StoreError
from streams.schemas import (
    Action,
    Alert,
    TransactionLabel,
    decode_action,
    decode_alert,
    encode,
)
from streams.settings import Settings
from streams.state.redis_client import open_async_client, translated

CHANGES: Final = 20_000
"""Changes that a client which was away can catch up on; beyond them it loads the list again."""

SUPPRESSIONS: Final = 2_000
"""Suppressions kept, the ones that ended first go first."""

ACTIONS: Final = 100
"""Of what was done about an alert, the newest: a program may decide on one again and again."""

LOST: Final = "Redis was emptied or set back: the view is read anew from the topics"

_ACTION: Final = "action:"

_NO_ALERT: Final = -1
"""What a script answers where the alert is not in the view."""


class ViewStore:
    """Alerts, verdicts, suppressions and positions under one Redis Cluster hash tag.

    Every method raises `StoreError` when Redis does not serve it. Use within one event loop.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.redis.in_process:
            raise SettingsError("the dashboard needs a Redis: redis.url is memory://")
        self._client = open_async_client(settings.redis)
        self._prefix = f"{settings.dashboard.group}:{{view}}:"
        self.changes_key = f"{self._prefix}changes"
        self._positions = f"{self._prefix}positions"
        self._suppressions = f"{self._prefix}suppressions"
        self._newest = f"{self._prefix}newest"
        self._waiting = Waiting(self._client, self._prefix)
        self._put, self._note, self._drop, self._advance = (
            self._client.register_script(script) for script in (PUT, NOTE, DROP, ADVANCE)
        )

    @property
    def client(self) -> Any:
        """The connection, for what reads keys of its own."""
        return self._client

    def index(self, facet: str) -> str:
        """Name the sorted set of the alerts with a facet."""
        return f"{self._prefix}by:{facet}"

    def _alert(self, alert_id: str) -> str:
        return f"{self._prefix}alert:{alert_id}"

    async def close(self) -> None:
        """Disconnect."""
        await self._client.aclose()

    # -- writing ------------------------------------------------------------------------------
    async def put_alerts(self, alerts: Sequence[Alert]) -> int:
        """Take alerts in; of several revisions the newest stays. Returns how many were news."""
        if not alerts:
            return 0
        with translated():
            async with self._pipeline() as pipe:
                for alert in alerts:
                    await self._put_alert(pipe, alert, alert.processed_at)
                newest = {a.id: a.event_time for a in alerts if a.kind == "fraud"}
                if newest:
                    await pipe.zadd(self._newest, {"event_time": max(newest.values())}, gt=True)
                answers = await pipe.execute()
        labels, actions = await self._waiting.find(alerts)
        if labels:
            await self.put_labels(labels)
            await self._waiting.forget(labels)
        if actions:
            await self._note_all(actions)
            await self._waiting.forget_actions(actions)
        return sum(answer == 1 for answer in answers[: len(alerts)])

    async def put_ends(self, alerts: Sequence[Alert]) -> None:
        """Apply messages to alerts that are held; what they bring of others is left out."""
        if not alerts:
            return
        with translated():
            async with self._pipeline() as pipe:
                for alert in alerts:
                    await self._put_alert(pipe, alert, "")
                await pipe.execute()

    async def _put_alert(self, pipe: Any, alert: Alert, opened: int | str) -> None:
        keys = [self._alert(alert.id), self.changes_key]
        args = [self._prefix, alert.id, "alert", alert.revision, 0, encode(alert)]
        await self._put(keys=keys, args=[*args, opened, CHANGES, *facets_of(alert)], client=pipe)

    async def put_labels(self, labels: Sequence[Placed]) -> None:
        """Take verdicts with their offsets in; the later `labelled_at` wins, on a tie the offset.

        Those on what has no alert wait for it. They are kept first and their alert is looked for
        again: whoever brings it looks for them only after it is there.
        """
        if not labels:
            return
        early = await self._judge(labels)
        if early:
            await self._waiting.keep(early)
            left = set(await self._judge(early))
            await self._waiting.forget(one for one in early if one not in left)

    async def _judge(self, labels: Sequence[Placed]) -> list[Placed]:
        """Put verdicts on their alerts; returns those of which none is there."""
        found = await self._alerts_on(
            label.tx_id for label, _ in labels if isinstance(label, TransactionLabel)
        )
        put = list[Placed]()
        with translated():
            async with self._pipeline() as pipe:
                for label, offset in labels:
                    ids = (
                        found[label.tx_id]
                        if isinstance(label, TransactionLabel)
                        else [label.alert_id]
                    )
                    for alert_id in ids:
                        await self._put_verdict(pipe, alert_id, verdict_of(label), offset)
                        put.append((label, offset))
                answers = await pipe.execute()
        landed = {one for one, answer in zip(put, answers, strict=True) if answer != _NO_ALERT}
        return [one for one in labels if one not in landed]

    async def _alerts_on(self, transactions: Iterable[str]) -> dict[str, list[str]]:
        """Find the ids of the alerts on each transaction."""
        names = list(dict.fromkeys(transactions))
        with translated():
            async with self._pipeline() as pipe:
                for name in names:
                    await pipe.zrange(self.index(transaction_facet(name)), 0, -1)
                found = await pipe.execute()
        return {
            name: [alert_id.decode() for alert_id in ids]
            for name, ids in zip(names, found, strict=True)
        }

    async def put_verdicts(self, verdicts: Mapping[str, Verdict]) -> None:
        """Show verdicts that are on their way through Kafka: what comes back replaces them."""
        with translated():
            async with self._pipeline() as pipe:
                for alert_id, verdict in verdicts.items():
                    await self._put_verdict(pipe, alert_id, verdict, -1)
                await pipe.execute()

    async def _put_verdict(self, pipe: Any, alert_id: str, verdict: Verdict, offset: int) -> None:
        await self._put(
            keys=[self._alert(alert_id), self.changes_key],
            args=[
                *(self._prefix, alert_id, "verdict", verdict.at, offset, encode(verdict)),
                *("", CHANGES, decision_facet(verdict.outcome)),
            ],
            client=pipe,
        )

    async def put_actions(self, actions: Sequence[Action]) -> None:
        """Take in what people did; what is about an alert that has not come waits, as verdicts."""
        early = await self._note_all([action for action in actions if action.alert_id])
        if early:
            await self._waiting.keep_actions(early)
            left = set(await self._note_all(early))
            await self._waiting.forget_actions([one for one in early if one not in left])
        with translated():
            for action in actions:
                await self._suppress(action)

    async def _note_all(self, actions: Sequence[Action]) -> list[Action]:
        """Note on their alerts what people did; returns that of which none is there."""
        with translated():
            async with self._pipeline() as pipe:
                for action in actions:
                    await self._note(
                        keys=[self._alert(action.alert_id), self.changes_key],
                        args=[
                            *(_action(action), encode(action), action.alert_id, CHANGES),
                            *(_ACTION, ACTIONS),
                        ],
                        client=pipe,
                    )
                answers = await pipe.execute()
        pairs = zip(actions, answers, strict=True)
        return [action for action, answer in pairs if answer == _NO_ALERT]

    async def _suppress(self, action: Action) -> None:
        # All about one entity lie on one partition: nobody else writes the same field meanwhile.
        if action.action == "suppress" and action.kind and action.until is not None:
            made = Suppression(
                *(action.id, action.kind, action.entity, action.at, action.until),
                by=action.by,
                reason=action.text,
            )
            await self._client.hsetnx(self._suppressions, made.id, encode(made))
        elif action.action == "lift":
            held = await self._client.hget(self._suppressions, action.of)
            if held is not None:
                lifted = decode_suppression(held).lifted(action.at)
                await self._client.hset(self._suppressions, lifted.id, encode(lifted))

    # -- positions ----------------------------------------------------------------------------
    async def positions(self) -> dict[str, int]:
        """Give the next offset to read of each partition, by the name that `advance` was given."""
        with translated():
            held = await self._client.hgetall(self._positions)
        return {name.decode(): int(offset) for name, offset in held.items()}

    async def begin(self, positions: Mapping[str, int]) -> None:
        """Note where the reading of partitions of which nothing is known begins."""
        with translated():
            async with self._pipeline() as pipe:
                for name, offset in positions.items():
                    await pipe.hsetnx(self._positions, name, offset)
                await pipe.execute()

    async def advance(self, name: str, since: int, offset: int) -> None:
        """Note that all of a partition before `offset` is in the view, as all before `since` was.

        A position never goes back.

        Raises:
            StoreError: what was before `since` is not in the view any more.
        """
        with translated():
            answer = await self._advance(keys=[self._positions], args=[name, since, offset])
        if answer == -1:
            raise StoreError(LOST)

    # -- reading ------------------------------------------------------------------------------
    async def get(self, ids: Sequence[str]) -> list[ViewedAlert | None]:
        """Read alerts by id; None for those that are not in the view."""
        if not ids:
            return []
        suppressions = await self.suppressions()
        with translated():
            async with self._pipeline() as pipe:
                for alert_id in ids:
                    await pipe.hgetall(self._alert(alert_id))
                found = await pipe.execute()
        return [_viewed(fields, suppressions) if fields else None for fields in found]

    async def suppressions(self) -> list[Suppression]:
        """List suppressions, those that end last first."""
        with translated():
            held = await self._client.hvals(self._suppressions)
        return sorted(map(decode_suppression, held), key=lambda one: (-one.until, one.id))

    async def newest_event(self) -> int:
        """Give the newest event time of an alert on a transaction (ms); 0 where there is none."""
        with translated():
            return int(await self._client.zscore(self._newest, "event_time") or 0)

    async def count(self, facet: str = "time") -> int:
        """Count the alerts in an index; in the view, unless told otherwise."""
        with translated():
            return int(await self._client.zcard(self.index(facet)))

    # -- keeping it bounded -------------------------------------------------------------------
    async def drop(self, ids: Iterable[str]) -> None:
        """Forget alerts."""
        with translated():
            async with self._pipeline() as pipe:
                for alert_id in ids:
                    keys, args = [self._alert(alert_id)], [self._prefix, alert_id]
                    await self._drop(keys=keys, args=args, client=pipe)
                await pipe.execute()

    async def forget_suppressions(self, before: int) -> None:
        """Forget suppressions that ended before a time (ms), and the oldest beyond the limit."""
        kept = await self.suppressions()
        gone = [
            one.id for place, one in enumerate(kept) if one.until < before or place >= SUPPRESSIONS
        ]
        if gone:
            with translated():
                await self._client.hdel(self._suppressions, *gone)

    def _pipeline(self) -> Any:
        return self._client.pipeline(transaction=False)


def _action(action: Action) -> str:
    """Name the field of an action, so that names are in order of time."""
    return f"{_ACTION}{action.at:020d}:{action.id}"


def _viewed(fields: Mapping[bytes, bytes], suppressions: Sequence[Suppression]) -> ViewedAlert:
    alert, opened = decode_alert(fields[b"alert"]), int(fields[b"opened"])
    verdict = fields.get(b"verdict")
    actions = [
        decode_action(value) for name, value in fields.items() if name.startswith(_ACTION.encode())
    ]
    return ViewedAlert(
        alert=alert,
        opened=opened,
        verdict=None if verdict is None else decode_verdict(verdict),
        actions=tuple(sorted(actions, key=lambda action: (action.at, action.id))),
        suppressed=hides(suppressions, alert, opened),
    )
