"""One webhook: what it wants, how requests are signed, and for how long one is tried."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from streams.errors import SettingsError
from streams.settings import Webhook, WebhooksSettings
from streams.webhooks import endpoint as endpoint_module
from streams.webhooks.endpoint import Endpoint, Refused
from tests.dashboard import a_fraud, an_object

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
BODY = b'{"id": 1}'
SHORT = WebhooksSettings(give_up_after_s=15, timeout_s=0.1, patience_s=300)
Answer = Callable[[httpx.Request], httpx.Response]


def hook(**settings: Any) -> Webhook:
    return Webhook.model_validate({"url": "http://soc.test/", "secret": SECRET, **settings})


class Empty(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b""


def unread(answer: Answer) -> Answer:
    """Answer as a server does: an `httpx.Response` without a stream comes with its body read."""

    def answered(request: httpx.Request) -> httpx.Response:
        made = answer(request)
        if not made.is_stream_consumed:
            return made
        return httpx.Response(made.status_code, headers=made.headers, stream=Empty())

    return answered


def run(
    answer: Answer,
    use: Callable[[Endpoint], Any],
    *,
    at: float = 1_700.0,
    patience: WebhooksSettings = SHORT,
    **settings: Any,
) -> list[float]:
    """Use an endpoint that answers so; returns how long it slept."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    async def inside() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(unread(answer))) as client:
            made = Endpoint("soc", hook(**settings), patience, client, sleep=sleep, now=lambda: at)
            await use(made)

    asyncio.run(inside())
    return waits


def test_a_request_is_signed_as_standard_webhooks_are() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(204)

    assert run(answer, lambda one: one.send("a:1:0", BODY)) == []
    (request,) = seen
    signed = hmac.new(b"0123456789abcdef01234567", b"a:1:0.1700." + BODY, hashlib.sha256)
    expected = "v1," + base64.b64encode(signed.digest()).decode()
    assert request.content == BODY
    assert request.headers["webhook-id"] == "a:1:0"
    assert request.headers["webhook-signature"] == expected


