"""What stands in the documents to be run: fenced blocks, and the commands within them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]

_FENCE = re.compile(r'^```(\w*)(?: title="([\w.]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block; `title` names the file that it is, if it is one."""

    page: str
    language: str
    title: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command line, and the lines that it is said to print; ``…`` stands for anything."""

    page: str
    line: str
    prints: tuple[str, ...]

    @property
    def program(self) -> str:
        """What is run, behind any variables that are set for it."""
        return next(word for word in self.line.split() if not re.match(r"\w+=", word))

    @property
    def words(self) -> str:
        """The line without its comment."""
        return re.split(r"\s+#", self.line, maxsplit=1)[0]


def blocks(path: Path) -> list[Block]:
    """Every block of a page, in order.

    Raises:
        ValueError: a fence is not understood, so that a block would go unseen.
    """
    text = path.read_text(encoding="utf-8")
    page = str(path.relative_to(ROOT))
    found = [Block(page, *parts) for parts in _FENCE.findall(text)]
    if 2 * len(found) != len(re.findall(r"^\s*(?:```|~~~)", text, re.MULTILINE)):
        raise ValueError(f"a fence in {page} is not understood")
    return found


def commands(block: Block) -> Iterator[Command]:
    """Every command of a console block, joined where it is continued, with what it prints."""
    line, prints = "", list[str]()
    is_continued = False
    for text in block.text.splitlines():
        if is_continued:
            line = f"{line.removesuffix(chr(92)).rstrip()} {text.strip()}"
        elif text.startswith("$ "):
            if line:
                yield Command(block.page, line, tuple(prints))
            line, prints = text.removeprefix("$ "), []
        else:
            prints.append(text)
        is_continued = text.endswith("\\")
    yield Command(block.page, line, tuple(prints))


def matches(said: str, line: str) -> bool:
    """Whether a line is what a document says that it is."""
    pattern = ".*".join(map(re.escape, said.rstrip().split("…")))
    return re.fullmatch(pattern, line.rstrip()) is not None


BLOCKS = [block for path in PAGES for block in blocks(path)]
COMMANDS = [one for block in BLOCKS if block.language == "console" for one in commands(block)]

NOT_RUN_HERE = ("docker", "kubectl", "make")
"""Programs that the tests cannot run; what their commands name is held against the files."""

ELSEWHERE = {
    "tocsin demo --duration 30 --report demo.json": ("functional/test_demo.py", '"--duration"'),
    "tocsin worker all": ("functional/test_worker_cli.py", '"worker", "all"'),
    "tocsin produce transactions --rate 500": ("integration/test_produce.py", "transactions"),
    "tocsin produce video rtsp://camera/1": ("functional/test_network_cameras.py", "rtsp://"),
    "tocsin dashboard": ("dashboard.py", '*TOCSIN, "dashboard"'),
    "tocsin alerts tail": ("integration/test_produce.py", '"alerts", "tail"'),
    "tocsin state check": ("integration/test_state_check.py", '"state", "check"'),
    "tocsin state adopt tocsin-fraud": ("chaos/test_upgrade.py", '"state", "adopt"'),
    "tocsin state forget CARD --yes": ("integration/test_state_forget.py", '"forget", card'),
    "tocsin train fraud --from-topic --out fraud-v3": (
        "integration/test_train_from_topic.py",
        '"train", "fraud", "--from-topic", "--out"',
    ),
    "tocsin train detector --out yard --images pictures --annotations boxes.json": (
        "unit/test_cli_detector.py",
        '"train", "detector"',
    ),
    "tocsin evaluate detector --weights yolox-nano --images pictures --annotations boxes.json": (
        "unit/test_cli_detector.py",
        '"evaluate", "detector"',
    ),
    "tocsin evaluate fraud --data payments.parquet --report report.json": (
        "unit/test_cli_report.py",
        '"--report"',
    ),
    "tocsin evaluate fraud --data payments.parquet --offline --report served.json": (
        "unit/test_cli_report.py",
        '"--offline", "--report"',
    ),
    "tocsin report fraud report.json served.json --out report": (
        "unit/test_cli_report.py",
        '"report", "fraud"',
    ),
    "ls /run/secrets/tocsin": ("unit/test_settings.py", "SECRETS_DIR"),
    "TOCSIN_SECRETS_DIR=/run/secrets/tocsin tocsin worker fraud": (
        "unit/test_settings.py",
        "SECRETS_DIR",
    ),
    "tocsin --set models.trusted_keys='[\"trusted.pub\"]' --set fraud.model=fraud-v3.json "
    "worker fraud": (
        "unit/test_trusted_weights.py",
        "trusted_keys",
    ),
    "for part in torch cpu; do ops/docker/pick $part < requirements-demo.lock; done "
    "| cyclonedx-py requirements - > sbom.json": ("unit/test_image.py", "cyclonedx-py"),
}
"""Commands that need much, and so a test of their own: its file, and by what words it runs them."""

RUN_BY = {"docs/runbook.md": "integration/test_compose.py"}
"""Pages all of whose commands another test runs, one by one."""

NEVER_RUN = {
    "docs/data.md": "reads what its authors alone may pickle, with pandas, which is not ours"
}
"""Pages whose Python is compiled and no more, and why."""
