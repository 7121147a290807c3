"""Which faults were played, what each had to lead to, and how this run saw that it hit.

A test marked ``fault(name, must=...)`` says what befell and what must happen. It tells the fixture
`witness` how it saw that the fault hit, and what it found at the end: a test that passes without
having told both fails, and one that does not have the fixture is refused when it is collected. With
``--chaos-table FILE`` a run writes them all down.
"""

from __future__ import annotations

import platform
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HEADER = """\
<!-- Written by `make chaos`; edits are lost. -->
# Faults

What befell workers on a real Apache Kafka and a real Redis when each fault was last played by
`make chaos`, what must happen, how the run saw that the fault hit, what it found at the end, and
when that was, of which commit (a `+` behind it: with changes). A fault that did not hit fails its
test. The ones marked • are also played by `make test`.

At the end of payments the whole is compared with an independent computation, one event at a time:
every record's fate, every row in Redis, every alert and dead letter, commits and markers at the
log's end. Of cameras each alert is, from its start to its end, with what passed before them; of
labels each terminal's profile is, with what applying them one by one makes of it. *Repeated* are
alerts that came again under the `event_id` that consumers drop.

"""

COLUMNS = "| fault | must | it hit: | at the end | | played |\n|---|---|---|---|---|---|\n"
ROW_BARS = 7

FOLDER = Path(__file__).parent


@dataclass
class Played:
    """One test of a fault."""

    name: str
    must: str
    short: bool
    hits: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    outcome: str = "not played yet"
    when: str = ""

    def row(self) -> str:
        cells = (
            f"{self.name}{' •' if self.short else ''}",
            self.must,
            "; ".join(self.hits),
            "; ".join(self.found),
            self.outcome,
            self.when,
        )
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |\n"


class Witness:
    """What a test of a fault saw."""

    def __init__(self, played: Played | None) -> None:
        self._played = played

    def hit(self, how: str) -> None:
        """The fault hit: say how that was seen."""
        if self._played is not None:
            self._played.hits.append(how)

    def found(self, what: str) -> None:
        """What there was at the end."""
        if self._played is not None:
            self._played.found.append(what)


DEFINED = pytest.StashKey[list[Played]]()
PLAYED = pytest.StashKey[list[Played]]()
MINE = pytest.StashKey[Played]()


def defined(item: pytest.Item) -> Played | None:
    """The fault that a test plays, if any."""
    marker = item.get_closest_marker("fault")
    if marker is None:
        return None
    short = item.get_closest_marker("long") is None
    return Played(name=marker.args[0], must=marker.kwargs["must"], short=short)


@pytest.hookimpl(tryfirst=True)  # before those are taken away that -k and -m do not name
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note the faults that there are; refuse one that nobody witnesses, and two of one name."""
    config.stash[DEFINED] = []
    for item in items:
        fault = defined(item)
        if fault is None:
            continue
        if "witness" not in getattr(item, "fixturenames", ()):
            raise pytest.UsageError(f"{item.nodeid} is marked `fault`, and has no `witness`")
        config.stash[DEFINED].append(fault)
    names = Counter(fault.name for fault in config.stash[DEFINED])
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise pytest.UsageError(f"more than one test plays {', '.join(map(repr, twice))}")


@pytest.fixture
def witness(request: pytest.FixtureRequest) -> Witness:
    """Where a test of a fault says what it saw."""
    played = defined(request.node)
    if played is not None:
        played.outcome, played.when = "not finished", played_at()
        request.config.stash.setdefault(PLAYED, []).append(played)
        request.node.stash[MINE] = played
    return Witness(played)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[None]:  # what it yields and returns is a report
    report = yield
    played = item.stash.get(MINE, None)
    if played is not None and call.when == "call":
        if report.passed and not played.hits:
            report.outcome, report.longrepr = "failed", "nothing says that the fault hit"
        elif report.passed and not played.found:
            report.outcome, report.longrepr = "failed", "nothing says what was found at the end"
        played.outcome = report.outcome
    return report


def write(config: pytest.Config, page: Path) -> None:
    """Write what was played as a page; of what was not, the rows that are there stay."""
    played = config.stash.get(PLAYED, [])
    lines = rows(page, played, there(config))
    where = f"Python {platform.python_version()}, Linux {platform.release()}"
    seed = config.getoption("chaos_seed")
    page.write_text(
        HEADER
        + f"{len(lines)} faults. The last run played {len(played)}: seed {seed}, {where}.\n\n"
        + COLUMNS
        + "".join(lines)
    )


def there(config: pytest.Config) -> list[Played] | None:
    """All faults that there are; None where not the whole folder was collected."""
    collected = {Path(argument.partition("::")[0]).resolve() for argument in config.args}
    return config.stash.get(DEFINED, None) if collected & {FOLDER, *FOLDER.parents} else None


def rows(page: Path, played: Sequence[Played], faults: Sequence[Played] | None) -> list[str]:
    """The rows of `page` as they must be now.

    Args:
        page: what there was, if anything.
        played: what has been played since.
        faults: all faults that there are, each of which has one row, empty where it has not been
            played since it must lead to what it does; None where that is not known.
    """
    lines = page.read_text().splitlines(keepends=True) if page.exists() else []
    old = [line for line in lines if line.startswith("| ") and line.count("|") == ROW_BARS][1:]
    by_name = {_name(row): row for row in old} | {one.name: one.row() for one in played}
    if faults is None:
        return list(by_name.values())
    kept = ((fault, by_name.get(fault.name, "")) for fault in faults)
    return [row if _is_of(fault, row) else fault.row() for fault, row in kept]


def played_at() -> str:
    """The date, and the commit that is checked out."""
    asked = ("git", "describe", "--always", "--exclude=*", "--dirty=+")
    done = subprocess.run(asked, cwd=FOLDER, capture_output=True, text=True, check=False)
    return f"{time.strftime('%Y-%m-%d')}, {done.stdout.strip() or 'no commit'}"


def _name(row: str) -> str:
    return row.split(" | ", 1)[0].removeprefix("| ").removesuffix(" •")


def _is_of(fault: Played, row: str) -> bool:
    """Whether a row tells of this fault, and of what it must lead to by now."""
    return row.split(" | ")[1:2] == fault.row().split(" | ")[1:2]
