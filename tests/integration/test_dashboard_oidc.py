"""Logins by way of a real OpenID provider, as a browser makes them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from streams.devstack.ports import free_ports
from streams.schemas import decode_action
from tests.conftest import Stack
from tests.dashboard import Dashboard, dashboard_bed, serving
from tests.worker import Bed

# What the provider says of each: claims beyond the usual ones go into the ID token as they are.
PEOPLE: dict[str, dict[str, Any]] = {
    "ann": {"roles": ["tocsin-analyst"], "preferred_username": "ann"},
    "vic": {"roles": ["tocsin-viewer"], "preferred_username": "vic"},
    "bob": {"roles": ["something else"]},
    "old": {"roles": ["tocsin-analyst"], "exp": 1_000_000_000},
    "elsewhere": {"roles": ["tocsin-analyst"], "aud": "another-client"},
    "evil": {"roles": ["tocsin-analyst"], "iss": "https://evil.example"},
    "again": {"roles": ["tocsin-analyst"], "nonce": "of another login"},
}


@pytest.fixture(scope="module")
def bed(real_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    name, folder = f"o{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("oidc")
    made = dashboard_bed(real_stack.bootstrap, real_stack.redis_url, name, folder)
    yield made
    made.close()


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A provider, in a process of its own."""
    port = free_ports(1)[0]
    command = [
        sys.executable,
        "-m",
        "oidc_provider_mock",
        "--port",
        str(port),
        "--require-nonce",
        "y",
    ]
    for name, claims in PEOPLE.items():
        command += ["--user-claims", json.dumps({"sub": name, **claims})]
    log = tmp_path_factory.mktemp("provider") / "log"
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"{address}/.well-known/openid-configuration").raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
        yield address
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def dashboard(bed: Bed, issuer: str) -> Iterator[Dashboard]:
    with serving(bed, oidc={"issuer": issuer, "client_id": "tocsin", "client_secret": "x"}) as it:
        yield it


@pytest.fixture
def browser(dashboard: Dashboard) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=dashboard.address, headers={"accept": "text/html"}) as client:
        yield client


def at_provider(browser: httpx.Client, who: str) -> str:
    """Where the provider sends the browser after `who` has logged in there."""
    there = browser.get("/login/oidc")
    assert there.status_code == 303
    answer = httpx.post(there.headers["location"], data={"sub": who})
    assert answer.status_code == 302, answer.text
    return str(answer.headers["location"])


def log_in(browser: httpx.Client, who: str) -> httpx.Response:
    return browser.get(at_provider(browser, who))


def told(answer: httpx.Response) -> str:
    found = re.search(r'<p role="alert">(.*?)</p>', answer.text)
    assert found is not None, answer.text
    return found[1]


def test_an_analyst_and_a_viewer_come_in_with_their_roles(
    browser: httpx.Client, dashboard: Dashboard, bed: Bed
) -> None:
    first = browser.get("/")
    assert (first.status_code, first.headers["location"]) == (303, "/login")
    page = browser.get("/login")
    assert 'href="/login/oidc"' in page.text
    assert 'name="password"' not in page.text  # nobody has one here
    assert log_in(browser, "ann").headers["location"] == "/"
    session = browser.get("/api/session").json()
    assert (session["user"], session["role"]) == ("ann", "analyst")
    suppression = {"kind": "object", "entity": "gate", "minutes": 5}
    assert browser.post("/api/suppressions", json=suppression).status_code == 403  # no CSRF token
    csrf = {"x-csrf-token": session["csrf"]}
    assert browser.post("/api/suppressions", json=suppression, headers=csrf).status_code == 201
    assert "default-src 'self'" in browser.get("/login").headers["content-security-policy"]

    with httpx.Client(base_url=dashboard.address) as other:
        assert log_in(other, "vic").status_code == 303
        csrf = {"x-csrf-token": other.get("/api/session").json()["csrf"]}
        refused = other.post("/api/suppressions", json=suppression, headers=csrf)
        assert refused.status_code == 403
        assert other.delete("/api/session", headers=csrf).status_code == 204
        assert other.get("/api/alerts").status_code == 401
    said = [decode_action(record.value) for record in bed.read(bed.settings.topics.audit)]
    done = [(one.by, one.action, one.text) for one in said]
    for one in (
        ("ann", "login", "by OpenID"),
        ("vic", "login", "by OpenID"),
        ("vic", "logout", ""),
    ):
        assert one in done


@pytest.mark.parametrize(
    ("who", "why"),
    [
        ("bob", "has no role here"),
        ("old", "not for us: .*expired"),
        ("elsewhere", "not for us: .*aud"),
        ("evil", "not for us: .*iss"),
        ("again", "not for us: .*nonce"),
    ],
)
def test_who_is_not_vouched_for_is_told_why(browser: httpx.Client, who: str, why: str) -> None:
    answer = log_in(browser, who)
    assert answer.status_code == 403
    assert re.search(why, told(answer))
    assert browser.get("/api/alerts").status_code == 401


def test_a_login_that_another_browser_began_is_refused(
    browser: httpx.Client, dashboard: Dashboard
) -> None:
    stolen = at_provider(browser, "ann")
    with httpx.Client(base_url=dashboard.address) as victim:
        assert "was not begun here" in told(victim.get(stolen))
        at_provider(victim, "vic")  # it has begun another one
        assert "was not begun here" in told(victim.get(stolen))
        assert victim.get("/api/alerts").status_code == 401
    assert browser.get(stolen).status_code == 303
    assert "was not begun here" in told(browser.get(stolen))  # a second time


def test_a_provider_that_refuses_is_quoted_without_markup(browser: httpx.Client) -> None:
    there = browser.get("/login/oidc").headers["location"]
    (state,) = parse_qs(urlsplit(there).query)["state"]
    said = {"state": state, "error": "access_denied", "error_description": "<b>no</b>"}
    answer = browser.get("/login/oidc/callback", params=said)
    assert answer.status_code == 403
    assert told(answer) == "the login provider refuses: &lt;b&gt;no&lt;/b&gt;"


def test_without_a_provider_there_is_no_such_login(bed: Bed, tmp_path: Path) -> None:
    port = free_ports(1)[0]
    nowhere = {"issuer": f"http://127.0.0.1:{port}", "client_id": "tocsin"}
    with serving(bed, oidc=nowhere) as running:
        answer = running.client.get("/login/oidc")
    assert answer.status_code == 503
    assert told(answer) == "the login provider does not answer (ConnectError): try again"
