"""Settings of what alerts go out by, beside their topic: the dashboard and webhooks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from streams.settings.section import Port, Seconds, Section


class DashboardUser(Section):
    """Who may use the dashboard. `tocsin dashboard credentials` makes both kinds of secret."""

    role: Literal["viewer", "analyst"] = "viewer"
    """A viewer looks; an analyst also decides, suppresses and sends dead letters back."""

    password: SecretStr = SecretStr("")
    """Its argon2 hash; empty for nobody who logs in with one."""

    token: SecretStr = SecretStr("")
    """SHA-256 of a token, for programs; empty for none."""


class OidcSettings(Section):
    """Logins by way of an OpenID Connect provider; without an issuer there are none."""

    issuer: str = ""
    """Its address, exactly as its tokens and its ``/.well-known/openid-configuration`` say it."""

    client_id: str = ""
    """What the provider calls the dashboard."""

    client_secret: SecretStr = SecretStr("")
    """Of a confidential client; empty for a public one, which PKCE alone protects."""

    scopes: tuple[str, ...] = ("openid", "profile", "email")
    """What is asked for."""

    name_claim: str = "preferred_username"
    """What people are called on record; else `email`, else `sub`."""

    role_claim: str = "roles"
    """The claim of the ID token that names roles, or the path to it: ``realm_access.roles``."""

    analysts: tuple[str, ...] = ("tocsin-analyst",)
    """Roles there that make an analyst here."""

    viewers: tuple[str, ...] = ("tocsin-viewer",)
    """Roles there that make a viewer here; who has none of both is refused."""


class DashboardSettings(Section):
    """The page, the API and what they keep in Redis."""

    group: str = "tocsin-dashboard"
    """Kafka consumer group and Redis namespace: dashboards with the same one show the same."""

    host: str = "127.0.0.1"
    """Address to listen on; another than this machine's own needs logins."""

    port: Port = 8090
    """Of the page and the API; 0 for a free one."""

    hosts: tuple[str, ...] = ()
    """Names under which browsers reach it, beside the local ones: ``tocsin.example:443``, or
    without a port. A request for another name is refused; one that others reach needs logins."""

    https: bool = False
    """A proxy in front speaks TLS: cookies are sent over that alone. It needs logins."""

    proxies: tuple[str, ...] = ("127.0.0.1",)
    """Addresses or networks (``10.0.0.0/8``) of that proxy, which is believed when it says for whom
    it asks: failed logins are counted by address."""

    users: dict[str, DashboardUser] = Field(default_factory=dict)
    """By name. Without any, and without `oidc`, whoever reaches it on this machine may do
    everything."""

    oidc: OidcSettings = OidcSettings()
    session_hours: Annotated[float, Field(gt=0)] = 12.0
    """How long a login lasts."""

    days: Annotated[float, Field(gt=0, le=20_000)] = 14.0
    """Alerts older than this leave the view, unless they are still open."""

    max_alerts: Annotated[int, Field(ge=100)] = 50_000
    """Alerts in the view at most, the oldest go first: about 4 KiB of Redis each."""

    clock: Literal["wall", "event"] = "wall"
    """What a verdict's time is. `event` is for transactions of a replayed or simulated calendar:
    the newest event time in the view, or the last that `labels.horizon_days` allows."""

    workers: tuple[str, ...] = tuple(f"http://127.0.0.1:{port}" for port in (6066, 6067, 6068))
    """Health servers of the workers that the health view watches."""

    @property
    def has_logins(self) -> bool:
        """Whether people have to say who they are."""
        return bool(self.users or self.oidc.issuer)


class Webhook(Section):
    """Where alerts go by HTTP, and which of them."""

    url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    """Where events are posted to."""

    secret: Annotated[SecretStr, Field(min_length=16)]
    """What requests are signed with; after ``whsec_`` it is Base64."""

    kind: Literal["fraud", "object"] | None = None
    """Of alerts; both if unset."""

    severity: Literal["low", "medium", "high", "critical"] = "low"
    """The least."""

    statuses: tuple[Literal["new", "update", "end"], ...] = ("new", "end")
    """Messages on an alert that are sent."""

    entities: tuple[str, ...] = ("*",)
    """Cards or cameras; ``*`` and ``?`` match any text and any character."""


class WebhooksSettings(Section):
    """Alerts out to HTTP endpoints."""

    group: str = "tocsin-webhooks"
    """The Kafka consumer group of an endpoint is this, a dash, and its name; what was sent is noted
    in the Redis namespace of this name."""

    endpoints: dict[str, Webhook] = Field(default_factory=dict)
    """By name."""

    give_up_after_s: Seconds = 5_400.0
    """How long an event is tried again that is answered with an error, or not at all while others
    are taken; then it is a dead letter. The endpoint's next ones wait meanwhile."""

    patience_s: Seconds = 86_400.0
    """How long an event waits for an endpoint that is away; then it is a dead letter too."""

    first_wait_s: Seconds = 1.0
    """Before the second attempt; twice as long before each one after that, up to a minute."""

    timeout_s: Seconds = 10.0
    """For one attempt."""

    remember_days: Annotated[float, Field(gt=0)] = 7.0
    """For how long an event that was sent is not sent again."""

    def groups(self) -> dict[str, str]:
        """Name the consumer group of each endpoint."""
        return {name: f"{self.prefix}{name}" for name in self.endpoints}

    @property
    def prefix(self) -> str:
        """What the names of all these groups begin with, and of no others."""
        return f"{self.group}-"


def access_namespace(dashboard: DashboardSettings) -> str:
    """Name the place beside the view where sessions are: rebuilding the view logs nobody out."""
    return f"{dashboard.group}-access"


def picture_namespace(namespace: str) -> str:
    """Name the place beside an agent's namespace where its pictures are: no sweep meets both."""
    return f"{namespace}-pictures"
