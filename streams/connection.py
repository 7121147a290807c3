"""Reaching Kafka: the arguments every client gets, and every client's errors as ours.

aiokafka and kafka-python each have an error tree of their own with the same names in it; this is
the one place that knows them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiokafka.errors
import kafka.errors
from aiokafka import AIOKafkaProducer

from streams.errors import BrokerError
from streams.security import security_options
from streams.settings import KafkaSettings

_KAFKA_ERRORS = (aiokafka.errors.KafkaError, kafka.errors.KafkaError)

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
    "SaslAuthenticationFailedError",
    "UnsupportedSaslMechanismError",
}


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Give the arguments that any aiokafka or kafka-python client takes.

    Raises:
        SettingsError: the security settings contradict each other.
    """
    return {"bootstrap_servers": kafka.bootstrap_servers, **security_options(kafka)}


def as_broker_error(error: Exception, settings: KafkaSettings) -> BrokerError:
    """Say in one line what a client's error means and what to do about it."""
    name = type(error).__name__
    where = f"Kafka at {settings.bootstrap_servers}"
    detail = " ".join(str(error).split())
    if name in _UNAUTHENTICATED:
        return BrokerError(
            f"{where} refuses the credentials of {settings.sasl_username!r} "
            f"({settings.sasl_mechanism}): check kafka.sasl_* ({detail})"
        )
    if name.endswith("AuthorizationFailedError"):
        return BrokerError(f"{where} does not allow this: grant the right in its ACLs ({detail})")
    if name in _UNREACHABLE and "bootstrap" in detail:
        # Both clients say the same of a closed port and of a broker that hangs up on them.
        if _accepts_connections(settings.bootstrap_servers):
            return BrokerError(f"{where} hangs up: check {_suspects(settings)} ({detail})")
        return BrokerError(
            f"{where} cannot be reached: is it running, and is kafka.bootstrap_servers right? "
            f"({detail})"
        )
    if name in _UNREACHABLE:
        return BrokerError(f"{where} does not answer in time ({detail})")
    return BrokerError(f"{where}: {name}: {detail}")


def _suspects(settings: KafkaSettings) -> str:
    """Name what may be wrong where the port is open and the conversation ends at once."""
    protocol = f"kafka.security_protocol ({settings.security_protocol})"
    if settings.security_protocol.startswith("SASL_"):
        return (
            f"kafka.sasl_username ({settings.sasl_username!r}), its password, "
            f"kafka.sasl_mechanism ({settings.sasl_mechanism}) and {protocol}"
        )
    return protocol


def _accepts_connections(servers: str) -> bool:
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
        except (OSError, ValueError):
            continue
        return True
    return False


@contextmanager
def broker_errors(settings: KafkaSettings) -> Iterator[None]:
    """Turn what a Kafka client raises inside the block into `BrokerError`."""
    try:
        yield
    except _KAFKA_ERRORS as error:
        raise as_broker_error(error, settings) from error
    except OSError as error:
        raise BrokerError(f"Kafka at {settings.bootstrap_servers}: {error}") from error


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
    with broker_errors(settings):
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
