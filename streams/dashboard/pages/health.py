"""How everything is: the view, the workers, figures over time, dead letters, suppressions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from nicegui import ui

from streams.dashboard.letters import Shown, counted, send_back, send_back_on_record
from streams.dashboard.pages.charts import figures_chart, show_figures
from streams.dashboard.pages.dialog import buttons, dialog
from streams.dashboard.pages.frame import Visit, empty
from streams.dashboard.pages.hidden import active_of
from streams.dashboard.pages.words import ago
from streams.dashboard.series import model_of, names_of
from streams.dashboard.servers import Figures
from streams.dashboard.view.records import Suppression
from streams.dead_letters.fate import Fate
from streams.dead_letters.index import Wanted

EVERY_S: Final = 3.0
_LETTERS: Final = 25


class Health:
    """The view on one open page."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._charts: dict[str, Any] = {}
        self._active: list[Suppression] | None = None  # as they are drawn

    async def build(self) -> None:
        """Draw everything, then keep it up to date."""
        ui.label("Health").classes("visually-hidden").props('role="heading" aria-level="1"')
        self._tiles = ui.row().classes("tiles")
        with ui.element("div").classes("charts"):
            for figure in self._visit.services.charts.now():
                with ui.element("section").classes("panel"):
                    unit = f" ({figure.unit})" if figure.unit else ""
                    ui.label(f"{figure.name}{unit}").classes("title")
                    said = f"{figure.name} over the last quarter of an hour"
                    self._charts[figure.name] = figures_chart(figure.lines, said)
        with ui.element("section").classes("panel"):
            with ui.row().classes("head"):
                ui.label("Dead letters").classes("title")
                ui.space()
                ui.button("Look again", icon="refresh", on_click=self._letters).props(
                    "flat dense no-caps"
                )
            self._dead = ui.column().classes("letters")
            with self._dead:
                ui.label("Reading the topics…").classes("hint").props('role="status"')
        with ui.element("section").classes("panel"):
            ui.label("Suppressions").classes("title")
            self._hidden = ui.column().classes("letters")
        await self._refresh()
        ui.timer(EVERY_S, self._refresh)
        ui.timer(0.1, self._letters, once=True)

    async def _refresh(self) -> None:
        services = self._visit.services
        for figure in services.charts.now():
            show_figures(self._charts[figure.name], figure.lines)
        counts = await self._visit.trying(self._counts())
        self._tiles.clear()
        with self._tiles:
            view = services.consumer.waiting_for
            _tile("View", "up to date" if view is None else view, is_well=view is None)
            for name, text in (counts or {"Redis": "does not answer"}).items():
                _tile(name, text, is_well=counts is not None)
            for name, server in (
                ("Redis", services.servers.redis),
                ("Kafka", services.servers.kafka),
            ):
                _tile(name, server.trouble or _summary(server.latest), is_well=not server.trouble)
            for name, why in services.tasks.crashed.items():
                _tile("This dashboard", f"{name} crashed: {why}", is_well=False)
            workers = services.workers.all
            for name, worker in zip(names_of(workers), workers, strict=True):
                said = "; ".join(worker.reasons) or "ready"
                model = model_of(worker)
                _tile(name, said, is_well=not worker.reasons, about=model)

        await self._suppressions()

    async def _counts(self) -> dict[str, str]:
        store = self._visit.services.store
        return {
            "Alerts": f"{await store.count():,}",
            "To decide": f"{await store.count('decision:undecided'):,}",
            "Going on": f"{await store.count('open'):,}",
        }

    async def _letters(self) -> None:
        found = await self._visit.trying(self._visit.services.letters.find(Wanted(), _LETTERS))
        self._dead.clear()
        with self._dead:
            if found is None:
                empty("cloud_off", "They cannot be read now", "Kafka does not answer.")
            elif not found.newest:
                empty("mark_email_read", "No dead letter", "All that came could be processed.")
            else:
                count = f"{found.total:,}" if found.are_all else f"More than {found.total:,}"
                ui.label(f"{count} in all, the newest first").classes("hint")
                for letter in found.newest:
                    self._letter(letter)

    def _letter(self, letter: Shown) -> None:
        with ui.expansion(letter.reason, caption=f"{letter.name} · {letter.step}"):
            now = round(time.time() * 1000)
            again = f", sent again from {letter.replay_of}" if letter.replay_of else ""
            ui.label(f"{letter.origin} · buried {ago(letter.buried_at, now)}{again}").classes(
                "hint"
            )
            with ui.element("pre").props('tabindex="0"'):
                ui.label(letter.head.decode(errors="replace"))
            if self._visit.principal.may_act:
                ui.button("Send back", icon="replay", on_click=lambda: self._ask(letter)).props(
                    "outline dense no-caps"
                )

    async def _ask(self, letter: Shown) -> None:
        """Say what would become of a letter, and let the person decide."""
        if await self._visit.acting() is None:
            return
        work = send_back(self._visit.services.settings, [letter.name], dry_run=True)
        fates = await self._visit.trying(work)
        if fates is None:
            return
        (fate,) = fates
        with dialog("Send back") as opened:
            if fate != Fate.SENT.value:
                ui.label(f"Nothing would be sent: {fate}.")
                ui.button("Close", on_click=opened.close).props("flat no-caps")
                return
            ui.label(
                f"One record of {letter.size:,} bytes would go to {letter.topic}, "
                f"partition {letter.partition}, as it came. What buried it should be put right "
                f"first: {letter.reason}"
            )

            async def send() -> None:
                if opened.value:
                    await opened.answer(self._send(letter))

            buttons(opened, "Send it back", send)

    async def _send(self, letter: Shown) -> bool:
        settings, desk = self._visit.services.settings, self._visit.services.desk
        fates = await self._visit.doing(
            lambda who: send_back_on_record(settings, desk, [letter.name], who)
        )
        if fates is None:
            return False
        self._visit.say(counted(fates))
        return True

    async def _suppressions(self) -> None:
        """Draw them anew where one was made, lifted or ended since."""
        now = round(time.time() * 1000)
        found = await self._visit.trying(self._visit.services.store.suppressions())
        if found is None:
            return
        active = active_of(found, now)
        if active != self._active:
            self._active = active
            self._draw_suppressions(active)

    def _draw_suppressions(self, active: Sequence[Suppression]) -> None:
        self._hidden.clear()
        with self._hidden:
            if not active:
                empty("notifications_active", "Nothing is suppressed", "Every alert is shown.")
            for one in active:
                with ui.row().classes("suppressed"):
                    ui.label(one.entity).classes("name")
                    until = self._visit.clock.moment(one.until)
                    ui.label(f"until {until}, by {one.by}: {one.reason or 'no reason given'}")
                    ui.space()
                    if self._visit.principal.may_act:
                        ui.button("Lift", on_click=lambda one=one: self._lift(one.id)).props(
                            "outline dense no-caps"
                        )

    async def _lift(self, suppression_id: str) -> None:
        desk = self._visit.services.desk
        await self._visit.doing(lambda who: desk.lift(suppression_id, who))
        await self._suppressions()


def _summary(figures: Figures) -> str:
    """Say in a few words how a server is."""
    if "brokers" not in figures:
        limit = f" of {figures['limit']:,.0f}" if "limit" in figures else ""
        used = f"{figures['used']:,.0f}{limit} MiB, " if "used" in figures else ""
        return f"{used}{figures['keys']:,.0f} keys"
    lacking = figures["under-replicated"] + figures["without a leader"]
    brokers = f"{figures['brokers']:.0f} broker{'s' * (figures['brokers'] != 1)}"
    partitions = f"{figures['partitions']:.0f} partitions"
    if lacking:
        partitions += f", {lacking:.0f} without a replica or a leader"
    return f"{brokers}, {partitions}"


def _tile(name: str, text: str, *, is_well: bool, about: str = "") -> None:
    with ui.element("div").classes(f"figure {'well' if is_well else 'ill'}"):
        ui.label(name).classes("hint")
        ui.label(text).classes("value")
        if about:
            ui.label(about).classes("hint")
