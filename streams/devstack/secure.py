"""The real broker once more, as one that asks who comes and what they may."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from streams.devstack.kafka import KafkaBroker
from streams.devstack.ports import HOST, free_ports
from streams.devstack.probe import registered_brokers

SUPERUSER = "admin"
"""Who comes with a certificate of this name may do everything: make users, and grant rights."""

_BROKER = "kafka"
"""Subject of the broker's certificate, with which it comes to itself."""


class SecureKafkaBroker(KafkaBroker):
    """Apache Kafka with TLS, SCRAM-SHA-512, client certificates and ACLs; nothing is in the clear.

    Who comes by a certificate is the user that its subject names. There is no user with a password
    before `SUPERUSER` makes one, and without an ACL nobody else may do anything.

    Args:
        jars: directory that `make kafka` fills.
        certificates: folder that ``ops/secure/certificates.sh`` fills, with ``ca.pem`` and, for
            127.0.0.1, ``kafka.pem``.
        properties: as of `KafkaBroker`.

    Attributes:
        bootstrap: ``host:port`` for clients with a password (``SASL_SSL``).
        mutual_tls: ``host:port`` for clients with a certificate (``SSL``).
    """

    name: ClassVar[str] = "secure kafka"

    def __init__(
        self,
        jars: Path,
        certificates: Path,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        scram, mutual, controller = (f"{HOST}:{port}" for port in free_ports(3))
        listeners = f"SCRAM://{scram},MUTUAL://{mutual}"
        secured = {
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"{listeners},CONTROLLER://{controller}",
            "advertised.listeners": listeners,
            "listener.security.protocol.map": "SCRAM:SASL_SSL,MUTUAL:SSL,CONTROLLER:SSL",
            "inter.broker.listener.name": "MUTUAL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(certificates / "kafka.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(certificates / "ca.pem"),
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.controller.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.scram.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{SUPERUSER};User:{_BROKER}",
        }
        super().__init__(jars, {**secured, **(properties or {})})
        self.bootstrap, self.mutual_tls = scram, mutual
        self._certificates = certificates

    @override
    def answers(self) -> bool:
        """Whether the broker has joined its own cluster; it is asked as one that it knows."""
        host, _, port = self.mutual_tls.rpartition(":")
        context = ssl.create_default_context(cafile=self._certificates / "ca.pem")
        context.load_cert_chain(self._certificates / f"{_BROKER}.pem")
        try:
            return registered_brokers(host, int(port), context=context) > 0
        except OSError:
            return False
