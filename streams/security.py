"""How a client proves who it is and hides what it says: settings to client arguments, once.

aiokafka and kafka-python name these arguments alike, so one function serves both.
"""

from __future__ import annotations

import ssl
from typing import Any

from streams.errors import SettingsError
from streams.settings import KafkaSettings, RedisSettings, TlsSettings


def ssl_context(kafka: KafkaSettings) -> ssl.SSLContext | None:
    """Build Kafka's TLS context as `tls_context` does; None where the protocol has no TLS.

    Raises:
        SettingsError: as `tls_context`.
    """
    has_tls = kafka.security_protocol in {"SSL", "SASL_SSL"}
    return tls_context(kafka, "kafka") if has_tls else None


def tls_context(tls: TlsSettings, section: str) -> ssl.SSLContext:
    """Build a client's TLS context; host names are always checked.

    The system's authorities are trusted unless `ssl_cafile` names others. A client certificate is
    presented where one is set.

    Raises:
        SettingsError: a file cannot be read or is not what its setting says, or a key is encrypted
            and its password missing or wrong.
    """
    try:
        context = ssl.create_default_context(cafile=tls.ssl_cafile)
        if tls.ssl_certfile is not None:
            # A function, because OpenSSL asks the terminal for a password that is None.
            context.load_cert_chain(
                tls.ssl_certfile, tls.ssl_keyfile, tls.ssl_password.get_secret_value
            )
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(
            str(path)
            for path in (tls.ssl_cafile, tls.ssl_certfile, tls.ssl_keyfile)
            if path is not None
        )
        raise SettingsError(f"setting {section}.ssl_*: cannot use {files}: {error}") from None
    return context


def security_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Give the security arguments of an aiokafka or kafka-python client.

    Raises:
        SettingsError: SASL without TLS that was not opted in, SASL without a user name, or a
            certificate that cannot be used.
    """
    options: dict[str, Any] = {
        "security_protocol": kafka.security_protocol,
        "ssl_context": ssl_context(kafka),
    }
    if not kafka.security_protocol.startswith("SASL_"):
        return options
    if kafka.security_protocol == "SASL_PLAINTEXT" and not kafka.allow_sasl_plaintext:
        raise SettingsError(
            "setting kafka.security_protocol: SASL_PLAINTEXT sends the password in the clear: "
            "use SASL_SSL, or set kafka.allow_sasl_plaintext on a network that you trust"
        )
    if not kafka.sasl_username:
        raise SettingsError(
            f"setting kafka.sasl_username is empty, and {kafka.security_protocol} needs one"
        )
    options["sasl_mechanism"] = kafka.sasl_mechanism
    options["sasl_plain_username"] = kafka.sasl_username
    options["sasl_plain_password"] = kafka.sasl_password.get_secret_value()
    return options


def redis_options(redis: RedisSettings) -> dict[str, Any]:
    """Give the arguments of a redis-py client that say who it is and whom it trusts.

    Raises:
        SettingsError: a certificate that cannot be used, or that is set where there is no TLS.
    """
    password = redis.password.get_secret_value()
    options: dict[str, Any] = {
        **({"username": redis.username} if redis.username else {}),
        **({"password": password} if password else {}),
    }
    if not redis.url.startswith("rediss://"):
        if redis.ssl_cafile or redis.ssl_certfile:
            raise SettingsError(
                "setting redis.ssl_*: redis.url begins with redis://, which has no TLS: "
                "write rediss://"
            )
        return options
    tls_context(redis, "redis")  # says in one line what redis-py would say at each attempt
    key_password = redis.ssl_password.get_secret_value()
    return {
        **options,
        "ssl_ca_certs": redis.ssl_cafile and str(redis.ssl_cafile),
        "ssl_certfile": redis.ssl_certfile and str(redis.ssl_certfile),
        "ssl_keyfile": redis.ssl_keyfile and str(redis.ssl_keyfile),
        "ssl_password": key_password or None,
    }
