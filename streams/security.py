"""How a client proves who it is and hides what it says: settings to client arguments, once.

aiokafka and kafka-python name these arguments alike, so one function serves both.
"""

from __future__ import annotations

import ssl
from typing import Any

from streams.errors import SettingsError
from streams.settings import KafkaSettings


def ssl_context(kafka: KafkaSettings) -> ssl.SSLContext | None:
    """Build the TLS context, or None where the protocol has no TLS.

    The system's authorities are trusted unless `ssl_cafile` names others; host names are always
    checked. A client certificate is presented where one is set.

    Raises:
        SettingsError: a file cannot be read or is not what its setting says.
    """
    if kafka.security_protocol not in {"SSL", "SASL_SSL"}:
        return None
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_cafile)
        if kafka.ssl_certfile is not None:
            context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(
            str(path)
            for path in (kafka.ssl_cafile, kafka.ssl_certfile, kafka.ssl_keyfile)
            if path is not None
        )
        raise SettingsError(f"setting kafka.ssl_*: cannot use {files}: {error}") from None
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
