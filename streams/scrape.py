"""Read a worker's ``/metrics`` and ``/readyz`` back: the other side of `streams.health`.

For whoever watches a worker from outside with nothing but its address: the demo and the bench.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from itertools import pairwise
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from streams.errors import WorkerError

Key = tuple[str, frozenset[tuple[str, str]]]
"""Name of a sample, as it stands in the text (a counter ends in ``_total``), and its labels."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What one worker said at one moment."""

    values: Mapping[Key, float]

    def get(self, name: str, **labels: str) -> float:
        """Add up the samples called `name` that carry at least `labels`; 0 where there is none."""
        wanted = labels.items()
        return sum(
            value for (known, has), value in self.values.items() if known == name and wanted <= has
        )

    def since(self, earlier: Samples) -> Samples:
        """Take `earlier` off every sample: counters and histograms become those of the interval.

        Means nothing for gauges. A worker may have started anew meanwhile, see `increase`.
        """
        return Samples(
            {
                key: increase((earlier.values.get(key, 0.0), value))
                for key, value in self.values.items()
            }
        )

    def plus(self, later: Samples) -> Samples:
        """Add `later` to every sample: the counters of two intervals become those of both."""
        both = dict(self.values)
        for key, value in later.values.items():
            both[key] = both.get(key, 0.0) + value
        return Samples(both)

    def buckets(self, name: str, **labels: str) -> list[tuple[float, float]]:
        """List the upper bounds of histogram `name`, rising, with the counts up to each."""
        wanted, found = labels.items(), dict[float, float]()
        for (known, has), value in self.values.items():
            if known == f"{name}_bucket" and wanted <= has:
                bound = float(dict(has)["le"])
                found[bound] = found.get(bound, 0.0) + value
        return sorted(found.items())


def scrape(url: str, timeout_s: float = 2.0) -> Samples:
    """Fetch and parse the metrics at `url`, for example ``http://127.0.0.1:6066/metrics``.

    Blocks for up to `timeout_s`.

    Raises:
        WorkerError: nobody answers there, or not with metrics.
    """
    status, body = _get(url, timeout_s)
    try:
        if status == HTTPStatus.OK:
            return parse(body.decode())
    except ValueError as error:
        raise WorkerError(f"{url} does not answer with metrics: {error}") from error
    raise WorkerError(f"{url} answers {status}, which is not metrics")


def readiness(url: str, timeout_s: float = 2.0) -> list[str]:
    """Fetch why the worker is not ready from `url`, its ``/readyz``; empty when it is.

    Raises:
        WorkerError: nobody answers there, or not a worker.
    """
    _, body = _get(url, timeout_s)
    try:
        return [str(reason) for reason in json.loads(body)["reasons"]]
    except (ValueError, LookupError, TypeError) as error:
        raise WorkerError(f"{url} does not answer as a worker does") from error


def _get(url: str, timeout_s: float) -> tuple[int, bytes]:
    place = urlsplit(url)
    connection = HTTPConnection(place.hostname or "", place.port, timeout=timeout_s)
    try:
        connection.request("GET", place.path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, HTTPException) as error:
        raise WorkerError(f"no worker answers at {url}: {error}") from error
    finally:
        connection.close()


def parse(text: str) -> Samples:
    """Read Prometheus' text format.

    Raises:
        ValueError: it is not in that format.
    """
    return Samples(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )


def increase(counts: Iterable[float]) -> float:
    """Say by how much a counter grew over its `counts`, in order.

    One that fell began anew at zero, and is taken as it is, as Prometheus does.
    """
    return sum(after - before if after >= before else after for before, after in pairwise(counts))


def histogram_quantile(samples: Samples, name: str, q: float, **labels: str) -> float:
    """Estimate the `q` quantile (0..1) of histogram `name`; nan while it is empty.

    Linear within a bucket, as Prometheus' function of the same name; what lies beyond the last
    finite bound counts as that bound.
    """
    return quantile_of(samples.buckets(name, **labels), q)


def quantile_of(buckets: Sequence[tuple[float, float]], q: float) -> float:
    """Estimate a quantile as `histogram_quantile`, from buckets as `Samples.buckets` lists them."""
    if not buckets or not buckets[-1][1]:
        return math.nan
    rank = q * buckets[-1][1]
    low, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank and count > below:
            if math.isinf(bound):
                return low
            return low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    return low
