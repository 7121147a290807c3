"""The site of documents: every page is in it, every link leads on, nothing comes from afar."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.conftest import ROOT

DOCS = ROOT / "docs"
ZENSICAL = Path(sys.executable).parent / "zensical"


class Page(HTMLParser):
    """What a page refers to (tag, address), and what in it can be referred to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.refers: list[tuple[str, str]] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"href", "src"}:
                self.refers.append((tag, value or ""))
            elif name == "id":
                self.anchors.add(value or "")


def built(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build a copy of the site in `folder`, as `make docs` builds it."""
    docs = folder / "docs"
    if not docs.exists():
        shutil.copytree(DOCS, docs, ignore=shutil.ignore_patterns("site", ".cache"))
    command = [ZENSICAL, "build", "--strict", "--config-file", docs / "zensical.toml"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What a build printed, without its colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    folder = tmp_path_factory.mktemp("site")
    done = built(folder)
    assert done.returncode == 0, said(done)
    found = (folder / "docs" / "site").rglob("*.html")
    return {path: Page(path) for path in found if path.name != "404.html"}


def listed(nav: Any) -> Iterator[str]:
    """Every page of a table of contents."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from listed(part)


def test_every_page_is_in_the_table_of_contents_once_and_every_entry_is_there() -> None:
    nav = tomllib.loads((DOCS / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    assert sorted(listed(nav)) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def test_every_link_and_picture_leads_to_something_that_is_there(site: dict[Path, Page]) -> None:
    dead = []
    for path, page in site.items():
        for _, address in page.refers:
            url = urlsplit(address)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            there = target.is_file()
            if there and url.fragment and target.suffix == ".html":
                there = unquote(url.fragment) in site[target].anchors
            if not there:
                dead.append(f"{path.name}: {address}")
    assert dead == []
    assert len(site) > 20


def test_a_page_fetches_nothing_from_elsewhere(site: dict[Path, Page]) -> None:
    for path, page in site.items():
        fetched = [address for tag, address in page.refers if tag != "a"]
        assert len(fetched) > 3
        assert [address for address in fetched if urlsplit(address).netloc] == [], path
        assert "@import" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("link", ["[x](nowhere.md)", "[x](delivery.md#nowhere)"])
def test_the_build_fails_at_a_link_that_leads_nowhere(tmp_path: Path, link: str) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("zensical.toml", "delivery.md"):
        shutil.copy(DOCS / name, docs / name)
    (docs / "index.md").write_text(f"# Tocsin\n\n{link}\n")
    done = built(tmp_path)
    assert done.returncode != 0
    assert re.search("(page|anchor) does not exist", said(done))
