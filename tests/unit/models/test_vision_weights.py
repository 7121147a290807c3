from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
import torch

from models.errors import ArtifactError
from models.vision.network import NANO, PRESETS, Yolox
from models.vision.weights import FORMATS, TABLE, WeightsFile, find
from models.vision.weights_cache import WeightsCache, default_folder
from tests.fakes.onnx_files import write_onnx

UNKNOWN = WeightsFile("new.onnx", "onnx", ())


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def cache(tmp_path: Path) -> WeightsCache:
    return WeightsCache(tmp_path / "cache" / "models")


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    return write_onnx(tmp_path / "candidate.onnx")


def test_the_table_has_every_preset_from_one_release_and_checksums_that_look_like_some() -> None:
    assert list(TABLE) == [f"yolox-{kind}" for kind in PRESETS]
    for name, weights in TABLE.items():
        assert weights.name == name
        assert weights.size == PRESETS[name.removeprefix("yolox-")].size
        assert weights.licence == "Apache-2.0"
        assert set(weights.files) == set(FORMATS)
        for form, file in weights.files.items():
            assert file.format == form
            assert file.url.startswith("https://github.com/Megvii-BaseDetection/YOLOX/releases/")
            assert file.url.endswith(f"/{file.name}")
    known = [one for w in TABLE.values() for file in w.files.values() for one in file.known]
    assert all(len(one) == 64 and set(one) <= set("0123456789abcdef") for one in known)
    assert len(set(known)) == len(known)


@pytest.mark.parametrize("name", ["yolox-nano", "yolox_nano", "YOLOX-Nano"])
def test_a_name_is_found_however_it_is_spelled(name: str) -> None:
    found = find(name)
    assert found is not None
    assert found.name == "yolox-nano"
    assert find("yolov5") is None


def test_the_shared_weights_are_those_that_the_table_knows(
    yolox_nano: Path, cache: WeightsCache
) -> None:
    receipt = cache.admit(TABLE["yolox-nano"].files["onnx"], yolox_nano)
    assert receipt.trust == "known"
    assert cache.locate(TABLE["yolox-nano"], torch=False) == receipt.path


def test_a_file_of_which_nothing_is_known_is_trusted_once_and_then_recorded(
    cache: WeightsCache, candidate: Path
) -> None:
    first = cache.admit(UNKNOWN, candidate)
    assert (first.trust, first.sha256) == ("first use", sha256(candidate))
    assert first.path.read_bytes() == candidate.read_bytes()
    assert cache.admit(UNKNOWN, candidate).trust == "recorded"
    record = first.path.with_name("new.onnx.sha256")
    checked = subprocess.run(
        ["sha256sum", "-c", record.name],
        cwd=cache.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert checked.stdout == "new.onnx: OK\n"


def test_another_file_later_is_refused_unless_its_checksum_is_given(
    cache: WeightsCache, candidate: Path, tmp_path: Path
) -> None:
    cache.admit(UNKNOWN, candidate)
    other = write_onnx(tmp_path / "other.onnx", names=("a", "b"))
    with pytest.raises(ArtifactError, match="is not the one recorded when it was first pulled"):
        cache.admit(UNKNOWN, other)
    assert cache.path(UNKNOWN).read_bytes() == candidate.read_bytes()
    assert cache.admit(UNKNOWN, other, given=sha256(other).upper()).trust == "given"
    assert cache.path(UNKNOWN).read_bytes() == other.read_bytes()
    assert cache.state(UNKNOWN) == "good"


def test_a_file_of_which_another_checksum_is_known_or_given_is_refused(
    cache: WeightsCache, candidate: Path
) -> None:
    known = WeightsFile("new.onnx", "onnx", ("0" * 64,))
    with pytest.raises(ArtifactError, match="is none that is known of this file") as refused:
        cache.admit(known, candidate)
    assert sha256(candidate) in str(refused.value)
    with pytest.raises(ArtifactError, match="is not the one that you gave"):
        cache.admit(UNKNOWN, candidate, given="1" * 64)
    assert not cache.folder.exists()


def test_what_is_no_network_is_not_let_in_whoever_vouches_for_it(
    cache: WeightsCache, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    page.write_text("<html>rate limit</html>")
    with pytest.raises(ArtifactError, match="no ONNX file that can be run"):
        cache.admit(UNKNOWN, page, given=sha256(page))
    with pytest.raises(ArtifactError, match="no checkpoint that can be read safely"):
        cache.admit(WeightsFile("new.pth", "pth", ()), page)
    assert not cache.folder.exists()


def test_a_missing_candidate_is_named(cache: WeightsCache, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"none\.onnx cannot be read: No such file"):
        cache.admit(UNKNOWN, tmp_path / "none.onnx")


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, candidate: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match=r"cannot write to .*file"):
        WeightsCache(tmp_path / "file" / "models").admit(UNKNOWN, candidate)


def test_a_file_that_has_changed_is_not_used(cache: WeightsCache, candidate: Path) -> None:
    assert cache.state(UNKNOWN) == "missing"
    path = cache.admit(UNKNOWN, candidate).path
    assert cache.state(UNKNOWN) == "good"
    path.write_bytes(path.read_bytes() + b"\0")
    assert cache.state(UNKNOWN) == "changed"


def test_a_name_means_the_file_that_suits_the_backend(cache: WeightsCache, tmp_path: Path) -> None:
    weights = TABLE["yolox-nano"]
    for backend, form in ((True, "pth"), (False, "onnx")):
        with pytest.raises(ArtifactError, match=f"models pull yolox-nano --format {form}$"):
            cache.resolve("yolox-nano", torch=backend)
    onnx = write_onnx(tmp_path / "a.onnx")
    cache.admit(weights.files["onnx"], onnx, given=sha256(onnx))
    assert cache.resolve("yolox-nano", torch=True).suffix == ".onnx"
    pth = tmp_path / "a.pth"
    torch.save({"model": Yolox(NANO).state_dict()}, pth)
    cache.admit(weights.files["pth"], pth, given=sha256(pth))
    assert cache.resolve("yolox_nano", torch=True).suffix == ".pth"
    assert cache.resolve("yolox-nano", torch=False).suffix == ".onnx"
    cache.path(weights.files["pth"]).write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"has changed .* yolox-nano --format pth"):
        cache.resolve("yolox-nano", torch=True)


def test_a_file_means_itself(cache: WeightsCache, candidate: Path) -> None:
    assert cache.resolve(str(candidate)) == candidate
    with pytest.raises(ArtifactError, match="is neither a file nor a name"):
        cache.resolve("no-such-weights")


def test_the_cache_is_where_the_desktop_keeps_caches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "tocsin" / "models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "tocsin" / "models"
