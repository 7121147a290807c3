"""Metrics read back from the text that a worker publishes."""

from __future__ import annotations

import math
import socket

import pytest
from prometheus_client import generate_latest

from streams.errors import WorkerError
from streams.health import HealthServer
from streams.metrics import LATENCY_BUCKETS, Metrics
from streams.scrape import Samples, histogram_quantile, parse, readiness, scrape
from streams.settings import HealthSettings
from streams.status import Status

LATENCY = "tocsin_alert_latency_seconds"


def read(metrics: Metrics) -> Samples:
    return parse(generate_latest(metrics.registry).decode())


def test_an_empty_text_has_no_samples() -> None:
    samples = parse("")

    assert samples.get("tocsin_events_total") == 0
    assert math.isnan(histogram_quantile(samples, LATENCY, 0.5))


def test_samples_add_up_over_the_labels_that_are_not_named() -> None:
    metrics = Metrics("fraud")
    metrics.set_lag(0, 3)
    metrics.set_lag(1, 4)

    samples = read(metrics)

    assert samples.get("tocsin_lag_records") == 7
    assert samples.get("tocsin_lag_records", agent="fraud", partition="1") == 4
    assert samples.get("tocsin_lag_records", agent="labels") == 0


@pytest.mark.parametrize("q", [0.01, 0.5, 0.99, 1.0])
def test_a_quantile_is_within_its_bucket_of_the_truth(q: float) -> None:
    metrics = Metrics("fraud")
    values = [0.010 + 0.0001 * place for place in range(1, 1001)]
    for value in values:
        metrics.latency.observe(value)

    truth = values[math.ceil(q * len(values)) - 1]
    assert histogram_quantile(read(metrics), LATENCY, q) == pytest.approx(truth, rel=0.15)


def test_what_lies_beyond_the_last_bound_counts_as_that_bound() -> None:
    metrics = Metrics("fraud")
    metrics.latency.observe(1e6)

    assert histogram_quantile(read(metrics), LATENCY, 0.5) == pytest.approx(LATENCY_BUCKETS[-1])


def test_an_interval_is_the_difference_and_two_intervals_are_their_sum() -> None:
    metrics = Metrics("fraud")
    start = read(metrics)
    metrics.latency.observe(0.1)
    middle = read(metrics)
    metrics.latency.observe(10.0)
    end = read(metrics)

    last = end.since(middle)
    both = middle.since(start).plus(last)
    assert last.get(f"{LATENCY}_count") == 1
    assert histogram_quantile(last, LATENCY, 0.5) == pytest.approx(10.0, rel=0.15)
    assert both.get(f"{LATENCY}_count") == end.get(f"{LATENCY}_count") == 2


def test_a_counter_that_fell_began_anew() -> None:
    before, after = parse("x_total 10\n"), parse("x_total 4\n")

    assert after.since(before).get("x_total") == 4


def test_a_running_worker_is_read_over_http() -> None:
    metrics, status = Metrics("fraud"), Status()
    metrics.events.inc(5)
    with HealthServer(HealthSettings(port=0), status, metrics.registry) as server:
        address = f"http://127.0.0.1:{server.port}"

        assert scrape(f"{address}/metrics").get("tocsin_events_total") == 5
        assert readiness(f"{address}/readyz") == ["joining the consumer group"]
        status.joined()
        assert readiness(f"{address}/readyz") == []
        with pytest.raises(WorkerError, match="404"):
            scrape(f"{address}/nothing")
        with pytest.raises(WorkerError, match="as a worker does"):
            readiness(f"{address}/livez")


def test_nobody_at_the_address_is_a_worker_error() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening
        with pytest.raises(WorkerError, match="no worker answers"):
            scrape(f"http://127.0.0.1:{held.getsockname()[1]}/metrics")
