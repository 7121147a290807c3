"""Reads the published transactions of the Fraud Detection Handbook from a Parquet file."""

from pathlib import Path

import numpy as np

from models.errors import DataError
from models.fraud.transactions import Transactions

COLUMNS = (
    "TRANSACTION_ID",
    "TX_DATETIME",
    "CUSTOMER_ID",
    "TERMINAL_ID",
    "TX_AMOUNT",
    "TX_FRAUD",
    "TX_FRAUD_SCENARIO",
)


def read_handbook(path: Path) -> Transactions:
    """All transactions in order of time; times without a zone are read as UTC.

    Raises:
        DataError: the file is missing, is no Parquet or lacks a column, or there is no pyarrow.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional dependency
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise DataError("reading Parquet needs pyarrow: pip install 'tocsin[data]'") from error
    try:
        missing = sorted(set(COLUMNS) - set(pq.read_schema(path).names))
        if missing:
            raise DataError(f"{path} lacks the columns {', '.join(missing)}")
        table = pq.read_table(path, columns=list(COLUMNS))
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error

    column = {name: table[name].to_numpy() for name in COLUMNS}
    time = column["TX_DATETIME"].astype("datetime64[ms]").astype(np.int64)
    rows = Transactions(
        tx_id=column["TRANSACTION_ID"].astype(np.int64),
        card_id=column["CUSTOMER_ID"].astype(np.int64),
        terminal_id=column["TERMINAL_ID"].astype(np.int64),
        amount=column["TX_AMOUNT"].astype(np.float64),
        event_time=time,
        is_fraud=column["TX_FRAUD"].astype(np.int64) == 1,
        scenario=column["TX_FRAUD_SCENARIO"].astype(np.int8),
    )
    return rows.take(np.argsort(time, kind="stable"))
