from datetime import datetime
from pathlib import Path

import pytest

from models.errors import DataError
from models.fraud.handbook import read_handbook

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

COLUMNS = {
    "TRANSACTION_ID": [1, 0],
    "TX_DATETIME": [datetime(2018, 4, 1, 0, 2), datetime(2018, 4, 1, 0, 0, 31)],  # noqa: DTZ001
    "CUSTOMER_ID": ["7", "8"],
    "TERMINAL_ID": ["70", "80"],
    "TX_AMOUNT": [57.16, 81.51],
    "TX_FRAUD": [1, 0],
    "TX_FRAUD_SCENARIO": [2, 0],
}


def test_rows_come_in_order_of_time_as_utc(tmp_path: Path) -> None:
    pq.write_table(pa.table(COLUMNS), tmp_path / "rows.parquet")
    rows = read_handbook(tmp_path / "rows.parquet")
    assert rows.tx_id.tolist() == [0, 1]
    assert rows.event_time.tolist() == [1_522_540_831_000, 1_522_540_920_000]
    assert rows.card_id.tolist() == [8, 7]
    assert rows.is_fraud.tolist() == [False, True]
    assert rows.scenario.tolist() == [0, 2]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    few = {name: values for name, values in COLUMNS.items() if name != "TX_AMOUNT"}
    pq.write_table(pa.table(few), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="lacks the columns TX_AMOUNT"):
        read_handbook(tmp_path / "rows.parquet")


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_text("hello")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_handbook(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_handbook(tmp_path / "none.parquet")
