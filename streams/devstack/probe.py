"""Ask a Kafka broker, in its own protocol and without a client, whether it serves requests."""

import socket
import ssl
import struct
from contextlib import ExitStack

METADATA = 3  # API key
VERSION = 1  # the oldest version that Kafka 4 and Tansu both speak with a flat, short answer


def registered_brokers(
    host: str, port: int, timeout_s: float = 1.0, context: ssl.SSLContext | None = None
) -> int:
    """Return how many brokers the cluster metadata lists; a broker lists itself when it is ready.

    It is asked over TLS where a `context` is given.

    See "Metadata Request (Version: 1)" in the protocol guide of Apache Kafka.

    Raises:
        OSError: the broker cannot be reached, or closes the connection without an answer.
    """
    # Header: API key, version, correlation id, client id (length, text); body: no topics.
    request = struct.pack(">hhih6si", METADATA, VERSION, 1, 6, b"tocsin", 0)
    with ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((host, port), timeout_s))
        if context is not None:
            connection = stack.enter_context(context.wrap_socket(connection, server_hostname=host))
        connection.settimeout(timeout_s)
        connection.sendall(struct.pack(">i", len(request)) + request)
        with connection.makefile("rb") as answer:
            head = answer.read(12)  # size, correlation id, number of brokers
    if len(head) < 12:
        raise ConnectionError(f"{host}:{port} closed the connection without an answer")
    _, _, brokers = struct.unpack(">iii", head)
    return int(brokers)
