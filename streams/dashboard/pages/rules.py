"""Zones, lines and rules of one camera, drawn on its last picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import quote

import msgspec
from nicegui import events, ui

from models.vision.rules_file import Rule
from streams.dashboard.pages.draft import Draft, Kind
from streams.dashboard.pages.frame import Visit, empty
from streams.dashboard.pages.overlay import overlay
from streams.dashboard.pages.rule_form import KINDS, RuleForm, checked_name
from streams.dashboard.rules.editor import Held
from streams.dashboard.rules.part import CameraRules
from streams.errors import TocsinError

_SIZE: Final = (1280, 720)
"""Of a picture that has not come yet: one can draw on its place."""

_PICTURE_EVERY_S: Final = 2.0

_IN_FORCE_EVERY_S: Final = 1.0
_HINTS: Final[dict[Kind | None, str]] = {
    None: "Press on a corner to choose a shape; drag a corner to move it.",
    "zone": "Press on each corner, then on the first one again, or on Close.",
    "line": "Press on its two ends; right and left are as seen from the first.",
}


class RulesPage:
    """One editor on one open page; only who may act changes anything."""

    def __init__(self, visit: Visit, camera: str) -> None:
        self._visit, self._camera = visit, camera
        self._size = _SIZE
        self._draft = Draft(CameraRules())
        self._held: Held | None = None
        self._classes: tuple[str, ...] = ()
        self._is_held = self._is_saving = False

    async def build(self) -> None:
        """Read the rules and draw everything."""
        ui.label(f"Rules of camera {self._camera}").classes("headline rules-title").props(
            'role="heading" aria-level="1"'
        )
        editor = self._visit.services.rules
        try:
            self._held = await editor.of(self._camera)
            self._classes = await editor.classes()
        except TocsinError as error:
            empty("rule", "The rules cannot be changed here", str(error))
            return
        if await self._is_unknown(self._held.part):
            empty(
                "videocam_off",
                "No such camera",
                "No worker reports it, no rule names it, and no picture of it has come.",
            )
            return
        self._draft = Draft(self._held.part)
        with ui.element("div").classes("rules"):
            with ui.element("section").classes("drawing").props('aria-label="Drawing"'):
                self._toolbar()
                # What is drawn over it is ours: numbers, and names that are escaped.
                self._image = ui.interactive_image(
                    size=_SIZE,
                    events=["mousedown", "mouseup"],
                    on_mouse=self._mouse,
                    sanitize=False,
                ).classes("canvas")
                with self._image:
                    self._none = ui.label("").classes("no-picture")
                self._image.on("loaded", self._loaded, ["width", "height"])
                words = json.dumps(f"Last picture of camera {self._camera}, with its rules")
                name = f"(node) => {{ node.el.querySelector('img').alt = {words} }}"
                self._image.on("vnodeMounted", js_handler=name)
                self._hint = ui.label("").classes("hint")
            with ui.element("aside").classes("sheet").props('aria-label="Rules"'):
                self._lists = ui.column().classes("body")
        ui.timer(_IN_FORCE_EVERY_S, self._say_whether_in_force)
        self._looking = ui.timer(_PICTURE_EVERY_S, self._look_for_a_picture)
        self._show()

    async def _is_unknown(self, part: CameraRules) -> bool:
        """Tell whether nothing speaks of the camera; nobody knows where no worker says anything."""
        known = self._visit.services.workers.cameras()
        if not known or self._camera in known or is_named(self._camera, part.rules):
            return False
        frame, trouble = await self._visit.services.frames.look(self._camera)
        return frame is None and not trouble

    async def _look_for_a_picture(self) -> None:
        """Put the picture into its place once there is one."""
        frame, trouble = await self._visit.services.frames.look(self._camera)
        if frame is None:
            self._none.set_text(f"No picture yet{trouble and f': {trouble}'}")
            return
        self._looking.cancel()
        self._none.set_visibility(False)
        self._image.props["size"] = None  # its own counts
        camera = quote(self._camera, safe="")
        self._image.set_source(f"/api/cameras/{camera}/picture?at={frame.sent_at}")

    def _toolbar(self) -> None:
        def button(text: str, icon: str, then: Any, style: str = "outline") -> Any:
            made = ui.button(text, icon=icon, on_click=then)
            return made.props(f"{style} dense no-caps padding='3px 9px'")

        with ui.row().classes("actions"):
            self._tools = [
                button("Zone", "polyline", lambda: self._begin("zone")),
                button("Line", "timeline", lambda: self._begin("line")),
            ]
            self._close = button("Close", "check", self._finish)
            self._undo = button("Undo", "undo", self._take_back)
            self._save = button("Save", "save", self._send, "unelevated")
            self._state = ui.label("").classes("pill").props('role="status"')

    # -- drawing ------------------------------------------------------------------------------
    def _loaded(self, event: events.GenericEventArguments) -> None:
        self._size = int(event.args["width"]), int(event.args["height"])
        self._draw()  # the lists stay: somebody may be pressing on them

    def _mouse(self, event: events.MouseEventArguments) -> None:
        x, y = event.image_x / self._size[0], event.image_y / self._size[1]
        if not self._visit.principal.may_act:
            return
        was_drawing = self._draft.drawing is not None
        if event.type == "mousedown":
            self._draft.press(x, y)
        else:
            self._draft.release(x, y)
        if was_drawing and self._draft.drawing is None:
            self._ask_for_a_rule()
        self._show()

    def _begin(self, kind: Kind) -> None:
        self._draft.begin(kind)
        self._show()

    def _finish(self) -> None:
        if self._draft.finish():
            self._ask_for_a_rule()
        self._show()

    def _take_back(self) -> None:
        self._draft.undo()
        self._show()

    def _ask_for_a_rule(self) -> None:
        """What has just been drawn raises nothing by itself."""
        if self._draft.chosen is None:
            return
        kind, name = self._draft.chosen
        self._form().ask(None, kind="enter" if kind == "zone" else "cross", **{kind: name})

    def _draw(self) -> None:
        self._image.set_content(overlay(self._draft, *self._size))

    # -- lists --------------------------------------------------------------------------------
    def _show(self) -> None:
        """Draw what is to be saved."""
        draft, may_act = self._draft, self._visit.principal.may_act
        self._draw()
        self._hint.set_text(_HINTS[draft.drawing])
        for tool in (*self._tools, self._undo):
            tool.set_enabled(may_act)
        self._close.set_visibility(draft.drawing == "zone")
        self._save.set_enabled(may_act and draft.is_changed and not self._is_saving)
        self._hold_on_to(draft.is_changed)
        self._lists.clear()
        with self._lists:
            self._shapes("zone", "Zones")
            self._shapes("line", "Lines")
            with ui.element("section").classes("part"):
                with ui.row().classes("head"):
                    ui.label("Rules").classes("title")
                    ui.space()
                    if may_act:
                        ui.button(
                            "Rule", icon="add", on_click=lambda: self._form().ask(None)
                        ).props("flat dense no-caps")
                if not draft.part.rules:
                    ui.label("No rule: nothing before this camera raises an alert.").classes("hint")
                for rule in draft.part.rules:
                    self._rule(rule)

    def _hold_on_to(self, is_changed: bool) -> None:
        """Let the browser ask who leaves the page with something on it that is not saved."""
        if is_changed != self._is_held:
            self._is_held = is_changed
            asking = "event => event.preventDefault()" if is_changed else "null"
            ui.run_javascript(f"window.onbeforeunload = {asking}")

    def _shapes(self, kind: Kind, title: str) -> None:
        with ui.element("section").classes("part"):
            ui.label(title).classes("title")
            if not self._draft.shapes(kind):
                ui.label("None.").classes("hint")
            for name, points in self._draft.shapes(kind).items():
                if self._draft.chosen == (kind, name) and self._visit.principal.may_act:
                    self._chosen(kind, name, points)
                else:
                    ui.button(
                        name, on_click=lambda kind=kind, name=name: self._choose(kind, name)
                    ).props("flat dense no-caps align=left")

    def _choose(self, kind: Kind, name: str) -> None:
        self._draft.chosen = kind, name
        self._show()

    def _chosen(self, kind: Kind, name: str, points: Any) -> None:
        """Name and corners as text: also for who draws with no pointer."""

        def named(field: Any) -> None:
            self._trying(lambda: self._draft.rename(kind, name, checked_name(field.value)))

        def placed(field: Any) -> None:
            self._trying(lambda: self._draft.place(kind, name, _points(field.value)))

        with ui.row().classes("shape-row"):
            new = ui.input("Name", value=name).props("outlined dense")
            new.on("change", lambda: named(new))
            ui.space()
            ui.button(icon="delete", on_click=lambda: self._drop(kind, name)).props(
                f'flat dense round aria-label="Delete {kind}"'
            )
        corners = ui.input("Corners, % across and down", value=_text(points))
        corners.props("outlined dense").on("change", lambda: placed(corners))

    def _rule(self, rule: Rule) -> None:
        _, words = KINDS[type(rule).__name__.lower()]
        place = getattr(rule, "line", "") or getattr(rule, "zone", "") or "the picture"
        with ui.element("div").classes("reason"), ui.row().classes("shape-row"):
            with ui.column().classes("words"):
                ui.label(rule.name).classes("name")
                ui.label(f"{words}: {place} · {', '.join(rule.classes)} · {rule.severity}").classes(
                    "hint"
                )
                if others := others_told(rule.cameras, self._camera):
                    ui.label(others).classes("hint")
            ui.space()
            if self._visit.principal.may_act:
                ui.button(icon="edit", on_click=lambda: self._form().ask(rule)).props(
                    'flat dense round aria-label="Change rule"'
                )
                ui.button(icon="delete", on_click=lambda: self._drop_rule(rule.name)).props(
                    'flat dense round aria-label="Delete rule"'
                )

    def _form(self) -> RuleForm:
        def done(name: str | None, rule: Rule) -> None:
            self._draft.put_rule(name, rule)
            self._show()

        return RuleForm(self._camera, self._classes, self._draft.part, done)

    def _drop(self, kind: Kind, name: str) -> None:
        self._draft.drop(kind, name)
        self._show()

    def _drop_rule(self, name: str) -> None:
        self._draft.drop_rule(name)
        self._show()

    def _trying(self, change: Any) -> None:
        try:
            change()
        except ValueError as error:
            self._visit.say(str(error))
        self._show()

    # -- saving -------------------------------------------------------------------------------
    async def _send(self) -> None:
        """Save what is drawn now; one may draw on meanwhile, which is saved by the next press."""
        if (held := self._held) is None or self._is_saving:
            return
        sent = self._draft.part
        try:  # names of shapes have not been looked at yet
            part = msgspec.convert(msgspec.to_builtins(sent), CameraRules)
        except msgspec.ValidationError as error:
            self._visit.say(str(error))
            return
        rules, before = self._visit.services.rules, [held.digest]
        self._is_saving = True
        self._save.disable()
        try:
            saved = await self._visit.doing(lambda who: rules.save(self._camera, part, before, who))
        finally:
            self._is_saving = False
        if saved is not None:
            self._held = saved
            self._draft.saved(sent, saved.part)
            self._visit.say("Saved")
            self._say_whether_in_force()
        self._show()

    def _say_whether_in_force(self) -> None:
        if self._draft.is_changed:
            text, style = "not saved", "high"
        else:
            text, style = _in_force(self._visit.services.workers.rules(), self._held)
        self._state.set_text(text)
        self._state.classes(replace=f"pill {style}")


def others_told(patterns: Sequence[str], camera: str) -> str:
    """Say for which cameras besides `camera` a rule is; empty where there is none."""
    if "*" in patterns:
        return "for all cameras"
    others = [pattern for pattern in patterns if pattern != camera]
    return f"also for cameras {', '.join(others)}" if others else ""


def is_named(camera: str, rules: Sequence[Rule]) -> bool:
    """Whether a rule is about the camera, and not only because it is about all."""
    return any(
        pattern != "*" and fnmatchcase(camera, pattern)
        for rule in rules
        for pattern in rule.cameras
    )


def _in_force(found: Sequence[tuple[str, bool]], held: Held | None) -> tuple[str, str]:
    """Say what the vision workers make of the file: digests in force, and whether one refuses."""
    if any(refused for _, refused in found):
        return "a worker refuses the file: its log says why", "critical"
    if not found:
        return "no vision worker answers", ""
    if held is not None and all(digest == held.digest for digest, _ in found):
        return "in force", "up"
    return "not in force yet", "medium"


def _text(points: Sequence[tuple[float, float]]) -> str:
    return ", ".join(f"{100 * x:.4g} {100 * y:.4g}" for x, y in points)


def _points(text: str) -> list[tuple[float, float]]:
    """Read corners.

    Raises:
        ValueError: they are not two numbers each, from 0 to 100.
    """
    found = []
    for corner in text.split(","):
        numbers = [float(word) for word in corner.split()]
        if len(numbers) != 2 or not all(0 <= number <= 100 for number in numbers):
            raise ValueError("each corner is two numbers from 0 to 100, then a comma")
        found.append((round(numbers[0] / 100, 4), round(numbers[1] / 100, 4)))
    return found
