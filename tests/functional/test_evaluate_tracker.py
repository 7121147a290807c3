"""`tocsin evaluate tracker` on files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.cli.main import app


def sequence(folder: Path) -> None:
    """Two people walk past each other, 30 frames, seen in all of them."""
    truth, found = [], []
    for frame in range(1, 31):
        for person, (x, y) in enumerate([(20 * frame, 100), (640 - 20 * frame, 260)], start=1):
            truth.append(f"{frame},{person},{x},{y},40,100,1,-1,-1,-1")
            found.append(f"{frame},-1,{x},{y},40,100,0.95,-1,-1,-1")
    for name, lines in (("gt/gt.txt", truth), ("det/det.txt", found)):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("\n".join(lines) + "\n")


def test_the_report_has_each_sequence_and_all_together(tmp_path: Path) -> None:
    sequence(tmp_path / "mot" / "one")
    sequence(tmp_path / "mot" / "two")
    path = tmp_path / "report.json"
    done = CliRunner().invoke(
        app, ["evaluate", "tracker", "--mot", str(tmp_path / "mot"), "--report", str(path)]
    )
    assert done.exit_code == 0, done.output
    report = json.loads(path.read_text())
    assert set(report["sequences"]) == {"one", "two"}
    # Two people are unknown for the three frames until they are believed.
    assert report["sequences"]["one"]["misses"] == 6
    assert report["misses"] == 12
    assert report["switches"] == report["false_positives"] == 0
    assert report["mota"] == pytest.approx(54 / 60)
    assert "overall" in done.output


@pytest.mark.slow
def test_the_public_sequences_reach_the_figures_of_the_readme(mot15: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    done = CliRunner().invoke(
        app, ["evaluate", "tracker", "--mot", str(mot15), "--report", str(path)]
    )
    assert done.exit_code == 0, done.output
    report = json.loads(path.read_text())
    assert len(report["sequences"]) == 6
    assert report["mota"] > 0.35
    assert report["idf1"] > 0.53
    assert report["hota"] > 0.39
