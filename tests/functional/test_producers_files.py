"""Reading recorded transactions from Parquet and CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streams.errors import SettingsError
from streams.producers.files import HANDBOOK, column_map, read_history, read_transactions

HEADER = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD"
FIRST = 1_522_540_831_000  # 2018-04-01 00:00:31 UTC


def write(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def parquet(path: Path, **columns: Any) -> Path:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table(columns), path)
    return path


def test_a_file_with_a_header_only_is_an_empty_history(tmp_path: Path) -> None:
    found = read_transactions(write(tmp_path / "t.csv"), HANDBOOK, verdicts=True)

    assert len(found) == 0


def test_csv_is_sorted_by_event_time_and_equal_times_keep_their_order(tmp_path: Path) -> None:
    file = write(
        tmp_path / "t.csv",
        "2,2018-04-01 00:00:32,b,y,2.5,1",
        "0,2018-04-01 00:00:31,a,x,1.5,0",
        "1,2018-04-01T00:00:31Z,a,x,3,0",
    )

    found = read_transactions(file, HANDBOOK, verdicts=True)

    assert found.tx_id.tolist() == ["0", "1", "2"]
    assert found.event_time.tolist() == [FIRST, FIRST, FIRST + 1000]
    assert found.amount.tolist() == [1.5, 3.0, 2.5]
    assert found.is_fraud.tolist() == [False, False, True]
    assert found.card_id.tolist() == ["a", "a", "b"]


def test_parquet_in_the_handbooks_types_reads_as_numbers(tmp_path: Path) -> None:
    file = parquet(
        tmp_path / "t.parquet",
        TRANSACTION_ID=np.array([0, 1], np.int32),
        TX_DATETIME=np.array(["2018-04-01T00:00:31", "2018-04-01T00:02:10"], "datetime64[ns]"),
        CUSTOMER_ID=np.array([596, 4961], np.int32),
        TERMINAL_ID=np.array([3156, 3412], np.int32),
        TX_AMOUNT=np.array([57.16, 81.51]),
        TX_FRAUD=np.array([0, 1], np.int8),
        TX_FRAUD_SCENARIO=np.array([0, 2], np.int8),
    )

    found = read_transactions(file, HANDBOOK, verdicts=True)

    assert found.card_id.dtype == np.int64
    assert found.event_time.tolist() == [FIRST, FIRST + 99_000]
    assert found.scenario.tolist() == [0, 2]


def test_other_columns_are_mapped_and_other_times_understood(tmp_path: Path) -> None:
    file = parquet(
        tmp_path / "t.parquet",
        id=["t1"],
        TX_DATETIME=[FIRST],
        CUSTOMER_ID=["c1"],
        TERMINAL_ID=["p1"],
        eur=[1],
    )

    found = read_transactions(file, column_map("tx_id=id, amount=eur"))

    assert found.tx_id.tolist() == ["t1"]
    assert found.event_time.tolist() == [FIRST]
    assert found.is_fraud.tolist() == [False]


def test_verdicts_that_are_needed_must_be_there(tmp_path: Path) -> None:
    file = write(
        tmp_path / "t.csv", "0,2018-04-01,a,x,1.5", header=HEADER.removesuffix(",TX_FRAUD")
    )

    assert len(read_transactions(file, HANDBOOK)) == 1
    with pytest.raises(SettingsError, match=r"no column 'TX_FRAUD' \(is_fraud\): see --map"):
        read_transactions(file, HANDBOOK, verdicts=True)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("0,yesterday,a,x,1.5,0", "TX_DATETIME"),
        ("0,,a,x,1.5,0", "TX_DATETIME"),
        ("0,2018-04-01,,x,1.5,0", "CUSTOMER_ID"),
        ("0,2018-04-01,a,x,much,0", "TX_AMOUNT"),
        ("0,2018-04-01,a,x,nan,0", "TX_AMOUNT"),
        ("0,2018-04-01,a,x,-1,0", "TX_AMOUNT"),
        ("0,2018-04-01,a,x,1.5,maybe", "TX_FRAUD"),
        ("0,2018-04-01,a", "CSV"),
    ],
)
def test_a_value_that_does_not_fit_names_its_column(tmp_path: Path, line: str, names: str) -> None:
    file = write(tmp_path / "t.csv", "7,2018-04-01,b,y,1,0", line)

    with pytest.raises(SettingsError, match=names):
        read_transactions(file, HANDBOOK)


def test_a_file_that_is_missing_or_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("no")

    for name in ("nowhere.csv", "t.parquet"):
        with pytest.raises(SettingsError, match=name):
            read_transactions(tmp_path / name, HANDBOOK)


@pytest.mark.parametrize("text", ["tx_id", "tx_id=", "colour=RED", "=X"])
def test_a_map_that_names_no_field_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--map"):
        column_map(text)


def test_files_that_follow_each_other_are_one_history_whatever_their_ids_are(
    tmp_path: Path,
) -> None:
    numbers = parquet(
        tmp_path / "april.parquet",
        TRANSACTION_ID=np.array([0]),
        TX_DATETIME=np.array(["2018-04-01T00:00:31"], "datetime64[ns]"),
        CUSTOMER_ID=np.array([596]),
        TERMINAL_ID=np.array([3156]),
        TX_AMOUNT=np.array([57.16]),
        TX_FRAUD=np.array([0]),
    )
    text = write(tmp_path / "may.csv", "1,2018-05-01 00:00:00,596,3157,1.0,1")
    none = write(tmp_path / "june.csv")

    found = read_history([numbers, text, none], HANDBOOK, verdicts=True)

    assert found.tx_id.tolist() == ["0", "1"]
    assert found.card_codes()[0].tolist() == [0, 0]
    assert found.is_fraud.tolist() == [False, True]
    assert read_history([numbers], HANDBOOK).card_id.tolist() == [596]


def test_files_out_of_order_are_refused(tmp_path: Path) -> None:
    early = write(tmp_path / "early.csv", "0,2018-04-01,a,x,1,0", "1,2018-04-03,a,x,1,0")
    late = write(tmp_path / "late.csv", "2,2018-04-02,a,x,1,0")

    with pytest.raises(SettingsError, match=r"late\.csv begins before the file ahead of it ends"):
        read_history([early, late], HANDBOOK)
