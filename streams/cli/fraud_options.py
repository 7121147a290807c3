"""Which options of `tocsin evaluate fraud` contradict each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import typer

from streams.errors import SettingsError

_FLAGS: Final = {"baselines": "--no-baselines", "scores_topic": "--scores-topic"}

# What makes no sense beside an option, and why; the first that fits is said.
_APART: Final[tuple[tuple[str, str, frozenset[str]], ...]] = (
    (
        "tune",
        "finds parameters and ends",
        frozenset({"scores_topic", "offline", "oracle", "train_starts", "seeds", "report"}),
    ),
    ("tune", "finds parameters of baselines", frozenset({"baselines"})),
    ("streamed", "needs networks of folds", frozenset({"scores_topic", "offline", "tune"})),
    *(
        (
            name,
            "judges scores that exist and trains nothing",
            frozenset({"mode", "seeds", "only", "baselines"}),
        )
        for name in ("offline", "scores_topic")
    ),
    ("only", "chooses among baselines", frozenset({"baselines"})),
)


def refuse_contradictions(ctx: typer.Context) -> None:
    """Refuse options of which one would be ignored, or that leave nothing to do.

    Raises:
        SettingsError: what to leave out.
    """
    given = {
        name: value
        for name, value in ctx.params.items()
        if (source := ctx.get_parameter_source(name)) is not None
        and source.name == "COMMANDLINE"
        and not (name == "baselines" and value)  # --baselines is the default, said aloud
    }
    for name, why, apart in _APART:
        if name in given and (others := [other for other in given if other in apart]):
            raise SettingsError(
                f"{_flag(name)} {why}: give it without {' and '.join(map(_flag, others))}"
            )
    _refuse_nothing(given)


def _refuse_nothing(given: Mapping[str, Any]) -> None:
    without_networks = given.get("seeds") == 0
    if "streamed" in given and without_networks:
        raise SettingsError("--streamed needs networks of folds: give it without --seeds 0")
    if without_networks and "baselines" in given and "oracle" not in given:
        raise SettingsError("--seeds 0 --no-baselines leaves nothing to do: give --oracle too")
    servers = [name for name in ("bootstrap", "redis_url") if name in given]
    if servers and "streamed" not in given:
        raise SettingsError(f"{' and '.join(map(_flag, servers))} without --streamed: give both")


def _flag(name: str) -> str:
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")
