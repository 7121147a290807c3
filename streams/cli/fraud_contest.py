"""The network beside its baselines, and the search for the baselines' parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.fraud.baselines import BASELINES, Baseline, Inputs, Matrix
from models.fraud.book import book_features
from models.fraud.contest import Contest
from models.fraud.evaluation import VALIDATION_STARTS, Mode, training_rows
from models.fraud.transactions import Transactions
from models.fraud.tuning import GENUINE_SHARE, TUNED, chosen, keep_choice, search
from streams.cli.fraud_tables import show_tuned
from streams.cli.progress import progress_bar
from streams.errors import SettingsError

if TYPE_CHECKING:  # torch takes seconds to import
    from models.fraud.folds import FoldScores

_KEPT = "????-??-??-[AB]-*"  # what `FoldNetworks` writes, and nothing else that may lie there


def named_baselines(only: str) -> tuple[Baseline, ...]:
    """Those that a list by comma names, all for an empty one.

    Raises:
        SettingsError: there is none of a name.
    """
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = [baseline.name for baseline in BASELINES]
    for name in names:
        if name not in known:
            raise SettingsError(f"--only {name}: choose from {', '.join(known)}")
    return tuple(baseline for baseline in BASELINES if not names or baseline.name in names)


@contextmanager
def kept_networks(report: Path | None) -> Iterator[Path | None]:
    """A folder beside a report for the networks of its folds, None without a report.

    Where the block fails or is interrupted, they stay and the same command goes on from them; at
    its end they go.

    Raises:
        SettingsError: the folder cannot be made.
    """
    if report is None:
        yield None
        return
    folder = report.with_name(f"{report.name}.networks")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise SettingsError(f"cannot keep networks in {folder}: {error.strerror}") from None
    try:
        yield folder
    except BaseException:
        with suppress(OSError):  # it goes where nothing was trained
            folder.rmdir()
        raise
    for path in folder.glob(_KEPT):
        path.unlink()
    with suppress(OSError):  # it stays if something else lies there
        folder.rmdir()


def compare_models(
    transactions: Transactions,
    starts: Sequence[str],
    mode: Mode,
    seeds: int,
    wanted: Sequence[Baseline],
    *,
    oracle: bool,
    on_first: Callable[[str, FoldScores], None] | None = None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """The report of `models.fraud.comparison`, with a bar on the way."""
    from models.fraud.comparison import Plan, compare  # noqa: PLC0415  imports torch

    plan = Plan(mode, starts, seeds, wanted, chosen(wanted, mode, TUNED), oracle, on_first, folder)
    with progress_bar("evaluating", plan.parts) as advance:
        return compare(transactions, _matrices(transactions, starts, wanted), plan, advance)


def find_parameters(transactions: Transactions, mode: Mode, wanted: Sequence[Baseline]) -> None:
    """Search each baseline's grid on the validation folds, keep and print what is best."""
    contest = Contest.over(
        transactions,
        VALIDATION_STARTS,
        mode,
        _matrices(transactions, VALIDATION_STARTS, wanted),
        GENUINE_SHARE[mode],
    )
    total = sum(len(baseline.candidates(mode)) for baseline in wanted) * len(contest.folds)
    done = 0
    with progress_bar("tuning", total) as advance:
        for baseline in wanted:

            def tell(note: str) -> None:
                nonlocal done
                advance(done, note)
                done += 1

            found = search(contest, baseline, tell)
            keep_choice(mode, baseline.name, found, TUNED)
            show_tuned(mode, baseline.name, found)


def _matrices(
    transactions: Transactions, starts: Sequence[str], wanted: Sequence[Baseline]
) -> dict[Inputs, Matrix]:
    """The inputs of the baselines; ours are those that the network is given."""
    matrices: dict[Inputs, Matrix] = {}
    needed = {baseline.inputs for baseline in wanted}
    if "book" in needed:
        matrices["book"] = book_features(transactions)
    if "ours" in needed:
        from models.fraud.dataset import build, large_amount  # noqa: PLC0415  imports torch

        known = training_rows(transactions, min(starts), "B")
        inputs = build(transactions, large_amount(transactions.take(known)))
        matrices["ours"] = np.concatenate([inputs.x, inputs.risk], 1)
    return matrices
