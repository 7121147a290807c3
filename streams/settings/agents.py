"""Settings of the agents, of their networks and of how they deliver."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from streams.settings.section import Seconds, Section


class FraudSettings(Section):
    """The fraud agent."""

    group: str = "tocsin-fraud"
    """Kafka consumer group and Redis namespace."""

    model: Path | None = None
    """Manifest of the network to serve; the bundled one if unset."""

    device: str = "auto"
    """Of torch: ``cpu``, ``cuda``, ``cuda:1``; ``auto`` takes a GPU where there is one."""

    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """Score at and above which an alert goes out; the manifest's own if unset. Under a budget it
    holds until a whole day of scores is known."""

    policy: Literal["threshold", "budget"] = "threshold"
    """What makes an alert: a score above the threshold, or that there is room in the budget."""

    alerts_per_day: Annotated[float, Field(gt=0)] | None = None
    """The budget: so many alerts a day of event time, over all workers."""

    alerts_burst: Annotated[float, Field(ge=1)] = 1.5
    """What was left over may lead a day up to so many times the budget, what was overdrawn down to
    one so-many-th of it; 1 carries nothing over."""

    alerts_floor: Annotated[float, Field(ge=0, le=1)] = 0.02
    """No score below this is an alert, however much of the budget is left."""

    currency: str = "EUR"
    """What the network's amounts are in; others are converted by `rates`."""

    rates: dict[str, float] = Field(default_factory=dict)
    """Units of `currency` that one unit of another currency is worth."""

    max_amount: Annotated[float, Field(gt=0)] = 1e9
    """In `currency`; a payment above it is a dead letter."""

    max_future_s: Annotated[float, Field(ge=0)] = 86_400.0
    """An event time further ahead of the clock than this is a dead letter."""

    earliest: int = 946_684_800_000
    """Event times before this (ms, epoch; 2000-01-01) are dead letters."""

    capacity: Annotated[int, Field(ge=1024)] = 262_144
    """Cards held in memory; more live in Redis and come back when they are seen."""

    profile_capacity: Annotated[int, Field(ge=1024)] = 65_536
    """Terminal profiles cached for reading."""

    publish_scores: bool = False
    """Publish the score of every payment."""

    drift_days: Annotated[int, Field(ge=1)] = 7
    """Event time that the drift of inputs and scores covers."""


class LabelsSettings(Section):
    """The labels agent."""

    group: str = "tocsin-labels"
    """Kafka consumer group and Redis namespace."""

    capacity: Annotated[int, Field(ge=1024)] = 65_536
    """Terminals held in memory; more live in Redis."""

    horizon_days: Annotated[int, Field(ge=1)] = 180
    """A label on a transaction older than this is a dead letter."""

    figures_days: Annotated[float, Field(ge=0)] = 28.0
    """Event time that live precision and recall cover; 0 does without them."""


class VisionSettings(Section):
    """The vision agent."""

    group: str = "tocsin-vision"
    """Kafka consumer group and Redis namespace."""

    model: str = "street"
    """Detector weights: a name of `tocsin models list`, or a file. The bundled ``street`` knows the
    simulated camera alone."""

    device: str = "auto"
    """Of torch: ``cpu``, ``cuda``, ``cuda:1``; ``auto`` takes a GPU where there is one."""

    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads that decode pictures, and as many that detect; 0 for one a core."""

    confidence: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Objects of which the detector is less sure are left out; the tracker has no use for them."""

    rules: Path | None = None
    """TOML file of what raises an alert, read again when it changes; unset, a person or a vehicle
    anywhere in the picture does."""

    policy: Literal["freshest", "keep-all"] = "freshest"
    """`freshest` skips frames that are older than `max_age_s`, oldest first, and what a camera
    sends beyond `max_fps`; `keep-all` skips neither."""

    max_age_s: Seconds = 2.0
    """How old a frame may be, from its capture on, before `freshest` skips it."""

    max_fps: Seconds = 30.0
    """Frames a second of one camera that `freshest` looks at."""

    max_batch: Annotated[int, Field(ge=1, le=1024)] = 16
    """Frames that go through the network at once, of all cameras and partitions."""

    batch_wait_s: Annotated[float, Field(ge=0)] = 0.02
    """While a batch is under way, the next one waits this long to fill up."""

    motion_gate: bool = True
    """Skip the network on frames in which nothing moves."""

    motion_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """Largest share of full brightness by which a cell of a still picture changes."""

    heartbeat_s: Seconds = 2.0
    """Detect this often even where nothing moves."""

    max_frame_bytes: Annotated[int, Field(ge=1024)] = 4 * 1024 * 1024
    """Also the record size of the topic."""

    max_pixels: Annotated[int, Field(ge=256)] = 25_000_000
    """Width times height; a larger picture is a dead letter, not decoded."""

    max_future_s: Annotated[float, Field(ge=0)] = 60.0
    """A frame captured further ahead of the clock than this is a dead letter."""

    silence_s: Seconds = 30.0
    """A camera of which no frame could be looked at for this long, though all that came was read,
    is silent: its alerts end. The clocks of the workers count."""

    cameras: Annotated[int, Field(ge=1)] = 256
    """Cameras held in memory; those that are seen again come back from Redis."""

    lost_lookback_h: Seconds = 24.0
    """Where state is lost, alerts of the last so many hours that are open are ended."""

    snapshot_ttl_h: Seconds = 72.0
    """Pictures of alerts are deleted after this long."""

    snapshot_max_bytes: Annotated[int, Field(ge=0)] = 256 * 1024 * 1024
    """Pictures of alerts that Redis holds at most, the oldest go first; 0 takes none."""

    snapshot_blur: bool = False
    """Blur the people in a picture that the alert is not about."""

    publish_tracks: bool = False
    """Publish everything that is in every frame."""


class ModelsSettings(Section):
    """Detector weights that were published, and whose weights are taken."""

    cache_dir: Path | None = None
    """Where `tocsin models pull` keeps them; ``~/.cache/tocsin/models`` if unset."""

    trusted_keys: tuple[Path, ...] = ()
    """Public keys (Ed25519, PEM): workers refuse weights that none of them has signed. Unset, they
    take any; bundled ones are taken either way."""


class DeliverySettings(Section):
    """Batching, group commit and the deadlines of the delivery contract."""

    max_batch: Annotated[int, Field(ge=1)] = 16_384
    """Payments or labels that go through the network at once."""

    flush_interval_s: Seconds = 0.2
    """How often state goes to Redis: what a crash makes a worker read again."""

    commit_interval_s: Seconds = 0.5
    """How often places go to Kafka."""

    drain_timeout_s: Seconds = 20.0
    """How long SIGTERM and a revocation wait for a flush that cannot finish."""

    stuck_after_s: Seconds = 60.0
    """Lag for so long without progress, a named wait or a published alert ends the process."""
