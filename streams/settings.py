"""Settings of every command: flags, environment, files of secrets, a TOML file, the defaults here.

Environment names are ``TOCSIN_`` plus the path with double underscores between the levels, for
example ``TOCSIN_KAFKA__BOOTSTRAP_SERVERS``. In the directory that ``TOCSIN_SECRETS_DIR`` names, a
file of such a name holds the value, as Docker and Kubernetes mount secrets. The TOML file is
``tocsin.toml`` in the working directory, or the one that ``TOCSIN_CONFIG`` names. Settings are
frozen, built once by `load_settings` and passed in; nothing reads the environment after that.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings.exceptions import SettingsError as UnreadableSettings

from streams.errors import SettingsError

DEFAULT_CONFIG = "tocsin.toml"

PASSWORD_IN_URL = re.compile(r"(?<=://)([^:@]*):.*@")
"""The user and the password of a URL: up to the last @, because passwords hold anything."""

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TlsSettings(_Section):
    """Files that TLS takes, in PEM; where there is no TLS they say nothing."""

    ssl_cafile: Path | None = None
    """Authorities to trust; the system's if unset."""

    ssl_certfile: Path | None = None
    """Certificate to show (mTLS), with what it needs up to an authority."""

    ssl_keyfile: Path | None = None
    """Key of the certificate, where it is not in the same file."""

    ssl_password: SecretStr = SecretStr("")
    """Of an encrypted key."""


class KafkaSettings(TlsSettings):
    """How to reach Kafka and how a worker behaves in its consumer group."""

    bootstrap_servers: str = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: SecretStr = SecretStr("")
    allow_sasl_plaintext: bool = False
    """SASL over an unencrypted connection sends the password in the clear; opt in to allow it."""

    session_timeout_s: Seconds = 10.0
    heartbeat_interval_s: Seconds = 3.0
    rebalance_timeout_s: Seconds = 60.0
    group_instance_id: str = ""
    """Static membership (KIP-345): unique per worker; empty for a dynamic member."""

    fetch_max_wait_ms: int = 20
    fetch_min_bytes: int = 65_536
    """With the wait above: a linger that trades latency for CPU (`tocsin bench latency`)."""

    max_partition_fetch_bytes: int = 4 * 1024 * 1024
    max_request_bytes: int = 16 * 1024 * 1024
    """Largest record that may be produced: a dead letter is as large as what it buries."""


class RedisSettings(TlsSettings):
    """Where state lives. ``memory://`` keeps it in the process (tests, experiments)."""

    url: str = "redis://127.0.0.1:6379/0"
    """``rediss://`` speaks TLS."""

    username: str = ""
    """A user of Redis's ACL; empty for the default one."""

    password: SecretStr = SecretStr("")
    timeout_s: Seconds = 5.0

    @property
    def in_process(self) -> bool:
        """Whether there is no Redis at all."""
        return self.url == "memory://"


class TopicSettings(_Section):
    """Topic names and how `tocsin topics create` makes them."""

    transactions: str = "transactions"
    labels: str = "labels"
    frames: str = "frames"
    alerts: str = "alerts"
    scores: str = "scores"
    tracks: str = "tracks"
    audit: str = "audit"
    forgotten: str = "forgotten"
    dead_suffix: str = ".dead"
    partitions: Annotated[int, Field(ge=1)] = 4
    replication_factor: Annotated[int, Field(ge=1)] = 1
    retention_days: Annotated[int, Field(ge=1)] = 60
    frames_retention_hours: Annotated[int, Field(ge=1)] = 6
    """Pictures are large and soon worthless: no state is ever rebuilt from them."""


