"""What a dashboard is made of, put together once and passed to API and pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from streams.dashboard.access.attempts import Attempts
from streams.dashboard.access.oidc import Provider, provider_of
from streams.dashboard.access.sessions import Sessions
from streams.dashboard.access.users import Users
from streams.dashboard.cards import Cards
from streams.dashboard.desk import Desk
from streams.dashboard.frames import LastFrames
from streams.dashboard.letters import NewestLetters
from streams.dashboard.payments import CardPayments
from streams.dashboard.rules.editor import RuleEditor
from streams.dashboard.sender import Sender
from streams.dashboard.series import Charts
from streams.dashboard.servers import Servers
from streams.dashboard.tasks import Tasks
from streams.dashboard.terminals import Terminals
from streams.dashboard.view.changes import Changes
from streams.dashboard.view.consumer import ViewConsumer
from streams.dashboard.view.store import ViewStore
from streams.dashboard.view.sweep import sweep_for_ever
from streams.dashboard.workers import Workers
from streams.settings import Settings
from streams.state.pictures import PictureStore, open_pictures
from streams.tracing import open_spans


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that answers a request."""

    settings: Settings
    store: ViewStore
    consumer: ViewConsumer
    changes: Changes
    desk: Desk
    sender: Sender
    users: Users
    sessions: Sessions
    attempts: Attempts
    pictures: PictureStore | None
    workers: Workers
    servers: Servers
    charts: Charts
    frames: LastFrames
    cards: Cards
    terminals: Terminals
    payments: CardPayments
    letters: NewestLetters
    rules: RuleEditor
    provider: Provider | None
    tasks: Tasks

    @classmethod
    def build(cls, settings: Settings) -> Services:
        """Put them together; nothing is connected yet.

        Raises:
            SettingsError: there is no Redis, a user's secret is malformed, or traces are asked for
                and the extra is missing.
        """
        store, sender = ViewStore(settings), Sender(settings.kafka)
        users = Users(settings.dashboard.users)
        workers, servers = Workers(settings.dashboard.workers), Servers(settings)
        desk = Desk(settings, store, sender, spans=open_spans(settings.tracing, "dashboard"))
        return cls(
            settings=settings,
            store=store,
            consumer=ViewConsumer(settings, store),
            changes=Changes(store),
            desk=desk,
            sender=sender,
            users=users,
            sessions=Sessions(store.client, settings.dashboard, users),
            attempts=Attempts(store.client, settings.dashboard),
            pictures=open_pictures(settings),
            workers=workers,
            servers=servers,
            charts=Charts(workers.all, servers),
            frames=LastFrames(settings),
            cards=Cards(settings),
            terminals=Terminals(settings),
            payments=CardPayments(settings),
            letters=NewestLetters(settings),
            rules=RuleEditor(settings, desk),
            provider=provider_of(settings.dashboard.oidc, users.has_name),
            tasks=Tasks(),
        )

    @property
    def reasons(self) -> list[str]:
        """Why what is shown is not as it should be; empty where it is."""
        view = self.consumer.waiting_for
        crashed = [f"{name} crashed: {why}" for name, why in self.tasks.crashed.items()]
        return [*([] if view is None else [f"view: {view}"]), *crashed]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the view up to date during the block, whatever crashes."""
        work: dict[str, Callable[[], Awaitable[None]]] = {
            "the view": self.consumer.run,
            "live alerts": self.changes.follow,
            "the sweep": partial(sweep_for_ever, self.store, self.settings.dashboard),
            "asking workers": self.workers.watch,
            "asking Redis and Kafka": self.servers.watch,
            "figures over time": self.charts.keep_up,
            "last pictures": self.frames.close_when_idle,
        }
        try:
            async with self.tasks.running(work):
                yield
        finally:
            await self.sender.close()
            await self.store.close()
            self.cards.close()
            self.terminals.close()
            if self.pictures is not None:
                self.pictures.close()
