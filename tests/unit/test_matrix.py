"""The page of `make matrix`: what a run counts as, and that nothing left out looks like a pass."""

from __future__ import annotations

from tests.matrix import Row, page, result_of

CASE = '<testcase name="{name}">{inside}</testcase>'
SKIP = '<skipped message="no such server"/>'


def report(*inside: str, failures: int = 0, errors: int = 0, skipped: int = 0) -> str:
    cases = "".join(CASE.format(name=f"test_{i}", inside=what) for i, what in enumerate(inside))
    counts = f'tests="{len(inside)}" failures="{failures}" errors="{errors}" skipped="{skipped}"'
    return f"<testsuites><testsuite {counts}>{cases}</testsuite></testsuites>"


def test_a_run_without_tests_is_no_pass() -> None:
    assert result_of(report(), 5) == ("0 passed, and pytest ended with 5", False)


def test_tests_that_pass_are_counted() -> None:
    assert result_of(report("", ""), 0) == ("2 passed", True)


def test_what_failed_is_named() -> None:
    said = result_of(report("", "<failure/>", "<error/>", failures=1, errors=1), 1)
    assert said == ("1 passed, 2 failed (test_1, test_2)", False)


def test_what_was_skipped_says_why() -> None:
    said = result_of(report("", SKIP, SKIP, skipped=2), 0)
    assert said == ("1 passed, 2 skipped (no such server)", True)


def test_a_run_that_ended_badly_is_no_pass() -> None:
    assert result_of(report(""), 3) == ("1 passed, and pytest ended with 3", False)


def test_the_page_has_a_row_for_each_run_and_for_what_did_not_run() -> None:
    rows = [
        Row(("3.11", "4.3.1", "Redis 7"), "3 passed", 12.4),
        Row(("3.12", "4.3.1", "Redis 7"), "not run: no such Python"),
    ]
    table = page(rows)
    assert "| 3.11 | 4.3.1 | Redis 7 | 3 passed | 12 s |\n" in table
    assert "| 3.12 | 4.3.1 | Redis 7 | not run: no such Python |  |\n" in table
