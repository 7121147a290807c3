"""Find out why Kafka does not let a client in.

Both clients say the same of a closed port, of a certificate that they do not trust and of a wrong
password: that they could not bootstrap. A single connection by itself tells them apart.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import aiokafka.errors
from aiokafka.conn import create_conn

from streams.security import security_options
from streams.settings import KafkaSettings

_TIMEOUT_S = 2.0


def knock(kafka: KafkaSettings) -> Exception | None:
    """Connect to the brokers in turn; None if one lets us in, else what tells most of the errors.

    Blocks for up to two seconds a broker, also within an event loop.
    """
    with ThreadPoolExecutor(1) as pool:  # a loop of its own
        return pool.submit(asyncio.run, _knock(kafka)).result()


async def _knock(kafka: KafkaSettings) -> Exception | None:
    options = {**security_options(kafka), "request_timeout_ms": round(_TIMEOUT_S * 1000)}
    away: Exception | None = None
    reason: Exception | None = None
    for server in kafka.bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            connection = await create_conn(host.strip("[]"), int(port), **options)
        except (ConnectionRefusedError, socket.gaierror, ValueError) as error:
            away = error
        except (OSError, aiokafka.errors.KafkaError) as error:
            # TLS 1.3 tells a client only after the handshake what it thinks of its certificate.
            reason = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
        else:
            await connection.close()
            return None
    await asyncio.sleep(0.05)  # aiokafka does not wait for the end of a connection that fails
    return reason or away


def remedy(error: Exception) -> str | None:
    """Say what is wrong with TLS and what to do, where that is what an error is about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            "shows a certificate that is not trusted: check kafka.ssl_cafile, and that "
            "kafka.bootstrap_servers has a name of the certificate"
        )
    if isinstance(error, ssl.SSLError) and "ALERT" in str(error).upper():
        return "wants another certificate of us, or one at all: check kafka.ssl_certfile"
    if isinstance(error, ssl.SSLError):
        return "speaks no TLS there: check kafka.security_protocol and the port"
    return None
