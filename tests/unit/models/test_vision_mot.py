from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import DataError
from models.vision.mot import read_rows, read_sequences, read_truth

TRUTH = "1,1,10,20,30,60,1,-1,-1,-1\n2,1,12,20,30,60,1,-1,-1,-1\n2,2,50,20,30,60,0,-1,-1,-1\n"
FOUND = "2,-1,12,20,30,60,0.9,-1,-1,-1\n1,-1,10,20,30,60,93.7,-1,-1,-1\n"


def sequence(folder: Path, truth: str = TRUTH, found: str = FOUND, info: str = "") -> Path:
    for name, text in (("gt/gt.txt", truth), ("det/det.txt", found), ("seqinfo.ini", info)):
        if text or name != "seqinfo.ini":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    return folder


def test_an_empty_file_has_no_boxes(tmp_path: Path) -> None:
    path = tmp_path / "det.txt"
    path.write_text("")
    rows = read_rows(path)
    assert len(rows) == 0
    assert len(rows.detections(1)) == 0


def test_sequences_are_read_in_order_of_their_names(tmp_path: Path) -> None:
    sequence(tmp_path / "b", info="[Sequence]\nframeRate=10\nseqLength=7\n")
    sequence(tmp_path / "a")
    (tmp_path / "notes").mkdir()
    first, second = read_sequences(tmp_path)
    assert (first.name, first.frames, first.fps) == ("a", 2, 25.0)
    assert (second.name, second.frames, second.fps) == ("b", 7, 10.0)
    assert [s.name for s in read_sequences(tmp_path / "a")] == ["a"]


def test_boxes_become_corners_ordered_by_frame(tmp_path: Path) -> None:
    (found,) = read_sequences(sequence(tmp_path))
    assert found.detections.frame.tolist() == [1, 2]
    first = found.detections.detections(1)
    assert first.xyxy.tolist() == [[10, 20, 40, 80]]
    assert first.confidence.tolist() == [1.0]
    assert len(found.detections.detections(3)) == 0


def test_boxes_of_the_truth_that_are_marked_0_do_not_count(tmp_path: Path) -> None:
    (found,) = read_sequences(sequence(tmp_path))
    assert found.truth.tracker_id.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no box that counts"),
        ("1,1,1,1,1,1,0\n", "no box that counts"),
        ("1,1,1,1,1,1,1\n1,1,2,2,1,1,1\n", "track 1 more than once in frame 1"),
        ("1,1,1,1\n", "4 columns, expected 7"),
        ("1,1,1,1,1,1,x\n", "not in MOTChallenge format"),
        ("1,1,1,1,1,1,1\n1,2\n", "not in MOTChallenge format"),
        ("1,1,nan,1,1,1,1\n", "box 1: a value is not finite"),
        ("0,1,1,1,1,1,1\n", "a frame below 1"),
        ("1,1,1,1,-5,1,1\n", "a size < 0"),
        ("\x00\xff\n", "not in MOTChallenge format"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "gt.txt"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_truth(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "info", ["no section", "[Sequence]\nframeRate=fast\n", "[Sequence]\nframeRate=0\n"]
)
def test_a_damaged_seqinfo_is_refused(tmp_path: Path, info: str) -> None:
    with pytest.raises(DataError, match=r"seqinfo\.ini"):
        read_sequences(sequence(tmp_path, info=info))


def test_a_folder_without_sequences_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no sequence"):
        read_sequences(tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        read_sequences(tmp_path / "nothing")
    sequence(tmp_path / "a")
    with pytest.raises(DataError, match=r"cannot read .*other\.txt"):
        read_sequences(tmp_path, "det/other.txt")
