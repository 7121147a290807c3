"""Who may come in, and what they are refused."""

from __future__ import annotations

from typing import Any

import pytest

from streams.dashboard.access.bind import allowed_hosts, check_bind, is_allowed, is_local
from streams.dashboard.access.policy import security_headers, with_nonce
from streams.dashboard.access.users import Users, hash_password, hash_token, new_token
from streams.errors import SettingsError
from streams.settings import DashboardSettings, DashboardUser

PASSWORD = "correct horse battery"
ANN = DashboardUser.model_validate({"role": "analyst", "password": hash_password(PASSWORD)})


def test_without_users_it_listens_to_this_machine_alone() -> None:
    check_bind(DashboardSettings())
    with pytest.raises(SettingsError, match=r"dashboard.users is empty: run `tocsin dashboard"):
        check_bind(DashboardSettings(host="0.0.0.0"))


@pytest.mark.parametrize(
    "behind",
    [{"hosts": ("tocsin.example",)}, {"hosts": ("localhost", "10.0.0.7:443")}, {"https": True}],
)
def test_a_proxy_in_front_lets_nobody_in_without_users(behind: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"others reach, and dashboard.users is empty"):
        check_bind(DashboardSettings(**behind))
    check_bind(DashboardSettings(**behind, users={"ann": ANN}))


def test_names_of_this_machine_need_no_users() -> None:
    check_bind(DashboardSettings(hosts=("localhost:9000", "127.0.0.2", "[::1]:8090", "[::1]")))


def test_a_public_address_needs_the_names_under_which_it_is_reached() -> None:
    with pytest.raises(SettingsError, match=r"name in dashboard\.hosts"):
        check_bind(DashboardSettings(host="0.0.0.0", users={"ann": ANN}))
    check_bind(DashboardSettings(host="0.0.0.0", users={"ann": ANN}, hosts=("tocsin.example",)))


def test_a_proxy_is_an_address_or_a_network() -> None:
    check_bind(DashboardSettings(proxies=("10.0.0.7", "172.16.0.0/12", "fd00::/8")))
    for proxy in ("*", "proxy.example", "10.0.0.7/8"):
        with pytest.raises(SettingsError, match=r"dashboard\.proxies"):
            check_bind(DashboardSettings(proxies=(proxy,)))


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("web", False)],
)
def test_what_is_local(host: str, local: bool) -> None:
    assert is_local(host) is local


@pytest.mark.parametrize(
    ("host", "taken"),
    [
        ("127.0.0.1:8090", True),
        ("localhost", True),
        ("[::1]:8090", True),
        ("Tocsin.Example:1", True),
        ("other.example:443", True),
        ("other.example", False),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_a_request_for_another_name_is_refused(host: str, taken: bool) -> None:
    settings = DashboardSettings(hosts=("tocsin.example", "other.example:443"))
    assert is_allowed(host, allowed_hosts(settings)) is taken


def test_a_password_is_checked_and_a_wrong_one_or_a_stranger_is_nobody() -> None:
    users = Users({"ann": ANN})

    assert users.by_password("ann", PASSWORD) == users.find("ann")
    assert users.by_password("ann", PASSWORD + "!") is None
    assert users.by_password("bob", PASSWORD) is None


def test_a_token_names_its_user_whose_password_it_is_not() -> None:
    token, kept = new_token()
    users = Users({"bot": DashboardUser.model_validate({"token": kept})})

    found = users.by_token(token)
    assert found is not None
    assert (found.name, found.role, found.may_act) == ("bot", "viewer", False)
    assert users.by_token(kept) is None
    assert users.by_password("bot", "") is None
    assert hash_token(token) == kept


@pytest.mark.parametrize(
    "user", [{}, {"password": "plain"}, {"token": "abc"}, {"password": "$argon2id$nonsense"}]
)
def test_a_user_without_a_usable_secret_is_refused(user: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="tocsin dashboard credentials"):
        Users({"ann": DashboardUser.model_validate(user)})


def test_only_scripts_of_ours_run() -> None:
    policy = security_headers("abc", https=False)["content-security-policy"]

    assert "script-src 'self' 'nonce-abc' 'unsafe-eval';" in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]
    assert "frame-ancestors 'none'" in policy
    assert with_nonce(b"<script>1</script>", "abc") == b'<script nonce="abc">1</script>'
