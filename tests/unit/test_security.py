"""Security settings to client arguments, and client errors to one line."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import aiokafka.errors
import kafka.errors
import pytest

from streams.connection import as_broker_error, broker_errors
from streams.errors import BrokerError, SettingsError
from streams.security import redis_options, security_options
from streams.settings import KafkaSettings, RedisSettings


def settings(**values: object) -> KafkaSettings:
    return KafkaSettings.model_validate(values)


def test_plaintext_needs_nothing() -> None:
    assert security_options(settings()) == {"security_protocol": "PLAINTEXT", "ssl_context": None}


def test_tls_always_checks_the_certificate_and_the_host_name() -> None:
    context = security_options(settings(security_protocol="SSL"))["ssl_context"]

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_sasl_without_tls_is_refused_unless_opted_in() -> None:
    clear = {"security_protocol": "SASL_PLAINTEXT", "sasl_username": "u", "sasl_password": "p"}

    with pytest.raises(SettingsError, match="password in the clear"):
        security_options(settings(**clear))

    options = security_options(settings(**clear, allow_sasl_plaintext=True))
    assert options["sasl_plain_username"] == "u"
    assert options["sasl_plain_password"] == "p"
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"


def test_sasl_without_a_user_name_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"kafka\.sasl_username is empty"):
        security_options(settings(security_protocol="SASL_SSL"))


def test_a_certificate_that_is_none_is_a_settings_error(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"

    for content in (None, "not a certificate"):
        if content is not None:
            file.write_text(content)
        with pytest.raises(SettingsError, match=r"kafka\.ssl_\*: cannot use .*ca\.pem"):
            security_options(settings(security_protocol="SSL", ssl_cafile=file))


def test_an_encrypted_key_is_never_asked_for_on_the_terminal(
    certificates: Path, tmp_path: Path
) -> None:
    sealed = tmp_path / "sealed.pem"
    command = ["openssl", "pkey", "-in", certificates / "labels.pem", "-aes256"]
    key = subprocess.run([*command, "-passout", "pass:hunter2"], check=True, capture_output=True)
    sealed.write_bytes(key.stdout)
    given = {
        "security_protocol": "SSL",
        "ssl_certfile": certificates / "labels.pem",
        "ssl_keyfile": sealed,
    }

    with pytest.raises(SettingsError, match=r"kafka\.ssl_\*: cannot use .*sealed\.pem"):
        security_options(settings(**given))

    assert security_options(settings(**given, ssl_password="hunter2"))["ssl_context"] is not None


def test_redis_takes_a_user_and_certificates(certificates: Path) -> None:
    plain = RedisSettings.model_validate({"username": "fraud", "password": "hunter2"})
    assert redis_options(plain) == {"username": "fraud", "password": "hunter2"}
    assert redis_options(RedisSettings()) == {}

    tls = {"ssl_cafile": certificates / "ca.pem", "ssl_certfile": certificates / "labels.pem"}
    options = redis_options(RedisSettings.model_validate({"url": "rediss://cache", **tls}))
    assert options["ssl_ca_certs"] == str(certificates / "ca.pem")

    with pytest.raises(SettingsError, match="write rediss://"):
        redis_options(RedisSettings.model_validate(tls))
    missing = {"url": "rediss://cache", "ssl_cafile": "nowhere.pem"}
    with pytest.raises(SettingsError, match=r"redis\.ssl_\*: cannot use nowhere\.pem"):
        redis_options(RedisSettings.model_validate(missing))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (kafka.errors.KafkaTimeoutError("no"), "does not answer in time"),
        (kafka.errors.KafkaTimeoutError("Unable to bootstrap from x"), "cannot be reached"),
        (aiokafka.errors.KafkaConnectionError("Unable to bootstrap"), "cannot be reached"),
        (kafka.errors.SaslAuthenticationFailedError("no"), "refuses the credentials of 'u'"),
        (aiokafka.errors.AuthenticationFailedError("no"), "refuses the credentials of 'u'"),
        (aiokafka.errors.TopicAuthorizationFailedError("t"), "ACLs"),
        (aiokafka.errors.MessageSizeTooLargeError("9 bytes"), "MessageSizeTooLargeError"),
        (ConnectionResetError("gone"), "gone"),
    ],
)
def test_an_error_of_either_client_becomes_one_line(error: Exception, says: str) -> None:
    kafka_settings = settings(sasl_username="u", bootstrap_servers="127.0.0.1:1")

    with pytest.raises(BrokerError, match=says) as caught, broker_errors(kafka_settings):
        raise error

    assert "\n" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)


def test_a_client_error_of_several_lines_becomes_one() -> None:
    error = as_broker_error(aiokafka.errors.KafkaError("first\n  second"), settings())

    assert "\n" not in str(error)


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that treats each connection with `answer` and hangs up; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):  # closed by the end of the block
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


COULD_NOT = kafka.errors.KafkaTimeoutError("Unable to bootstrap from x")


def test_a_port_that_is_open_and_hangs_up_names_the_security_settings() -> None:
    with listening(lambda connection: None) as address:
        error = as_broker_error(COULD_NOT, settings(bootstrap_servers=f"127.0.0.1:1, {address}"))

    assert "hangs up: check kafka.security_protocol (PLAINTEXT) and the port" in str(error)


def test_what_tls_lacks_is_told_apart(certificates: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates / "kafka.pem")

    def hello(connection: socket.socket) -> None:
        with server.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)

    def said(address: str, **given: object) -> str:
        servers = {"bootstrap_servers": address, "security_protocol": "SSL"}
        return str(as_broker_error(COULD_NOT, settings(**servers, **given)))

    with listening(hello) as address:
        untrusted = said(address)
        trusted = said(address, ssl_cafile=certificates / "ca.pem")
        server.verify_mode = ssl.CERT_REQUIRED
        server.load_verify_locations(certificates / "ca.pem")
        unnamed = said(address, ssl_cafile=certificates / "ca.pem")
    with listening(lambda connection: connection.sendall(b"HTTP/1.1 400\r\n\r\n")) as address:
        plain = said(address)

    assert "a certificate that is not trusted: check kafka.ssl_cafile" in untrusted
    assert "hangs up" in trusted
    assert "certificate of us" in unnamed
    assert "kafka.ssl_certfile" in unnamed
    assert "speaks no TLS there" in plain
