"""A fault that nobody saw must not pass, and the page must not keep what is no longer played."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.table import COLUMNS, Played, rows, there
from tests.conftest import ROOT

pytest_plugins = ["pytester"]

CONFTEST = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from tests.chaos.table import pytest_collection_modifyitems, pytest_runtest_makereport, witness

def pytest_configure(config):
    config.addinivalue_line("markers", "fault(name, must): a fault")
    config.addinivalue_line("markers", "long: long")
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder whose tests are witnessed as the chaos tests are."""
    pytester.makeconftest(CONFTEST)
    return pytester


@pytest.mark.parametrize(
    ("tells", "outcomes", "why"),
    [
        ("hit found", {"passed": 1}, ""),
        ("found", {"failed": 1}, "nothing says that the fault hit"),
        ("hit", {"failed": 1}, "nothing says what was found at the end"),
    ],
)
def test_a_fault_that_was_not_seen_to_hit_fails(
    suite: pytest.Pytester, tells: str, outcomes: dict[str, int], why: str
) -> None:
    suite.makepyfile(f"""
        import pytest

        @pytest.mark.fault("x", must="y")
        def test_x(witness):
            for what in {tells.split()}:
                getattr(witness, what)("seen")
    """)
    result = suite.runpytest_inprocess()
    result.assert_outcomes(**outcomes)
    assert why in result.stdout.str()


def test_a_fault_without_a_witness_is_refused_before_anything_is_played(
    suite: pytest.Pytester,
) -> None:
    suite.makepyfile("""
        import pytest

        @pytest.mark.fault("x", must="y")
        def test_x():
            pass
    """)
    result = suite.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "test_x is marked `fault`, and has no `witness`" in result.stderr.str()


def test_two_faults_of_one_name_are_refused_for_the_page_would_show_one(
    suite: pytest.Pytester,
) -> None:
    suite.makepyfile("""
        import pytest

        @pytest.mark.fault("x", must="y")
        @pytest.mark.parametrize("turn", [1, 2])
        def test_x(witness, turn):
            pass
    """)
    result = suite.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "more than one test plays 'x'" in result.stderr.str()


def test_the_page_names_every_fault_that_there_is_with_its_promise_and_no_other(
    request: pytest.FixtureRequest,
) -> None:
    faults = there(request.config)
    if faults is None or request.config.getoption("chaos_table") is not None:
        pytest.skip("only some were collected, or the page is being written")
    page = ROOT / "docs" / "chaos.md"
    listed = [row for row in page.read_text().splitlines(keepends=True) if row.startswith("| ")]
    assert rows(page, [], faults) == listed[1:], "make chaos writes it anew"


def test_the_page_says_of_each_fault_that_it_passed(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("chaos_table") is not None:
        pytest.skip("the page is being written")
    listed = rows(ROOT / "docs" / "chaos.md", [], None)
    assert listed
    cells = [row.strip("| \n").split(" | ") for row in listed]
    assert [row for row in cells if row[-2] != "passed"] == []
    assert [row for row in cells if not all(row)] == [], "what was found at the end, say"
    assert [row for row in cells if row[-1].endswith("+")] == [], "no commit has what was played"


def test_the_page_has_a_row_for_each_fault_there_is_and_none_for_what_was(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    before = [Played(name, "m", short=True, outcome="passed") for name in ("gone", "kept", "again")]
    page.write_text(COLUMNS + "".join(one.row() for one in before))
    faults = [Played(name, "m", short=False) for name in ("again", "new", "kept")]
    again = Played("again", "m", short=False, hits=["h"], found=["f"], outcome="failed")

    kept = Played("kept", "m", short=True, outcome="passed").row()
    assert rows(page, [again], faults) == [again.row(), faults[1].row(), kept]
    assert "not played yet" in faults[1].row()

    # What it led to was held against another promise.
    faults[2].must = "more"
    assert rows(page, [again], faults)[2] == faults[2].row()

    # One file of the folder says nothing of the others.
    assert rows(page, [again], None) == [before[0].row(), kept, again.row()]
    assert rows(tmp_path / "nothing", [again], None) == [again.row()]
