"""After a login one goes to the page of ours that one wanted, and to no other site."""

from __future__ import annotations

import pytest

from streams.dashboard.access.target import login_address, target_of, wanted_of


@pytest.mark.parametrize(
    "path",
    [
        "/health",
        "/alerts/frames:0:7001:1:gate",
        "/alerts/a%2Fb%20c?x=1&y=%2F",
        "/?decision=confirmed",
        "/loginx",
    ],
)
def test_a_path_of_ours_is_a_target(path: str) -> None:
    assert target_of(path) == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "health",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/a//evil.example",
        "/..//evil.example",
        "https://evil.example/",
        "https:evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        " /health",
        "/\t/evil.example",
        "/\n/evil.example",
        "/health\r\nset-cookie: a=b",
        "/health\x00",
        "/health\x7f",
        "/hea lth",
        "/\u2044evil.example",
        "/\uff0fevil.example",
        "/login",
        "/login?to=/login",
        "/login/oidc",
        "/" + "a" * 1024,
    ],
)
def test_whatever_else_leads_to_the_list(text: str) -> None:
    assert target_of(text) == "/"
    assert login_address(text) == "/login"


def test_the_login_is_told_where_one_wanted_to_go() -> None:
    scope = {"path": "/alerts/a/b c", "raw_path": b"/alerts/a%2Fb%20c", "query_string": b"x=1&y"}
    assert wanted_of(scope) == "/alerts/a%2Fb%20c?x=1&y"
    assert login_address(wanted_of(scope)) == "/login?to=%2Falerts%2Fa%252Fb%2520c%3Fx%3D1%26y"
    assert wanted_of({"path": "/a b"}) == "/a%20b"
    assert login_address("/") == "/login"
