"""Read recorded transactions from a Parquet or a CSV file into columns."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.fraud.transactions import Transactions
from streams.errors import SettingsError

HANDBOOK: Final[Mapping[str, str]] = {
    "tx_id": "TRANSACTION_ID",
    "card_id": "CUSTOMER_ID",
    "terminal_id": "TERMINAL_ID",
    "amount": "TX_AMOUNT",
    "event_time": "TX_DATETIME",
    "is_fraud": "TX_FRAUD",
    "scenario": "TX_FRAUD_SCENARIO",
}
"""Column names of the Fraud Detection Handbook's data set, the default."""

_REQUIRED = ("tx_id", "card_id", "terminal_id", "amount", "event_time")


def column_map(text: str) -> dict[str, str]:
    """Parse ``tx_id=TRANSACTION_ID,...``; what is not named keeps the Handbook's name.

    Raises:
        SettingsError: a part is not ``field=COLUMN`` or names no field.
    """
    columns = dict(HANDBOOK)
    for part in filter(None, text.split(",")):
        field, separator, column = part.strip().partition("=")
        if not separator or not column or field not in HANDBOOK:
            raise SettingsError(
                f"--map {part.strip()!r}: write FIELD=COLUMN with a field of {', '.join(HANDBOOK)}"
            )
        columns[field] = column
    return columns


def read_transactions(
    path: Path, columns: Mapping[str, str], *, verdicts: bool = False
) -> Transactions:
    """Read the whole file, sorted by event time (stable).

    Times are dates with a time (UTC where they name no zone) or integers in ms since the epoch.
    The scenario column may be missing, and without `verdicts` the verdicts may too: nothing is a
    fraud then.

    Raises:
        SettingsError: the file cannot be read, lacks a column, or has a value that does not fit.
    """
    if not path.is_file():
        raise SettingsError(f"{path} is not a file")
    table = (_read_csv if path.suffix.lower() == ".csv" else _read_parquet)(path, columns)
    for field in (*_REQUIRED, "is_fraud") if verdicts else _REQUIRED:
        if field not in table:
            raise SettingsError(f"{path} has no column {columns[field]!r} ({field}): see --map")
    rows = len(table["tx_id"])
    read = Transactions(
        tx_id=_ids(path, columns["tx_id"], table["tx_id"]),
        card_id=_ids(path, columns["card_id"], table["card_id"]),
        terminal_id=_ids(path, columns["terminal_id"], table["terminal_id"]),
        amount=_amounts(path, columns["amount"], table["amount"]),
        event_time=_times(path, columns["event_time"], table["event_time"]),
        is_fraud=_small(path, columns["is_fraud"], table.get("is_fraud", [0] * rows)) != 0,
        scenario=_small(path, columns["scenario"], table.get("scenario", [0] * rows)),
    )
    return read.take(np.argsort(read.event_time, kind="stable"))


def read_history(
    paths: Sequence[Path], columns: Mapping[str, str], *, verdicts: bool = False
) -> Transactions:
    """Read several files, each as `read_transactions` does, that follow each other in time.

    Raises:
        SettingsError: a file cannot be read, or begins before the one ahead of it ends.
    """
    parts = [read_transactions(path, columns, verdicts=verdicts) for path in paths]
    for path, before, after in zip(paths[1:], parts, parts[1:], strict=False):
        if len(before) and len(after) and after.event_time[0] < before.event_time[-1]:
            raise SettingsError(
                f"{path} begins before the file ahead of it ends: give --data in order of time"
            )
    history = Transactions.concat(parts)
    # Numbers in one file and text in another are the same ids.
    mixed = {
        name: getattr(history, name).astype(str).astype(object)
        for name in ("tx_id", "card_id", "terminal_id")
        if len({getattr(part, name).dtype for part in parts}) > 1
    }
    return replace(history, **mixed)


def _read_parquet(path: Path, columns: Mapping[str, str]) -> dict[str, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415  the data extra; CSV does without
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise SettingsError("reading Parquet needs pyarrow: pip install 'tocsin[data]'") from None
    try:
        names = set(parquet.read_schema(path).names)
        table = parquet.read_table(path, columns=[c for c in columns.values() if c in names])
    except (OSError, pa.ArrowException) as error:
        raise SettingsError(f"cannot read {path} as Parquet: {error}") from None
    return {field: table[column].to_numpy() for field, column in columns.items() if column in names}


def _read_csv(path: Path, columns: Mapping[str, str]) -> dict[str, Any]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            body = list(zip(*reader, strict=True)) or [()] * len(header)
    except (OSError, ValueError, csv.Error) as error:
        raise SettingsError(f"cannot read {path} as CSV: {error}") from None
    return {
        field: body[header.index(column)] for field, column in columns.items() if column in header
    }


def _ids(path: Path, column: str, values: Sequence[Any]) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind in "iu" or not len(array):
        return array.astype(np.int64)
    if array.dtype.kind in "fc" or any(value is None or value == "" for value in array.tolist()):
        raise SettingsError(f"{path}: column {column!r} must hold ids, and every row needs one")
    return array.astype(str).astype(object)


def _amounts(path: Path, column: str, values: Sequence[Any]) -> npt.NDArray[np.float64]:
    try:
        amounts = np.asarray(values).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{path}: column {column!r}: {error}") from None
    if not bool(np.all(np.isfinite(amounts) & (amounts >= 0))):
        raise SettingsError(f"{path}: column {column!r} holds an amount below 0 or not finite")
    return amounts


def _small(path: Path, column: str, values: Sequence[Any]) -> npt.NDArray[np.int8]:
    try:
        return np.asarray(values).astype(np.int8)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{path}: column {column!r}: {error}") from None


def _times(path: Path, column: str, values: Sequence[Any]) -> npt.NDArray[np.int64]:
    """Milliseconds since the epoch, whatever the column holds."""
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    if array.dtype.kind == "M" and not bool(np.isnat(array).any()):
        return array.astype("datetime64[ms]").astype(np.int64)
    try:
        return np.fromiter((_time(value) for value in array.tolist()), np.int64, len(array))
    except ValueError as error:
        raise SettingsError(f"{path}: column {column!r}: {error}") from None


def _time(value: object) -> int:
    text = str(value)
    if text.isascii() and text.isdigit():
        return int(text)
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return round(when.timestamp() * 1000)