class FraudSettings(_Section):
    """The fraud agent."""

    group: str = "tocsin-fraud"
    """Kafka consumer group and Redis namespace."""

    model: Path | None = None
    """Manifest of the network to serve; the bundled one if unset."""

    device: str = "auto"
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
    rates: dict[str, float] = {}
    """Units of `currency` that one unit of another currency is worth."""

    max_amount: Annotated[float, Field(gt=0)] = 1e9
    max_future_s: Annotated[float, Field(ge=0)] = 86_400.0
    """An event time further ahead of the clock than this is a dead letter."""

    earliest: int = 946_684_800_000
    """Event times before this (ms, epoch; 2000-01-01) are dead letters."""

    capacity: Annotated[int, Field(ge=1024)] = 262_144
    """Cards held in memory; more live in Redis and come back when they are seen."""

    profile_capacity: Annotated[int, Field(ge=1024)] = 65_536
    """Terminal profiles cached for reading."""

    publish_scores: bool = False

    drift_days: Annotated[int, Field(ge=1)] = 7
    """Event time that the drift of inputs and scores covers."""


class LabelsSettings(_Section):
    """The labels agent."""

    group: str = "tocsin-labels"
    capacity: Annotated[int, Field(ge=1024)] = 65_536
    horizon_days: Annotated[int, Field(ge=1)] = 180
    """A label on a transaction older than this is a dead letter."""

    figures_days: Annotated[float, Field(ge=0)] = 28.0
    """Event time that live precision and recall cover; 0 does without them."""


class VisionSettings(_Section):
    """The vision agent."""

    group: str = "tocsin-vision"
    """Kafka consumer group and Redis namespace."""

    model: str = "street"
    """Detector weights: a name of `tocsin models list`, or a file. The bundled ``street`` knows the
    simulated camera alone."""

    device: str = "auto"
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
    max_fps: Seconds = 30.0
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


class ModelsSettings(_Section):
    """Detector weights that were published, and whose weights are taken."""

    cache_dir: Path | None = None
    """Where `tocsin models pull` keeps them; ``~/.cache/tocsin/models`` if unset."""

    trusted_keys: tuple[Path, ...] = ()
    """Public keys (Ed25519, PEM): workers refuse weights that none of them has signed. Unset, they
    take any; bundled ones are taken either way."""


class DeliverySettings(_Section):
    """Batching, group commit and the deadlines of the delivery contract."""

    max_batch: Annotated[int, Field(ge=1)] = 16_384
    flush_interval_s: Seconds = 0.2
    commit_interval_s: Seconds = 0.5
    drain_timeout_s: Seconds = 20.0
    """How long SIGTERM and a revocation wait for a flush that cannot finish."""

    stuck_after_s: Seconds = 60.0
    """Lag for so long without progress, a named wait or a published alert ends the process."""


class HealthSettings(_Section):
    """The worker's own HTTP server: /livez, /readyz and /metrics. Port 0 picks a free one."""

    host: str = "127.0.0.1"
    port: Port = 6066


class DashboardUser(_Section):
    """Who may use the dashboard. `tocsin dashboard credentials` makes both kinds of secret."""

    role: Literal["viewer", "analyst"] = "viewer"
    """A viewer looks; an analyst also decides, suppresses and sends dead letters back."""

    password: SecretStr = SecretStr("")
    """Its argon2 hash; empty for nobody who logs in with one."""

    token: SecretStr = SecretStr("")
    """SHA-256 of a token, for programs; empty for none."""


class OidcSettings(_Section):
    """Logins by way of an OpenID Connect provider; without an issuer there are none."""

    issuer: str = ""
    """Its address, exactly as its tokens and its ``/.well-known/openid-configuration`` say it."""

    client_id: str = ""
    client_secret: SecretStr = SecretStr("")
    """Of a confidential client; empty for a public one, which PKCE alone protects."""

    scopes: tuple[str, ...] = ("openid", "profile", "email")
    name_claim: str = "preferred_username"
    """What people are called on record; else `email`, else `sub`."""

    role_claim: str = "roles"
    """The claim of the ID token that names roles, or the path to it: ``realm_access.roles``."""

    analysts: tuple[str, ...] = ("tocsin-analyst",)
    """Roles there that make an analyst here."""

    viewers: tuple[str, ...] = ("tocsin-viewer",)
    """Roles there that make a viewer here; who has none of both is refused."""


