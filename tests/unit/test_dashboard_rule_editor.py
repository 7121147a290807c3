"""Rules are saved whole, checked as a worker checks them, on record, and never over somebody."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from models.vision.rules_file import Enter, read_rules
from streams.dashboard.access.users import Principal
from streams.dashboard.rules.editor import Held, RuleEditor
from streams.dashboard.rules.file import digest
from streams.dashboard.rules.part import CameraRules
from streams.errors import BrokerError, Outdated, SettingsError, TocsinError
from streams.settings import load_settings

ANN = Principal("ann", "analyst")
TEXT = b"# ours\n[zones]\nyard = [[0, 0], [1, 0], [1, 1]]\n"
RULE = Enter(name="in", classes=("person",), zone="yard")


class Records:
    """In the place of the desk: keeps what is put on record, or refuses it."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, ...]] = []
        self.refuses = False

    async def record(self, who: str, action: str, text: str, *, camera: str) -> None:
        if self.refuses:
            raise BrokerError("no broker")
        self.made.append((who, action, camera, text))


class Editing:
    def __init__(self, path: Path) -> None:
        self.path, self.records = path, Records()
        settings = load_settings(vision={"rules": path})
        self.editor = RuleEditor(settings, self.records)  # type: ignore[arg-type]

    def read(self) -> Held:
        return asyncio.run(self.editor.of("gate"))

    def save(self, part: CameraRules, *known: str) -> Held:
        return asyncio.run(self.editor.save("gate", part, known, ANN))


@pytest.fixture
def editing(tmp_path: Path) -> Editing:
    path = tmp_path / "rules.toml"
    path.write_bytes(TEXT)
    path.chmod(0o640)
    return Editing(path)


def test_a_rule_is_saved_with_who_did_it_on_record(editing: Editing) -> None:
    before = editing.read()
    after = editing.save(msgspec.structs.replace(before.part, rules=(RULE,)), before.digest)
    content = editing.path.read_bytes()
    assert content.startswith(TEXT)
    assert read_rules(content, "it").rule == (RULE,)
    assert after == editing.read()
    assert after.digest == digest(content)
    ((who, action, camera, text),) = editing.records.made
    assert (who, action, camera) == ("ann", "rules", "gate")
    assert text == f"added rule in (sha256 {before.digest} to {after.digest})"
    assert editing.path.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in editing.path.parent.iterdir()] == ["rules.toml"]


def test_what_somebody_else_saved_meanwhile_is_not_undone(editing: Editing) -> None:
    before = editing.read()
    theirs = TEXT + b"spare = [[0, 0], [1, 0], [1, 1]]\n"
    editing.path.write_bytes(theirs)
    with pytest.raises(Outdated, match="somebody else changed the rules"):
        editing.save(CameraRules(), before.digest)
    assert editing.path.read_bytes() == theirs
    assert editing.records.made == []


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (Enter(name="in", classes=("person",), zone="lot"), "names the zone 'lot'"),
        (Enter(name="in", classes=("dragon",), zone="yard"), "names the class 'dragon'"),
        (Enter(name="in", classes=("person",), zone="yard", cameras=("door",)), "is for door"),
    ],
)
def test_what_a_worker_would_refuse_is_refused(editing: Editing, rule: Enter, why: str) -> None:
    before = editing.read()
    part = msgspec.structs.replace(before.part, rules=(rule,))
    with pytest.raises(SettingsError, match=f"{why}.*nothing was saved"):
        editing.save(part, before.digest)
    assert editing.path.read_bytes() == TEXT


def test_what_cannot_be_put_on_record_is_not_done(editing: Editing) -> None:
    before = editing.read()
    editing.records.refuses = True
    with pytest.raises(BrokerError):
        editing.save(msgspec.structs.replace(before.part, rules=(RULE,)), before.digest)
    assert editing.path.read_bytes() == TEXT
    assert [path.name for path in editing.path.parent.iterdir()] == ["rules.toml"]


def test_a_disk_that_does_not_take_it_says_so(
    editing: Editing, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = editing.read()
    part = msgspec.structs.replace(before.part, rules=(RULE,))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    # Whoever runs the tests may be root, who may write everywhere.
    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(TocsinError, match=r"cannot be changed here: Read-only file system: keep"):
        editing.save(part, before.digest)
    assert editing.records.made == []
    monkeypatch.undo()
    monkeypatch.setattr(Path, "replace", refuse)  # as over a file that is a mount of its own
    with pytest.raises(TocsinError, match="cannot be changed here"):
        editing.save(part, before.digest)
    monkeypatch.undo()
    said = [text.partition(":")[0].partition(" (")[0] for *_, text in editing.records.made]
    assert said == ["added rule in", "could not be saved"]
    assert editing.path.read_bytes() == TEXT


def test_a_link_is_followed_and_stays_one(editing: Editing, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(editing.path)
    linked = Editing(link)
    before = linked.read()
    linked.save(msgspec.structs.replace(before.part, rules=(RULE,)), before.digest)
    assert link.is_symlink()
    assert read_rules(editing.path.read_bytes(), "it").rule == (RULE,)


def test_without_a_file_or_with_a_broken_one_it_says_what_to_do(editing: Editing) -> None:
    without = RuleEditor(load_settings(), Records())  # type: ignore[arg-type]
    with pytest.raises(TocsinError, match=r"vision\.rules names no file"):
        asyncio.run(without.of("gate"))
    editing.path.write_bytes(b"[zones")
    with pytest.raises(TocsinError, match="mend the file by hand"):
        editing.read()
    editing.path.unlink()
    with pytest.raises(TocsinError, match=r"cannot read the rules.*No such file"):
        editing.read()
