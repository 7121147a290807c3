"""One endpoint: which alerts it wants, how a request is signed, and how often it is tried.

Requests are those of `Standard Webhooks <https://www.standardwebhooks.com>`_, so that a receiver
verifies them with a library of its language: the event's id, the time, and an HMAC-SHA256 of both
and the body.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import Final

import httpx

from streams.errors import SettingsError
from streams.schemas import Alert
from streams.settings import Webhook, WebhooksSettings

log = logging.getLogger(__name__)

_SEVERITIES: Final = ("low", "medium", "high", "critical")
_LONGEST_WAIT_S: Final = 60.0
_AWAY: Final = {401, 403, 404, 405, 407, 408, 410, 421, 425, 429, 502, 503, 504}
"""Answers of an endpoint that is away, as no answer is; others of 400 to 499 will not get better.

A secret that is changed on one side first, a route that is not there yet or any more, or a proxy in
between gives 3xx, 401 to 410 or 421: all events of that time would be dead letters, which nobody
can send back.
"""

_AT_ONCE: Final = 8
"""Requests under way at one endpoint: one that comes back after a while is not run over."""

_SAY_EVERY_S: Final = 60.0
"""How often a log names an endpoint that fails: not for each of the hundreds that wait for it."""

_SKIMMED_BYTES: Final = 64 * 1024
"""Of an answer's body, which nobody looks at: a connection serves again once it is read."""


class Refused(Exception):
    """The endpoint did not take an event, however often it was tried; the message says why."""


class Endpoint:
    """Sends events to one webhook; several at once, each with attempts of its own.

    Raises:
        SettingsError: its secret or its URL is not what it says.
    """

    def __init__(
        self,
        name: str,
        hook: Webhook,
        settings: WebhooksSettings,
        client: httpx.AsyncClient,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._hook, self._settings, self._client = hook, settings, client
        self._key = _key_of(name, hook.secret.get_secret_value())
        self._url = _url_of(name, hook.url)
        self._sleep, self._now = sleep, now
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._taken = 0
        self._say_at = 0.0

    def wants(self, alert: Alert) -> bool:
        """Whether it is to get an alert."""
        hook = self._hook
        return (
            hook.kind in {None, alert.kind}
            and alert.status in hook.statuses
            and _SEVERITIES.index(alert.severity) >= _SEVERITIES.index(hook.severity)
            and any(fnmatchcase(alert.entity, pattern) for pattern in hook.entities)
        )

    async def send(self, event_id: str, body: bytes) -> None:
        """Send one event, again after growing waits where that may help.

        For `patience_s` while the endpoint is away, for `give_up_after_s` where the event may be
        what it fails at: a deploy or a database that is down gives 500 as well, for an hour.

        Raises:
            Refused: it was not taken.
        """
        settings = self._settings
        tries, taken = 0, self._taken
        waited_s, failing_s, wait_s = 0.0, 0.0, settings.first_wait_s
        while True:
            tries += 1
            why, is_away, asked_s = await self._try(event_id, body)
            if not why:
                self._taken += 1
                return
            if failing_s >= settings.give_up_after_s or waited_s >= settings.patience_s:
                raise Refused(f"{why}, after {tries} attempt{'s' * (tries > 1)}")
            self._say(why)
            wait_s = max(wait_s, asked_s)
            await self._sleep(wait_s)
            waited_s += wait_s
            # Who fails while others are taken is at fault itself, and not the endpoint away.
            if not is_away or self._taken > taken:
                failing_s += wait_s
            taken = self._taken
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _say(self, why: str) -> None:
        if (now := self._now()) >= self._say_at:
            self._say_at = now + _SAY_EVERY_S
            log.warning("webhook %s does not take alerts, which wait: %s", self.name, why)

    async def _try(self, event_id: str, body: bytes) -> tuple[str, bool, float]:
        """Send one event once.

        Returns why it was not taken, empty if it was; whether that is because the endpoint is away;
        and for how many seconds it asks to be left alone.

        Raises:
            Refused: it was not, and would not be another time.
        """
        try:
            # The client bounds each step of an answer; a receiver may take many small ones.
            async with self._slots, asyncio.timeout(self._settings.timeout_s):
                answer = await self._answer(event_id, body)
        except Exception as error:  # noqa: BLE001 - becomes a dead letter
            return _said(error), isinstance(error, (httpx.TransportError, TimeoutError)), 0.0
        if answer.is_success:
            return "", False, 0.0
        why, code = f"it answers {answer.status_code}", answer.status_code
        is_away = code in _AWAY or code < 400
        if code < 500 and not is_away:
            raise Refused(why)
        return why, is_away, _asked_for(answer)

    async def _answer(self, event_id: str, body: bytes) -> httpx.Response:
        """Post one event; of a large body the rest is left, and its connection closed."""
        asking = self._client.stream(
            "POST", self._url, content=body, headers=self.headers(event_id, body)
        )
        async with asking as answer:
            size = 0
            async for part in answer.aiter_raw():
                size += len(part)
                if size > _SKIMMED_BYTES:
                    break
        return answer

    def headers(self, event_id: str, body: bytes) -> dict[str, str]:
        """Sign a request."""
        at = str(round(self._now()))
        signed = b".".join((event_id.encode(), at.encode(), body))
        digest = hmac.new(self._key, signed, hashlib.sha256).digest()
        return {
            "content-type": "application/json",
            "user-agent": "tocsin",
            "webhook-id": event_id,
            "webhook-timestamp": at,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }


def _key_of(name: str, secret: str) -> bytes:
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise SettingsError(
            f"setting webhooks.endpoints.{name}.secret: what follows whsec_ is no Base64"
        ) from None


def _url_of(name: str, url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL as error:
        raise SettingsError(f"setting webhooks.endpoints.{name}.url: {error}") from None


def _said(error: Exception) -> str:
    """Put an error into words; what is not of HTTP by name alone, for it may quote the URL."""
    text = f": {error}" if isinstance(error, httpx.HTTPError) else ""
    return f"{type(error).__name__}{text}".rstrip(": ")


def _asked_for(answer: httpx.Response) -> float:
    """How long an endpoint asks to be left alone, in seconds, within bounds."""
    text = answer.headers.get("retry-after", "")
    return min(float(text), _LONGEST_WAIT_S) if text.isascii() and text.isdigit() else 0.0