class DashboardSettings(_Section):
    """The page, the API and what they keep in Redis."""

    group: str = "tocsin-dashboard"
    """Kafka consumer group and Redis namespace: dashboards with the same one show the same."""

    host: str = "127.0.0.1"
    port: Port = 8090
    hosts: tuple[str, ...] = ()
    """Names under which browsers reach it, beside the local ones: ``tocsin.example:443``, or
    without a port. A request for another name is refused."""

    https: bool = False
    """A proxy in front speaks TLS: cookies are sent over that alone."""

    proxies: tuple[str, ...] = ("127.0.0.1",)
    """Addresses or networks (``10.0.0.0/8``) of that proxy, which is believed when it says for whom
    it asks: failed logins are counted by address."""

    users: dict[str, DashboardUser] = {}
    """By name. Without any, and without `oidc`, whoever reaches it on this machine may do
    everything."""

    oidc: OidcSettings = OidcSettings()
    session_hours: Annotated[float, Field(gt=0)] = 12.0
    days: Annotated[float, Field(gt=0, le=20_000)] = 14.0
    """Alerts older than this leave the view, unless they are still open."""

    max_alerts: Annotated[int, Field(ge=100)] = 50_000
    """Alerts in the view at most, the oldest go first: about 4 KiB of Redis each."""

    clock: Literal["wall", "event"] = "wall"
    """What a verdict's time is. `event`, the newest event time in the view, is for transactions
    of a replayed or simulated calendar."""

    workers: tuple[str, ...] = tuple(f"http://127.0.0.1:{port}" for port in (6066, 6067, 6068))
    """Health servers of the workers that the health view watches."""

    @property
    def has_logins(self) -> bool:
        """Whether people have to say who they are."""
        return bool(self.users or self.oidc.issuer)


class Webhook(_Section):
    """Where alerts go by HTTP, and which of them."""

    url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    secret: Annotated[SecretStr, Field(min_length=16)]
    """What requests are signed with; after ``whsec_`` it is Base64."""

    kind: Literal["fraud", "object"] | None = None
    severity: Literal["low", "medium", "high", "critical"] = "low"
    """The least."""

    statuses: tuple[Literal["new", "update", "end"], ...] = ("new", "end")
    entities: tuple[str, ...] = ("*",)
    """Cards or cameras; ``*`` and ``?`` match any text and any character."""


class WebhooksSettings(_Section):
    """Alerts out to HTTP endpoints."""

    group: str = "tocsin-webhooks"
    """Begins the name of each endpoint's Kafka consumer group, before a dash and the endpoint's own;
    also the Redis namespace of what was sent."""

    endpoints: dict[str, Webhook] = {}
    attempts: Annotated[int, Field(ge=1, le=10)] = 6
    first_wait_s: Seconds = 1.0
    """Before the second attempt; twice as long before each one after that."""

    timeout_s: Seconds = 10.0
    remember_days: Annotated[float, Field(gt=0)] = 7.0
    """For how long an event that was sent is not sent again."""

    def groups(self) -> dict[str, str]:
        """Name the consumer group of each endpoint."""
        return {name: f"{self.group}-{name}" for name in self.endpoints}


def access_namespace(dashboard: DashboardSettings) -> str:
    """Name the place beside the view where sessions are: rebuilding the view logs nobody out."""
    return f"{dashboard.group}-access"


def picture_namespace(namespace: str) -> str:
    """Name the place beside an agent's namespace where its pictures are: no sweep meets both."""
    return f"{namespace}-pictures"


