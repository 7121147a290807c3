"""What a desk of the dashboard stands on, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from streams.dashboard.view.records import Suppression, Verdict, ViewedAlert
from streams.schemas import Alert


class Memory:
    """A view that shows what it is told."""

    def __init__(self, alerts: Sequence[Alert]) -> None:
        self.viewed = {one.id: ViewedAlert(one, 1, None, (), suppressed=False) for one in alerts}
        self.suppressed: list[Suppression] = []
        self.newest = 0

    async def get(self, ids: Sequence[str]) -> list[ViewedAlert]:
        return [self.viewed[name] for name in ids]

    async def newest_event(self) -> int:
        return self.newest

    async def suppressions(self) -> list[Suppression]:
        return self.suppressed

    async def put_actions(self, actions: object) -> None: ...

    async def put_verdicts(self, verdicts: Mapping[str, Verdict]) -> None:
        for name, verdict in verdicts.items():
            self.viewed[name] = replace(self.viewed[name], verdict=verdict)


class Sender:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: dict[str, list[bytes]] = {}

    async def send(
        self, topic: str, records: Sequence[tuple[bytes, bytes]], headers: object = None
    ) -> None:
        self.sent.setdefault(topic, []).extend(value for _, value in records)
