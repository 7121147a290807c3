"""What the workers say about themselves, added up over the run."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from streams.errors import WorkerError
from streams.scrape import Samples, histogram_quantile, readiness, scrape

_LATENCY = "tocsin_alert_latency_seconds"
_RECENT_POLLS = 10
_NOTHING = Samples({})


@dataclass(frozen=True, slots=True)
class Latency:
    """From a transaction's send time to its acknowledged alert, in ms; 0 where there was none."""

    p50: float
    p99: float


class Gauge:
    """Watches one worker from outside, by HTTP.

    Counters are added up poll by poll, so a worker that is started again goes on counting.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        """For example ``http://127.0.0.1:6066``."""

        self.not_ready: list[str] = ["starting"]
        self._now = _NOTHING
        self._total = _NOTHING
        self._recent: deque[Samples] = deque(maxlen=_RECENT_POLLS)

    def poll(self) -> None:
        """Ask once; blocks for up to seconds. A worker that does not answer is not ready."""
        try:
            self.not_ready = readiness(f"{self.address}/readyz")
            now = scrape(f"{self.address}/metrics")
        except WorkerError:
            self.not_ready = ["starting"]
            return
        step, self._now = now.since(self._now), now
        self._total = self._total.plus(step)
        self._recent.append(step)

    def count(self, name: str, **labels: str) -> int:
        """Return counter `name` of this run, for example ``tocsin_events_total``."""
        return round(self._total.get(name, **labels))

    def mean_ms(self, name: str) -> float:
        """Return the mean of a histogram of seconds over this run; 0 where there is nothing."""
        return 1000 * self._total.get(f"{name}_sum") / max(self._total.get(f"{name}_count"), 1)

    @property
    def lag(self) -> int:
        """Records that are not acknowledged yet."""
        return round(self._now.get("tocsin_lag_records"))

    @property
    def latency(self) -> Latency:
        """Of the whole run."""
        return _latency(self._total)

    @property
    def recent_latency(self) -> Latency:
        """Of the last polls."""
        recent = _NOTHING
        for step in tuple(self._recent):  # polled on another thread
            recent = recent.plus(step)
        return _latency(recent)


def gauges(ports: Mapping[str, int]) -> dict[str, Gauge]:
    """Watch each agent at its port on this machine."""
    return {name: Gauge(f"http://127.0.0.1:{port}") for name, port in ports.items()}


def _latency(samples: Samples) -> Latency:
    p50, p99 = (1000 * histogram_quantile(samples, _LATENCY, q) for q in (0.5, 0.99))
    return Latency(p50, p99) if samples.get(f"{_LATENCY}_count") else Latency(0.0, 0.0)
