"""What goes over the wire, in and out: the OpenAPI document is made of these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from streams.dashboard.letters import Shown
from streams.dashboard.view.records import Decision, Suppression, ViewedAlert

AlertId = Annotated[str, Field(min_length=1, max_length=512)]
Text = Annotated[str, Field(max_length=2000)]
Kind = Literal["fraud", "object"]
Severity = Literal["low", "medium", "high", "critical"]
Moment = Annotated[int, Field(ge=0, le=253_402_300_799_999)]
"""Milliseconds since the epoch, UTC."""

Entity = Annotated[str, Field(min_length=1, max_length=128)]


class Body(BaseModel):
    """A body that takes nothing that it does not know."""

    model_config = ConfigDict(extra="forbid")


class Error(BaseModel):
    """Why a request was refused."""

    detail: str


class VerdictOut(BaseModel):
    """The last word on an alert; `outcome` null was withdrawn."""

    outcome: bool | None
    at: int
    by: str
    note: str
    source: str


class ActionOut(BaseModel):
    """What somebody did about an alert."""

    id: str
    at: int
    by: str
    action: str
    outcome: bool | None = None
    until: int | None = None
    text: str = ""


class AlertOut(BaseModel):
    """An alert as the view has it; `alert` is its last message, as on the alerts topic."""

    id: str
    opened: int
    is_open: bool
    decision: Decision
    suppressed: bool
    verdict: VerdictOut | None
    actions: list[ActionOut]
    alert: dict[str, Any]


class AlertPage(BaseModel):
    """Alerts, the newest first; ask for more with `cursor`, null at the end."""

    alerts: list[AlertOut]
    cursor: str | None


class Search(Body):
    """Filters that do not belong into a URL: a card id would stand in logs."""

    kind: Kind | None = None
    severity: Severity | None = None
    entity: Entity | None = None
    open: bool | None = None
    decision: Decision | None = None
    suppressed: bool = False
    since: Moment | None = None
    until: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    cursor: Annotated[str, Field(max_length=2048)] | None = None


class VerdictIn(Body):
    """A decision on one alert or several at once; `undecided` takes the last one back."""

    alerts: Annotated[list[AlertId], Field(min_length=1, max_length=500)]
    decision: Decision
    text: Text = ""


class Decided(BaseModel):
    """What had been decided before on each alert, for an undo."""

    before: dict[str, Decision]


class NoteIn(Body):
    """A note on an alert."""

    text: Annotated[str, Field(min_length=1, max_length=2000)]


class SuppressionIn(Body):
    """Hide what opens from now on, of a card or a camera."""

    kind: Kind
    entity: Entity
    minutes: Annotated[float, Field(ge=1, le=527_040)]
    reason: Text = ""


class SuppressionOut(BaseModel):
    """A suppression; `active` as of now."""

    id: str
    kind: Kind
    entity: str
    since: int
    until: int
    by: str
    reason: str
    lifted_at: int | None
    active: bool


class LetterOut(BaseModel):
    """A dead letter: what was buried, why, and where it lies. Its bytes are cut to 4 KiB."""

    name: str
    topic: str
    reason: str
    step: str
    buried_at: int
    replay_of: str | None
    size: int
    text: str | None
    """The value where it is text; null where it is not."""


class Letters(BaseModel):
    """The newest of the dead letters that were asked for."""

    letters: list[LetterOut]
    total: int
    are_all: bool
    """Whether every letter there is was looked at; `tocsin dead-letters list` reads all."""


class ReplayIn(Body):
    """Letters to send back to where they came from."""

    letters: Annotated[
        list[Annotated[str, Field(max_length=512)]], Field(min_length=1, max_length=500)
    ]
    dry_run: bool = False
    """Say what would become of them; send nothing."""


class Replayed(BaseModel):
    """How many letters had each fate, with why where it has a reason."""

    fates: dict[str, int]


class LoginIn(Body):
    """Who it is: a name with a password, or a token."""

    user: Annotated[str, Field(max_length=128)] = ""
    password: Annotated[str, Field(max_length=1024)] = ""
    token: Annotated[str, Field(max_length=1024)] = ""


class SessionOut(BaseModel):
    """Who is asking. `csrf` goes into the header `x-csrf-token` of what changes something."""

    user: str
    role: Literal["viewer", "analyst"]
    csrf: str | None


class CameraOut(BaseModel):
    """A camera, as its worker reports it."""

    id: str
    up: bool
    last_frame: int | None
    frames: dict[str, float]
    """Frames by what became of them, since its worker started."""

    rates: dict[str, float] | None
    """The same in frames a second, over the last answers of its worker; null while unknown."""

    open_alerts: int


class WorkerOut(BaseModel):
    """A worker: where it is asked, and why it is not ready, if it is not."""

    address: str
    reasons: list[str]


class HealthOut(BaseModel):
    """The view, and the workers that the settings name."""

    view: str | None
    """Why the view stands still; null while it does not."""

    alerts: int
    undecided: int
    open: int
    watching: int
    workers: list[WorkerOut]


def alert_out(viewed: ViewedAlert) -> AlertOut:
    """Write an alert."""
    verdict = viewed.verdict
    return AlertOut(
        id=viewed.alert.id,
        opened=viewed.opened,
        is_open=viewed.is_open,
        decision=viewed.decision,
        suppressed=viewed.suppressed,
        verdict=None if verdict is None else VerdictOut(**msgspec.structs.asdict(verdict)),
        actions=[
            ActionOut(
                id=one.id,
                at=one.at,
                by=one.by,
                action=one.action,
                outcome=one.outcome,
                until=one.until,
                text=one.text,
            )
            for one in viewed.actions
        ],
        alert=msgspec.to_builtins(viewed.alert),
    )


def suppression_out(one: Suppression, now: int) -> SuppressionOut:
    """Write a suppression."""
    return SuppressionOut(active=one.is_active(now), **msgspec.structs.asdict(one))


def letter_out(letter: Shown) -> LetterOut:
    """Write a dead letter."""
    try:
        text: str | None = letter.head.decode()
    except UnicodeDecodeError:
        text = None
    return LetterOut(
        name=letter.name,
        topic=letter.topic,
        reason=letter.reason,
        step=letter.step,
        buried_at=letter.buried_at,
        replay_of=letter.replay_of,
        size=letter.size,
        text=text,
    )