class LogSettings(_Section):
    """What goes to standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["text", "json"] = "text"


class TracingSettings(_Section):
    """Traces by OpenTelemetry; none unless `endpoint` is set."""

    endpoint: Annotated[str, Field(pattern=r"^(https?://\S+)?$")] = ""
    """Of a collector that takes OTLP by HTTP, as ``http://127.0.0.1:4318/v1/traces``."""

    share: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Of the records that `tocsin produce` and `replay` send: these begin a trace."""


class Settings(BaseSettings):
    """Everything that can be set, in one frozen tree."""

    model_config = SettingsConfigDict(
        env_prefix="TOCSIN_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
    )

    kafka: KafkaSettings = KafkaSettings()
    redis: RedisSettings = RedisSettings()
    topics: TopicSettings = TopicSettings()
    fraud: FraudSettings = FraudSettings()
    labels: LabelsSettings = LabelsSettings()
    vision: VisionSettings = VisionSettings()
    models: ModelsSettings = ModelsSettings()
    delivery: DeliverySettings = DeliverySettings()
    health: HealthSettings = HealthSettings()
    dashboard: DashboardSettings = DashboardSettings()
    webhooks: WebhooksSettings = WebhooksSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Rank the sources: flags, environment, file."""
        path = Path(os.environ.get("TOCSIN_CONFIG", DEFAULT_CONFIG))
        return (
            init_settings,
            env_settings,
            NestedSecretsSettingsSource(
                file_secret_settings,
                secrets_dir=os.environ.get("TOCSIN_SECRETS_DIR") or None,
                secrets_dir_missing="error",
            ),
            TomlConfigSettingsSource(settings_cls, toml_file=path),
        )


def variable_of(path: str) -> str:
    """Return the environment variable of a setting, given as ``section.name``.

    Raises:
        SettingsError: there is no such setting.
    """
    section, _, name = path.partition(".")
    field = Settings.model_fields.get(section)
    if field is None or name not in getattr(field.annotation, "model_fields", ()):
        raise SettingsError(f"no setting is called {path!r}: tocsin config show lists them all")
    return f"TOCSIN_{section}__{name}".upper()


def is_secret(place: Sequence[str | int]) -> bool:
    """Whether a secret stands at a place of the settings, or anywhere below it."""
    kind: Any = Settings
    for part in place:
        fields = getattr(kind, "model_fields", None)
        if fields is None:
            kind = (get_args(kind) or (Any,))[-1]  # a table's values are all of one kind
        elif part in fields:
            kind = fields[part].annotation
        else:
            return False
    return _holds_secret(kind)


def _holds_secret(kind: Any) -> bool:
    fields = getattr(kind, "model_fields", {}).values()
    inner = (*get_args(kind), *(field.annotation for field in fields))
    return kind is SecretStr or any(map(_holds_secret, inner))


def load_settings(**overrides: Any) -> Settings:
    """Read flags (`overrides`, nested dictionaries), environment and file, in that order.

    Raises:
        SettingsError: a value is malformed or unknown; the message names it and its place.
    """
    named = os.environ.get("TOCSIN_CONFIG")
    if named and not Path(named).is_file():
        raise SettingsError(f"TOCSIN_CONFIG names {named!r}, which is not a file")
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        # What stands under a name that we do not know may be a password too.
        hidden = first["type"] == "extra_forbidden" or is_secret(first["loc"])
        got = "" if hidden else f" (got {first['input']!r})"
        raise SettingsError(f"setting {place}: {first['msg']}{got}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{named or DEFAULT_CONFIG} is no TOML: {error}") from None
    except UnreadableSettings as error:
        secrets = os.environ.get("TOCSIN_SECRETS_DIR")
        if secrets and not Path(secrets).is_dir():
            raise SettingsError(f"TOCSIN_SECRETS_DIR names {secrets!r}, no directory") from None
        raise SettingsError(f"{error}: a table is given as JSON in the environment") from None
    except OSError as error:
        raise SettingsError(f"cannot read {error.filename}: {error.strerror}") from None
