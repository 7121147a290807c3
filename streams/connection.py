"""Reaching Kafka: the arguments every client gets, and every client's errors as ours.

aiokafka and kafka-python each have an error tree of their own with the same names in it; this is
the one place that knows them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import aiokafka.errors
import kafka.errors
from aiokafka import AIOKafkaProducer

from streams.ending import end
from streams.errors import BrokerError
from streams.knock import knock, remedy
from streams.security import security_options
from streams.settings import KafkaSettings

KAFKA_ERRORS = (aiokafka.errors.KafkaError, kafka.errors.KafkaError)

_UNREACHABLE = {
    "KafkaConnectionError",
    "KafkaTimeoutError",
    "NoBrokersAvailable",
    "NodeNotReadyError",
    "RequestTimedOutError",
}
_UNAUTHENTICATED = {
    "AuthenticationFailedError",
    "AuthenticationMethodNotSupported",
    "IllegalSaslStateError",
    "SaslAuthenticationError",
    "SaslAuthenticationFailed",
    "SaslAuthenticationFailedError",
    "UnsupportedSaslMechanismError",
}


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Give the arguments that any aiokafka or kafka-python client takes.

    Raises:
        SettingsError: the security settings contradict each other.
    """
    return {"bootstrap_servers": kafka.bootstrap_servers, **security_options(kafka)}


def consumer_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Give the arguments of any consumer besides: it commits by itself, or never.

    Raises:
        SettingsError: as `client_options` does.
    """
    return {
        **client_options(kafka),
        "enable_auto_commit": False,
        "isolation_level": kafka.isolation_level,
    }


def as_broker_error(error: Exception, settings: KafkaSettings) -> BrokerError:
    """Say in one line what a client's error means and what to do about it.

    Blocks for seconds where the clients do not say why they could not connect: see `knock`.
    """
    if type(error).__name__ in _UNREACHABLE and "bootstrap" in str(error):
        error = knock(settings) or error
    return BrokerError(f"Kafka at {settings.bootstrap_servers} {_meaning(error, settings)}")


def _meaning(error: Exception, settings: KafkaSettings) -> str:
    name, detail = type(error).__name__, _one_line(error)
    advice = remedy(error)
    if advice is not None:
        text = advice
    elif name in _UNAUTHENTICATED:
        text = (
            f"refuses the credentials of {settings.sasl_username!r} "
            f"({settings.sasl_mechanism}): check kafka.sasl_*"
        )
    elif name.endswith("AuthorizationFailedError"):
        kind = name.removesuffix("AuthorizationFailedError").lower()
        if kind == "cluster":  # what an idempotent producer hears that may write to no topic at all
            kind = "cluster right, or a topic"
        text = f"does not allow this: its ACLs lack a {kind} right of `tocsin rights list`"
    elif isinstance(error, (ConnectionRefusedError, socket.gaierror)):
        text = "cannot be reached: is it running, and is kafka.bootstrap_servers right?"
    elif name == "KafkaConnectionError":
        protocol = settings.security_protocol
        text = f"hangs up: check kafka.security_protocol ({protocol}) and the port"
        if protocol == "SSL":  # it may have said why, but its alert is lost when it is too quick
            text += ", and whether it wants a certificate of us: kafka.ssl_certfile"
    elif name in _UNREACHABLE or isinstance(error, TimeoutError):
        text = "does not answer in time"
    else:
        text = f"fails: {name}"
    return f"{text} ({detail})"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def broker_errors(settings: KafkaSettings) -> Iterator[None]:
    """Turn what a Kafka client raises inside the block into `BrokerError`; it may block, as above.

    Within an event loop `async_broker_errors` does it.
    """
    try:
        yield
    except KAFKA_ERRORS as error:
        raise as_broker_error(error, settings) from error
    except OSError as error:
        raise as_broker_error(error, settings) from error


@asynccontextmanager
async def async_broker_errors(settings: KafkaSettings) -> AsyncIterator[None]:
    """Do the same in an event loop, which goes on while a port is tried."""
    try:
        yield
    except (*KAFKA_ERRORS, OSError) as error:
        raise await broker_error_of(error, settings) from error


@asynccontextmanager
async def in_time(
    kafka: KafkaSettings, within_s: float | None, otherwise: str
) -> AsyncIterator[None]:
    """Give up what takes longer: an idempotent producer tries for ever, and somebody may wait.

    Raises:
        BrokerError: it took longer; says `otherwise`, and after how long.
    """
    try:
        async with asyncio.timeout(within_s):
            yield
    except TimeoutError:
        said = f"{otherwise} within {within_s:g} s"
        raise BrokerError(f"Kafka at {kafka.bootstrap_servers} {said}") from None


async def broker_error_of(error: Exception, settings: KafkaSettings) -> BrokerError:
    """Say what a client's error means, as `as_broker_error`, without blocking the event loop."""
    return await asyncio.to_thread(as_broker_error, error, settings)


async def start_producer(settings: KafkaSettings, **options: Any) -> AIOKafkaProducer:
    """Start an aiokafka producer with ``acks=all``, idempotent where the broker can do it.

    `options` go to `AIOKafkaProducer`. The embedded broker answers aiokafka's version of the
    request for a producer id with an error; there a retry after a lost answer may write a batch
    twice, still in order, because aiokafka keeps one batch of a partition under way.

    Raises:
        BrokerError: no broker answers, or it refuses us.
        SettingsError: the security settings contradict each other.
    """
    shared = {**client_options(settings), "max_request_size": settings.max_request_bytes}
    async with async_broker_errors(settings):
        try:
            return await _started(enable_idempotence=True, **shared, **options)
        except aiokafka.errors.UnknownError:
            return await _started(acks="all", **shared, **options)


async def _started(**options: Any) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(**options)
    try:
        await producer.start()
    except BaseException:
        await producer.stop()
        raise
    return producer


async def end_producer(producer: AIOKafkaProducer, within_s: float) -> None:
    """Stop a producer after what is under way, or without it where that takes too long.

    An idempotent producer tries for ever, and its `stop` waits for that; one that is only left
    would still send when the broker is back.
    """
    stopping = asyncio.ensure_future(producer.stop())
    await asyncio.wait([stopping], timeout=within_s)
    if not stopping.done():
        stopping.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(producer.client.close(), within_s)
        if (sending := producer._sender.sender_task) is not None:  # noqa: SLF001 - no other way
            await end(sending, again_s=0.1)  # it waits for the end of others
        for batch in _left(producer._message_accumulator):  # noqa: SLF001
            batch.future.cancel()
    await asyncio.gather(stopping, return_exceptions=True)


def _left(batches: Any) -> list[Any]:
    """List what was handed to a producer and has no fate."""
    queued = [batch for some in batches._batches.values() for batch in some]  # noqa: SLF001
    return [*queued, *batches._pending_batches]  # noqa: SLF001