def test_the_signature_of_a_known_request_is_the_known_one() -> None:
    """The example of the Standard Webhooks specification, as its libraries test it."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'

    async def use(endpoint: Endpoint) -> None:
        headers = endpoint.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", body)
        expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        assert headers["webhook-signature"] == expected

    run(lambda request: httpx.Response(200), use, at=1614265330.0, secret=secret)


def test_what_may_pass_is_tried_again_after_growing_waits() -> None:
    answers = iter([500, 429, 200])

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(next(answers), headers={"retry-after": "7"})

    assert run(answer, lambda one: one.send("a", BODY)) == [7.0, 14.0]


@pytest.mark.parametrize("status", [400, 406, 409, 413, 422])
def test_what_will_not_pass_is_refused_at_once(status: int) -> None:
    async def use(endpoint: Endpoint) -> None:
        with pytest.raises(Refused, match=rf"it answers {status}$"):
            await endpoint.send("a", BODY)

    assert run(lambda request: httpx.Response(status), use) == []


@pytest.mark.parametrize("takes_others", [False, True])
def test_an_hour_of_errors_loses_nothing_and_is_told(
    caplog: pytest.LogCaptureFixture, *, takes_others: bool
) -> None:
    """As a deploy or a database that is down gives, for all events or for those of one kind."""
    hour, waits = 3_600.0, list[float]()

    def answer(request: httpx.Request) -> httpx.Response:
        is_well = takes_others and request.headers["webhook-id"] == "other"
        return httpx.Response(200 if is_well or sum(waits) >= hour else 500)

    async def use(endpoint: Endpoint) -> None:
        async def sleep(seconds: float) -> None:
            waits.append(seconds)
            if takes_others:
                await endpoint.send("other", BODY)

        endpoint._sleep = sleep
        await endpoint.send("a", BODY)

    run(answer, use, patience=WebhooksSettings())
    assert sum(waits) >= hour
    assert max(waits) == 60.0
    ours = [one.getMessage() for one in caplog.records if one.name == endpoint_module.log.name]
    (said,) = ours  # the clock of this test stands still
    assert said == "webhook soc does not take alerts, which wait: it answers 500"


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 405, 407, 410, 421])
def test_an_endpoint_that_lets_nobody_in_for_a_while_has_lost_nothing(status: int) -> None:
    left = iter([status] * 8)

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(next(left, 200))

    assert len(run(answer, lambda one: one.send("a", BODY))) == 8


def test_each_event_waits_by_itself_while_an_endpoint_is_away_and_not_for_ever() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async def use(endpoint: Endpoint) -> None:
        for event in "ab":
            with pytest.raises(Refused, match="ConnectError: refused, after 11 attempts"):
                await endpoint.send(event, BODY)

    growing = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    assert run(answer, use) == [*growing, *[60.0] * 4] * 2


def test_an_endpoint_that_comes_back_after_minutes_has_lost_nothing() -> None:
    left = iter([502] * 8)

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(next(left, 200))

    assert len(run(answer, lambda one: one.send("a", BODY))) == 8


def test_an_event_that_gets_no_answer_while_others_are_taken_is_at_fault_itself() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers["webhook-id"] == "poison":
            raise httpx.ReadError("closed")
        return httpx.Response(200)

    async def use(endpoint: Endpoint) -> None:
        poison = asyncio.ensure_future(endpoint.send("poison", BODY))
        for number in range(1000):
            if poison.done():
                break
            await endpoint.send(str(number), BODY)
            await asyncio.sleep(0)
        with pytest.raises(Refused, match=r"closed, after [5-7] attempts"):
            await poison

    run(answer, use)


def test_an_error_that_is_not_of_http_is_a_refusal_that_does_not_quote_it() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise UnicodeError("http://soc.test/a-secret-path")

    async def use(endpoint: Endpoint) -> None:
        with pytest.raises(Refused, match=r"^UnicodeError, after 5 attempts$"):
            await endpoint.send("a", BODY)

    run(answer, use)


def test_of_a_large_answer_the_rest_is_left() -> None:
    read: list[bytes] = []

    class Flood(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for _ in range(100):
                read.append(b"." * 16_384)
                yield read[-1]

    assert (
        run(lambda request: httpx.Response(200, stream=Flood()), lambda e: e.send("a", BODY)) == []
    )
    assert len(read) == 5


def test_an_answer_that_does_not_end_is_no_answer() -> None:
    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                await asyncio.sleep(0.01)
                yield b"."

    async def use(endpoint: Endpoint) -> None:
        with pytest.raises(Refused, match=r"^TimeoutError, after 11 attempts$"):
            await endpoint.send("a", BODY)

    run(lambda request: httpx.Response(200, stream=Drip()), use)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, {"fraud", "thing", "end"}),
        ({"kind": "fraud"}, {"fraud"}),
        ({"severity": "high"}, {"fraud"}),
        ({"statuses": ["end"]}, {"end"}),
        ({"entities": ["ya*", "x"]}, {"thing", "end"}),
        ({"entities": []}, set()),
    ],
)
def test_filters(settings: dict[str, Any], wanted: set[str]) -> None:
    alerts = {
        "fraud": replace(a_fraud(1), severity="critical"),
        "thing": an_object(1),
        "update": an_object(1, 1, status="update"),
        "end": an_object(1, 2, status="end"),
    }

    async def use(endpoint: Endpoint) -> None:
        assert {name for name, alert in alerts.items() if endpoint.wants(alert)} == wanted

    run(lambda request: httpx.Response(200), use, **settings)


def test_a_secret_that_is_no_base64_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"webhooks\.endpoints\.soc\.secret"):
        run(lambda request: httpx.Response(200), lambda one: one, secret="whsec_not base 64 at all")


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"webhooks\.endpoints\.soc\.url: Invalid port"):
        run(lambda request: httpx.Response(200), lambda one: one, url="http://soc.test:x/")
