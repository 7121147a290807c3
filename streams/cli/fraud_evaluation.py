"""What `tocsin evaluate fraud --report` writes, as far as `tocsin report fraud` reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, final

import msgspec

from streams.errors import SettingsError


class Figures(TypedDict):
    """The three measures."""

    auc: float
    ap: float
    cp100: float


class FoldFigures(Figures):
    """Of one fold."""

    start: str


class StreamedFold(FoldFigures):
    """Of one fold's network in service, and offline."""

    offline: Figures
    max_abs_diff: float


class Summary(Figures):
    """Means over the folds, and each fold."""

    std: Figures
    folds: list[FoldFigures]


class Baseline(Summary):
    """A model beside the network."""

    params: dict[str, float | int | str]


class Slice(TypedDict):
    """One group of payments; a measure without a meaning there is None."""

    low: float
    high: float
    count: int
    frauds: int
    auc: float | None
    ap: float | None
    alert_rate: float | None
    precision: float | None
    recall: float | None


class Calibration(TypedDict):
    """The reliability curve, and one figure of it."""

    score: list[float]
    fraud_share: list[float]
    ece: float
    brier: float


class Budget(TypedDict):
    """What so many alerts a day find."""

    precision: float
    recall: float


class Delay(TypedDict):
    """How soon terminals raise an alert."""

    terminals: int
    alerted: int
    median_days: float | None
    within: dict[str, float | None]


class Findings(TypedDict):
    """See `models.fraud.findings`."""

    alerts_per_day: int
    budget: Budget
    calibration: Calibration
    slices: dict[str, list[Slice]]
    delay: Delay


class Streamed(TypedDict):
    """See `streams.cli.fraud_streamed`."""

    folds: list[StreamedFold]
    mean: Figures
    offline: Figures


class Artifact(TypedDict):
    """The network that was served."""

    version: str
    sha256: str


class DataFile(TypedDict):
    """A file of transactions."""

    sha256: str


@final
class Trained(TypedDict):
    """An evaluation that trained networks; see `models.fraud.comparison.compare`."""

    mode: Literal["A", "B"]
    train_starts: list[str]
    seeds: int
    folds: list[FoldFigures]
    mean: Figures
    std: Figures
    baselines: dict[str, Baseline]
    unsupervised: dict[str, Summary]
    findings: Findings
    ceiling: Summary | None
    seconds: float
    data: list[DataFile]
    streamed: NotRequired[Streamed]


@final
class Shipped(TypedDict):
    """An evaluation of the served network, ``--offline``."""

    source: Literal["offline"]
    folds: list[FoldFigures]
    mean: Figures
    std: Figures
    artifact: Artifact
    data: list[DataFile]


def read_evaluation(path: Path) -> Trained | Shipped:
    """Read one file.

    Raises:
        SettingsError: it cannot be read, or is neither.
    """
    try:
        # Reports of old hold nan, which msgspec does not take.
        report: Any = json.loads(path.read_bytes(), parse_constant=lambda _: None)
    except (OSError, ValueError) as error:
        raise SettingsError(f"cannot read {path}: {error}") from None
    kind: Any = None
    if isinstance(report, dict):
        if report.get("findings"):
            kind = Trained
        elif report.get("source") == "offline":
            kind = Shipped
    if kind is None:
        raise SettingsError(
            f"{path} is no report on trained networks, nor on the served one: make it with tocsin "
            "evaluate fraud --report"
        )
    try:
        found: Trained | Shipped = msgspec.convert(report, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(
            f"{path} is no whole report, make it again with tocsin evaluate fraud --report: {error}"
        ) from None
    return found
