"""The baselines' parameters: found on the validation folds, kept with the whole search.

``tuned.json`` beside this module holds, for each mode and baseline, the configuration with the best
mean average precision over the validation folds and the figures of all that were tried. No test
fold was looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from models.errors import DataError
from models.fraud.baselines import Baseline, Params
from models.fraud.contest import Contest, OnRun
from models.fraud.evaluation import METRICS, Mode, mean_and_std

GENUINE_SHARE: Final[Mapping[Mode, float]] = {"A": 1.0, "B": 0.2}
"""Of the genuine rows, how many the search learns from.

One fit of XGBoost's exact method on our inputs takes 25 s on a fifth of mode B's rows, and minutes
on all of them; every configuration needs four.
"""

TUNED = Path(__file__).with_name("tuned.json")


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One configuration and its means over the validation folds."""

    params: Params
    auc: float
    ap: float
    cp100: float
    seconds: float


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen for a baseline, and the search.

    Attributes:
        params: those of `best`.
        starts: the folds that the search looked at.
        inputs: number of columns that the model learned from.
        genuine_share: of the genuine rows, how many it learned from.
        trials: all of them, in the order of the grid.
    """

    params: Params
    starts: list[str]
    inputs: int
    genuine_share: float
    trials: list[Trial]

    @property
    def best(self) -> Trial:
        """The trial with the highest average precision, the first of equals."""
        return max(self.trials, key=lambda trial: trial.ap)


Choices = dict[Mode, dict[str, Tuned]]


def search(contest: Contest, baseline: Baseline, on_run: OnRun | None = None) -> Tuned:
    """Try every configuration of a baseline on a contest over validation folds."""
    trials = []
    for params in baseline.candidates(contest.mode):
        figures, seconds = contest.judge(baseline, params, on_run)
        mean, _ = mean_and_std(figures)
        rounded = {name: round(mean[name], 5) for name in METRICS}
        trials.append(Trial(params=params, seconds=seconds, **rounded))
    return Tuned(
        params=max(trials, key=lambda trial: trial.ap).params,
        starts=[fold.start for fold in contest.folds],
        inputs=contest.matrices[baseline.inputs].shape[1],
        genuine_share=contest.genuine_share,
        trials=trials,
    )


def read_choices(path: Path = TUNED) -> Choices:
    """Everything chosen so far; nothing where the file is missing.

    Raises:
        DataError: the file is damaged.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Choices)
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{path} cannot be read, tune again with --tune: {error}") from None


def keep_choice(mode: Mode, name: str, tuned: Tuned, path: Path = TUNED) -> None:
    """Write one choice beside the others.

    Raises:
        DataError: the file cannot be written.
    """
    choices = read_choices(path)
    choices.setdefault(mode, {})[name] = tuned
    text = msgspec.json.format(msgspec.json.encode(choices, order="deterministic"), indent=1)
    try:
        path.write_bytes(text + b"\n")
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from None


def chosen(baselines: Iterable[Baseline], mode: Mode, path: Path = TUNED) -> dict[str, Params]:
    """The parameters of each baseline in a mode.

    Raises:
        DataError: one was never tuned.
    """
    choices = read_choices(path).get(mode, {})
    for baseline in baselines:
        if baseline.name not in choices:
            raise DataError(
                f"{path} has no parameters of {baseline.name} in mode {mode}: run --tune once"
            )
    return {baseline.name: choices[baseline.name].params for baseline in baselines}
