"""What `tocsin train fraud` refuses before it spends an hour."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.cli.main import app


def test_a_champion_that_is_not_there_is_missed_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "gone.json"
    monkeypatch.setenv("TOCSIN_FRAUD__MODEL", str(missing))
    monkeypatch.setenv("TOCSIN_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")  # nobody listens there
    command = ["train", "fraud", "--from-topic", "--out", str(tmp_path / "challenger")]
    refused = CliRunner().invoke(app, command, env={"COLUMNS": "300"})
    assert refused.exit_code == 1
    assert str(missing) in refused.stderr
    assert refused.stderr.rstrip("\n").count("\n") == 0
    assert not list(tmp_path.iterdir())
