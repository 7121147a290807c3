"""Which faults were played, what each had to lead to, and how this run saw that it hit.

A test marked ``fault(name, must=...)`` says what befell and what must happen. It tells the fixture
`witness` how it saw that the fault hit: a test that passes without having told anything fails. With
``--chaos-table FILE`` a run writes them all down.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HEADER = """\
<!-- Written by `make chaos`; edits are lost. -->
# Faults

What befell workers on a real Apache Kafka and a real Redis when each fault was last played by
`make chaos`, what must happen, how the run saw that the fault hit, and what it found at the end. A
fault that did not hit fails its test. The ones marked • are also played by `make test`.

At the end the whole is compared with an independent computation, one event at a time: every
record's fate, every row in Redis, every alert and dead letter, commits and markers at the log's
end. Of cameras each alert is, from its start to its end, with what passed before them. *Repeated*
are alerts that came again under the `event_id` that consumers drop.

"""

ROW_BARS = 6


@dataclass
class Played:
    """One test of a fault."""

    name: str
    must: str
    short: bool
    hits: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    outcome: str = "not finished"

    def row(self) -> str:
        cells = (
            f"{self.name}{' •' if self.short else ''}",
            self.must,
            "; ".join(self.hits),
            "; ".join(self.found),
            self.outcome,
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


PLAYED = pytest.StashKey[list[Played]]()
MINE = pytest.StashKey[Played]()


@pytest.fixture
def witness(request: pytest.FixtureRequest) -> Iterator[Witness]:
    """Where a test of a fault says what it saw."""
    marker = request.node.get_closest_marker("fault")
    if marker is None:
        yield Witness(None)
        return
    played = Played(
        name=marker.args[0],
        must=marker.kwargs["must"],
        short=request.node.get_closest_marker("long") is None,
    )
    request.config.stash.setdefault(PLAYED, []).append(played)
    request.node.stash[MINE] = played
    yield Witness(played)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[None]:  # what it yields and returns is a report
    report = yield
    played = item.stash.get(MINE, None)
    if played is not None and call.when == "call":
        if report.passed and not played.hits:
            report.outcome, report.longrepr = "failed", "nothing says that the fault hit"
        played.outcome = report.outcome
    return report


def write(config: pytest.Config, path: Path) -> None:
    """Write what was played as a page; of what was not, the rows that are there stay."""
    rows = {row.split("|")[1]: row for row in _rows(path)}
    played = config.stash.get(PLAYED, [])
    rows |= {row.split("|")[1]: row for row in (one.row() for one in played)}
    where = f"Python {platform.python_version()}, Linux {platform.release()}"
    seed = config.getoption("chaos_seed")
    path.write_text(
        HEADER
        + f"{len(rows)} faults. The last run played {len(played)}: seed {seed}, {where}.\n\n"
        + "| fault | must | it hit: | at the end | |\n|---|---|---|---|---|\n"
        + "".join(rows.values())
    )


def _rows(page: Path) -> list[str]:
    if not page.exists():
        return []
    lines = page.read_text().splitlines(keepends=True)
    return [line for line in lines if line.startswith("| ") and line.count("|") == ROW_BARS][1:]
