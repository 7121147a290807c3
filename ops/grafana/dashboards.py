"""Grafana's dashboards as a table; `python ops/grafana/dashboards.py` writes their JSON.

A panel is a title, a unit of Grafana's and its queries with their legends. Two stand side by side.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

OUT = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
WIDTH, HEIGHT = 12, 8  # of a grid that is 24 wide


class Panel(NamedTuple):
    """One diagram over time."""

    title: str
    unit: str
    queries: dict[str, str]
    """Legends and what they show."""


def quantiles(metric: str, by: str) -> dict[str, str]:
    """Half and 99 % of a histogram."""
    buckets = f"sum by ({by}, le) (rate({metric}_bucket[$__rate_interval]))"
    return {
        f"p{share:.0f} {{{{{by}}}}}": f"histogram_quantile({share / 100}, {buckets})"
        for share in (50.0, 99.0)
    }


def rate(metric: str, by: str, legend: str = "") -> dict[str, str]:
    """A counter's rise a second."""
    return {legend or f"{{{{{by}}}}}": f"sum by ({by}) (rate({metric}[$__rate_interval]))"}


DASHBOARDS = {
    "workers": (
        "Tocsin: workers",
        [
            Panel("Ready", "short", {"{{agent}} {{instance}}": "tocsin_ready"}),
            Panel("Rebuilding", "short", {"{{agent}} {{instance}}": "tocsin_rebuilding"}),
            Panel("Lag", "short", {"{{agent}}": "sum by (agent) (tocsin_lag_records)"}),
            Panel(
                "Since a partition moved on",
                "s",
                {
                    "{{agent}} {{instance}}": "max by (agent, instance) "
                    "(time() - tocsin_partition_progress_timestamp_seconds)"
                },
            ),
            Panel("Events", "ops", rate("tocsin_events_total", "agent")),
            Panel("Alerts", "ops", rate("tocsin_alerts_total", "agent")),
            Panel(
                "From event to acknowledged alert",
                "s",
                quantiles("tocsin_alert_latency_seconds", "agent"),
            ),
            Panel(
                "Late alerts of the last hour",
                "percentunit",
                {"{{agent}}": "tocsin:alerts_late:ratio1h"},
            ),
            Panel("Dead letters", "ops", rate("tocsin_dead_letters_total", "agent")),
            Panel("Failed batches", "ops", rate("tocsin_batch_failures_total", "agent")),
            Panel("Records in a batch", "short", quantiles("tocsin_batch_size", "agent")),
            Panel("Flush to Redis", "s", quantiles("tocsin_flush_seconds", "agent")),
            Panel(
                "Where the time goes", "percentunit", rate("tocsin_stage_seconds_total", "stage")
            ),
            Panel(
                "Processor",
                "percentunit",
                {"{{instance}}": "rate(process_cpu_seconds_total{job='tocsin'}[$__rate_interval])"},
            ),
            Panel(
                "Memory", "bytes", {"{{instance}}": "process_resident_memory_bytes{job='tocsin'}"}
            ),
            Panel(
                "Redis",
                "bytes",
                {"used": "redis_memory_used_bytes", "limit": "redis_memory_max_bytes"},
            ),
        ],
    ),
    "fraud": (
        "Tocsin: fraud",
        [
            Panel("Alerts", "ops", rate("tocsin_alerts_total{agent='fraud'}", "agent")),
            Panel("Threshold", "short", {"{{instance}}": "tocsin_alert_threshold{agent='fraud'}"}),
            Panel(
                "Budget",
                "short",
                {
                    "a day": "max(tocsin_alert_budget_per_day{agent='fraud'})",
                    "left over": "sum(tocsin_alert_budget_balance{agent='fraud'})",
                },
            ),
            Panel(
                "Precision and recall of the alerts with a verdict",
                "percentunit",
                {
                    "precision": "max(tocsin_live_precision{agent='labels'})",
                    "recall": "max(tocsin_live_recall{agent='labels'})",
                },
            ),
            Panel(
                "Verdicts",
                "short",
                {
                    "judged alerts": "max(tocsin_live_judged_alerts{agent='labels'})",
                    "known frauds": "max(tocsin_live_known_frauds{agent='labels'})",
                },
            ),
            Panel("Drift (PSI)", "short", {"{{input}}": "max by (input) (tocsin_drift_psi)"}),
            Panel("Cards held in memory", "short", {"{{instance}}": "tocsin_rows{agent='fraud'}"}),
            Panel(
                "Rows read from Redis and evicted",
                "short",
                {
                    "read {{instance}}": "tocsin_row_misses{agent='fraud'}",
                    "evicted {{instance}}": "tocsin_rows_evicted{agent='fraud'}",
                },
            ),
        ],
    ),
    "video": (
        "Tocsin: video",
        [
            Panel("Frames by their fate", "ops", rate("tocsin_frames_total", "fate")),
            Panel(
                "Dropped, by camera",
                "percentunit",
                {
                    "{{camera}}": "sum by (camera) (rate(tocsin_camera_frames_total"
                    '{fate=~"late|stale|too often"}[$__rate_interval]))'
                    " / sum by (camera) (rate(tocsin_camera_frames_total[$__rate_interval]))"
                },
            ),
            Panel("Cameras up", "short", {"{{camera}}": "max by (camera) (tocsin_camera_up)"}),
            Panel(
                "Since a camera's last frame",
                "s",
                {"{{camera}}": "time() - max by (camera) (tocsin_camera_frame_timestamp_seconds)"},
            ),
            Panel(
                "From capture to tracks",
                "s",
                quantiles("tocsin_frame_latency_seconds", "job"),
            ),
            Panel("A frame in the network", "s", quantiles("tocsin_detect_seconds", "job")),
            Panel("Frames at once", "short", quantiles("tocsin_detect_batch_size", "job")),
            Panel("Alerts", "ops", rate("tocsin_alerts_total{agent='vision'}", "agent")),
            Panel(
                "Of the alerts with a verdict, right by rule",
                "percentunit",
                {"{{rule}}": "max by (rule) (tocsin_live_object_precision)"},
            ),
        ],
    ),
}


def build(name: str) -> dict[str, Any]:
    """One dashboard as Grafana reads it."""
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"tocsin-{name}",
        "title": title,
        "tags": ["tocsin"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "panels": [
            {
                "id": place + 1,
                "title": panel.title,
                "type": "timeseries",
                "datasource": SOURCE,
                "gridPos": {
                    "x": WIDTH * (place % 2),
                    "y": HEIGHT * (place // 2),
                    "w": WIDTH,
                    "h": HEIGHT,
                },
                "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
                "targets": [
                    {"refId": chr(ord("A") + number), "expr": query, "legendFormat": legend}
                    for number, (legend, query) in enumerate(panel.queries.items())
                ],
            }
            for place, panel in enumerate(panels)
        ],
    }


def text(name: str) -> str:
    """The file of one dashboard."""
    return json.dumps(build(name), indent=1) + "\n"


if __name__ == "__main__":
    for name in DASHBOARDS:
        (OUT / f"{name}.json").write_text(text(name))
