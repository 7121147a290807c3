"""Alarms and dashboards without a Prometheus: promtool's tests, and what the files name."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from streams.metrics import LATENCY_BUCKETS
from tests.conftest import ROOT, absent

PROMETHEUS = ROOT / "ops" / "prometheus"
GRAFANA = ROOT / "ops" / "grafana"
RULES = (PROMETHEUS / "rules.yml").read_text()
ALARMS = [
    rule["alert"]
    for group in yaml.safe_load(RULES)["groups"]
    for rule in group["rules"]
    if "alert" in rule
]


def test_the_rules_pass_their_tests() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        fail = os.environ.get("TOCSIN_TEST_REQUIRE_REAL") == "1"
        absent("promtool is not on PATH: apt-get install prometheus", fail=fail)
    for arguments in (("test", "rules", "rules_test.yml"), ("check", "config", "prometheus.yml")):
        done = subprocess.run(
            [promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_is_tested_where_it_sounds_and_where_it_does_not(alarm: str) -> None:
    tests = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    cases: list[dict[str, Any]] = [
        case for test in tests for case in test["alert_rule_test"] if case["alertname"] == alarm
    ]
    assert {bool(case["exp_alerts"]) for case in cases} == {True, False}


@pytest.mark.parametrize("alarm", ALARMS)
def test_the_runbook_says_what_to_do(alarm: str) -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert headings.count(alarm) == 1


def test_the_runbook_has_no_alarm_that_is_gone() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert set(headings) == set(ALARMS)


def test_objectives_stand_on_bounds_of_the_histogram() -> None:
    bounds = {float(bound) for bound in re.findall(r'le="([\d.]+)"', RULES)}
    assert bounds
    assert bounds <= set(LATENCY_BUCKETS)


def test_the_dashboards_are_what_their_table_says() -> None:
    table = runpy.run_path(str(GRAFANA / "dashboards.py"))
    written = {path.stem: path.read_text() for path in (GRAFANA / "dashboards").glob("*.json")}
    assert written == {name: table["text"](name) for name in table["DASHBOARDS"]}


def test_the_page_of_figures_counts_what_is_there() -> None:
    rules = [rule for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"]]
    tests = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    cases = sum(len(test["alert_rule_test"]) for test in tests)
    boards = [json.loads(path.read_text()) for path in GRAFANA.glob("dashboards/*.json")]
    panels = [panel for board in boards for panel in board["panels"]]
    queries = sum(len(panel["targets"]) for panel in panels)
    page = " ".join((ROOT / "docs" / "figures.md").read_text().split())
    for said in (
        f"{len(rules)} rules for Prometheus, {len(ALARMS)} of them alarms",
        f"{cases} cases in `rules_test.yml`",
        f"{len(panels)} diagrams in three dashboards ask {queries} queries",
    ):
        assert said in page
