"""Where it may listen, and under which names it answers."""

from __future__ import annotations

import ipaddress
from typing import Final

from streams.errors import SettingsError
from streams.settings import DashboardSettings

_LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")


def is_local(host: str) -> bool:
    """Whether an address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_bind(settings: DashboardSettings) -> None:
    """Refuse to be reached by others without knowing who they are.

    Raises:
        SettingsError: the message says what is missing, or is no address.
    """
    for proxy in settings.proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            raise SettingsError(f"dashboard.proxies: {error}") from None
    reached = _reached_by_others(settings)
    if reached is not None and not settings.has_logins:
        raise SettingsError(
            f"{reached}, which others reach, and dashboard.users is empty: "
            "run `tocsin dashboard credentials NAME` and put what it prints into tocsin.toml, or "
            "set dashboard.oidc"
        )
    if not is_local(settings.host) and not settings.hosts:
        raise SettingsError(
            f"dashboard.host is {settings.host}, which others reach: name in dashboard.hosts "
            "under which addresses, for example ['tocsin.example']"
        )


def _reached_by_others(settings: DashboardSettings) -> str | None:
    """Name the setting by which others come here, themselves or by a proxy; None where none can."""
    if not is_local(settings.host):
        return f"dashboard.host is {settings.host}"
    for host in settings.hosts:
        if not is_local(_without_port(host.lower()).strip("[]")):
            return f"dashboard.hosts names {host}"
    return "dashboard.https says that a proxy is in front" if settings.https else None


def allowed_hosts(settings: DashboardSettings) -> frozenset[str]:
    """Name the hosts, without ports where none was set, that a request may be for.

    Another name that leads here is the trick of a page that wants to be taken for ours.
    """
    own = (settings.host,) if is_local(settings.host) else ()
    return frozenset(host.lower() for host in (*_LOCAL, *own, *settings.hosts))


def is_allowed(host: str, allowed: frozenset[str]) -> bool:
    """Whether a ``Host`` is one of `allowed`, whatever its port if that names none."""
    host = host.lower()
    return host in allowed or _without_port(host) in allowed


def _without_port(host: str) -> str:
    return host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdigit() else host
