"""The page of every metric, from the objects that workers publish."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric

from streams.frame_metrics import FrameMetrics
from streams.metrics import Metrics
from streams.reference.fields import table

_INTRODUCTION = """\
# Metrics

What a worker publishes on `/metrics`, in the format of Prometheus. A counter is named with its
`_total`; a histogram has `_bucket`, `_sum` and `_count`. Beside these stand `process_*` and
`python_*` of the Prometheus client. The alarms that are made of them are in
`ops/prometheus/rules.yml`; the [runbook](../runbook.md) says what to do."""


def metrics_page() -> str:
    """Write down every metric: name, type, labels, meaning."""
    agent = Metrics("AGENT")
    agent.drift("INPUT")
    agent.serves("NAME", "VERSION", "SHA256")
    agent.set_lag(0, 0)
    agent.moves(0)
    with agent.stage("STAGE"):
        pass
    frames = FrameMetrics()
    frames.count({("CAMERA", "detected"): 1})
    frames.seen("CAMERA", 0, up=True)
    frames.took_rules("SHA256")
    of_cameras = CollectorRegistry()
    frames.register(of_cameras)

    lines = [_INTRODUCTION, "", "## Every worker"]
    lines += table(("metric", "type", "labels", ""), _rows(agent.registry))
    lines += ["", "## Workers of vision"]
    lines += table(("metric", "type", "labels", ""), _rows(of_cameras))
    return "\n".join(lines) + "\n"


def _rows(registry: CollectorRegistry) -> Iterator[tuple[str, str, str, str]]:
    for metric in registry.collect():
        if metric.name.startswith("tocsin_"):
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            yield f"`{name}`", metric.type, _labels(metric), metric.documentation


def _labels(metric: Metric) -> str:
    names = dict.fromkeys(name for sample in metric.samples for name in sample.labels)
    return ", ".join(f"`{name}`" for name in names if name != "le")
