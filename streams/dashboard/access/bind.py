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
    if is_local(settings.host):
        return
    if not settings.has_logins:
        raise SettingsError(
            f"dashboard.host is {settings.host}, which others reach, and dashboard.users is empty: "
            "run `tocsin dashboard credentials NAME` and put what it prints into tocsin.toml, or "
            "set dashboard.oidc"
        )
    if not settings.hosts:
        raise SettingsError(
            f"dashboard.host is {settings.host}, which others reach: name in dashboard.hosts "
            "under which addresses, for example ['tocsin.example']"
        )


def allowed_hosts(settings: DashboardSettings) -> frozenset[str]:
    """Name the hosts, without ports where none was set, that a request may be for.

    Another name that leads here is the trick of a page that wants to be taken for ours.
    """
    own = (settings.host,) if is_local(settings.host) else ()
    return frozenset(host.lower() for host in (*_LOCAL, *own, *settings.hosts))


def is_allowed(host: str, allowed: frozenset[str]) -> bool:
    """Whether a ``Host`` is one of `allowed`, whatever its port if that names none."""
    host = host.lower()
    name = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdigit() else host
    return host in allowed or name in allowed
