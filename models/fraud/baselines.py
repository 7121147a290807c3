"""What the network is measured against: the usual models of the trade, on the same rows.

Each learns from a matrix of inputs, one transaction a row: the book's 15 (names that end in
``_book``) or ours, those that the network is given. Needs the `eval` extra.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from models.errors import ModelError
from models.fraud.evaluation import Mode

Inputs = Literal["book", "ours"]
Matrix = npt.NDArray[np.float32]
Params = dict[str, float | int | str]
Grid = Mapping[str, Sequence[float | int | str]]
Grids = Sequence[Grid]


class Classifier(Protocol):
    """What scikit-learn, XGBoost and LightGBM have in common."""

    def fit(self, x: Matrix, y: npt.NDArray[np.bool_], /, **weights: Any) -> Any:
        """Learn from (M, F) inputs, (M,) verdicts and perhaps (M,) weights."""

    def predict_proba(self, x: Matrix, /) -> npt.NDArray[Any]:
        """(K, 2) probabilities, those of fraud in the second column."""


Library = Literal["logistic", "random_forest", "xgboost", "lightgbm"]


@dataclass(frozen=True, slots=True)
class Baseline:
    """One model, the inputs that it learns from, and the parameters worth trying.

    Attributes:
        name: as the report has it.
        library: which model.
        inputs: which matrix.
        grids: for each mode lists of values by parameter; every combination is tried.
    """

    name: str
    library: Library
    inputs: Inputs
    grids: Mapping[Mode, Grids]

    def candidates(self, mode: Mode) -> list[Params]:
        """Every configuration of the grids of a mode."""
        return [
            dict(zip(grid, values, strict=True))
            for grid in self.grids[mode]
            for values in product(*grid.values())
        ]


def fit_predict(
    baseline: Baseline,
    params: Params,
    *,
    x: Matrix,
    truth: npt.NDArray[np.bool_],
    learned: npt.NDArray[np.bool_],
    judged: npt.NDArray[np.int64],
    genuine_weight: float = 1.0,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Learn from some rows of a history and score others.

    Args:
        baseline: which model.
        params: its parameters, as `candidates` lists them.
        x: (N, F) inputs.
        truth: (N,) verdicts.
        learned: (N,) rows to learn from.
        judged: (K,) places of the rows to score.
        genuine_weight: of a genuine row where a fraud's is 1, for rows that were thinned out.
        seed: of the model's random choices.

    Returns:
        (K,) probabilities of fraud.

    Raises:
        ModelError: the model's library is not installed.
    """
    model = _make(baseline.library, params, seed)
    weights: dict[str, npt.NDArray[np.float64]] = {}
    if genuine_weight != 1.0:
        # A pipeline hands a weight on to the step that is named.
        name = "logisticregression__" if baseline.library == "logistic" else ""
        weights[f"{name}sample_weight"] = np.where(truth[learned], 1.0, genuine_weight)
    model.fit(x[learned], truth[learned], **weights)
    return model.predict_proba(x[judged])[:, 1].astype(np.float64)


def _make(library: Library, params: Params, seed: int) -> Classifier:
    """A model that has not learned, on one thread: threads would share the cores with others."""
    model: Classifier
    if library == "logistic":
        # The default solver needs more than its 100 steps on a month of transactions.
        model = _sklearn("pipeline").make_pipeline(
            _sklearn("preprocessing").StandardScaler(),
            _sklearn("linear_model").LogisticRegression(max_iter=1000, random_state=seed, **params),
        )
    elif library == "random_forest":
        model = _sklearn("ensemble").RandomForestClassifier(n_jobs=1, random_state=seed, **params)
    elif library == "xgboost":
        # XGBoost's defaults of today do not reproduce the book, whose version began at 0.5.
        model = _import("xgboost").XGBClassifier(
            base_score=0.5, n_jobs=1, random_state=seed, **params
        )
    else:
        model = _import("lightgbm").LGBMClassifier(
            n_jobs=1, random_state=seed, verbose=-1, deterministic=True, **params
        )
    return model


def _sklearn(module: str) -> Any:
    return _import(f"sklearn.{module}")


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        name = module.partition(".")[0]
        raise ModelError(
            f"the baselines need {name}: pip install 'tocsin[eval]', or run with --no-baselines"
        ) from None


def require_libraries() -> None:
    """Raise what a missing library will raise, before hours are spent.

    Raises:
        ModelError: a library is not installed.
    """
    for module in ("sklearn", "xgboost", "lightgbm"):
        _import(module)


# The grids. Rounds, depth and rate matter most; sampling and leaf sizes are those that are usual
# where positives are rare. Histograms are an eighth of the exact method's work in mode B, and lose
# up to 0.04 of average precision on amounts with the 256 bins of the default: hence 2048.
_EXACT: Grid = {"tree_method": ("exact",)}
_FINE: Grid = {"tree_method": ("hist",), "max_bin": (2048,)}
_SAMPLED: Grid = {"min_child_weight": (5,), "subsample": (0.8,), "colsample_bytree": (0.6,)}
_LEAVES: Grid = {"min_child_samples": (50,)}
_LOGISTIC: Grids = ({"C": (0.01, 1.0, 100.0)},)
_LIGHTGBM: Grids = (
    {"n_estimators": (100,), "learning_rate": (0.05,), "num_leaves": (31,), **_LEAVES},
    {"n_estimators": (200,), "learning_rate": (0.05,), "num_leaves": (15, 31), **_LEAVES},
)
_XGBOOST_A: Grids = (
    {"n_estimators": (25, 50, 100), "learning_rate": (0.3,), "max_depth": (3,), **_EXACT},
    {"n_estimators": (100,), "learning_rate": (0.1,), "max_depth": (3, 6), **_EXACT},
    {"n_estimators": (100,), "learning_rate": (0.1,), "max_depth": (6,), **_EXACT, **_SAMPLED},
)
_XGBOOST_B: Grids = (
    {"n_estimators": (50,), "learning_rate": (0.3,), "max_depth": (3,), **_EXACT},
    {"n_estimators": (50,), "learning_rate": (0.3,), "max_depth": (3,), **_FINE},
    {"n_estimators": (100,), "learning_rate": (0.1,), "max_depth": (4, 6), **_FINE, **_SAMPLED},
)

BASELINES: Final[tuple[Baseline, ...]] = (
    Baseline("logistic_book", "logistic", "book", {"A": _LOGISTIC, "B": _LOGISTIC}),
    Baseline(
        "random_forest_book",
        "random_forest",
        "book",
        {
            "A": ({"n_estimators": (100,), "max_depth": (10, 20), "min_samples_leaf": (5,)},),
            # Each tree learns from a tenth of the rows: on all of them one forest takes minutes.
            "B": ({"n_estimators": (50,), "max_depth": (12, 20), "max_samples": (0.1,)},),
        },
    ),
    Baseline("xgboost_book", "xgboost", "book", {"A": _XGBOOST_A, "B": _XGBOOST_B}),
    Baseline("lightgbm_book", "lightgbm", "book", {"A": _LIGHTGBM, "B": _LIGHTGBM}),
    Baseline("xgboost", "xgboost", "ours", {"A": _XGBOOST_A, "B": _XGBOOST_B}),
    Baseline("lightgbm", "lightgbm", "ours", {"A": _LIGHTGBM, "B": _LIGHTGBM}),
)
