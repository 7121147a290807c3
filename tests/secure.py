"""A Kafka and a Redis that refuse whatever is not granted, and every part's own settings there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from streams.admin import connect
from streams.devstack import SUPERUSER, RedisServer, SecureKafkaBroker
from streams.rights import ROLES, kafka_rights, redis_user
from streams.settings import Settings, load_settings
from tests.conftest import DURABLE, KAFKA_JARS, KAFKA_PROPERTIES, REDIS_SERVER, started
from tests.worker import Bed

STRANGER = "stranger"
"""A user whom both servers know, and who may read alerts and write dead letters of them."""


def password_of(user: str) -> str:
    return f'{user}\'s "pass\\word", 1@2:3/4'


@dataclass(frozen=True)
class Secure:
    """Both servers, with every role a user of its own in each."""

    bootstrap: str
    mutual_tls: str
    redis_url: str
    certificates: Path

    def settings(self, user: str, **sections: Mapping[str, Any]) -> Settings:
        """What the one who plays a role sets, and changes of it."""
        authority = {"ssl_cafile": self.certificates / "ca.pem"}
        own = {
            "kafka": {
                **authority,
                "bootstrap_servers": self.bootstrap,
                "security_protocol": "SASL_SSL",
                "sasl_username": user,
                "sasl_password": password_of(user),
                "session_timeout_s": 6.0,
                "heartbeat_interval_s": 1.0,
            },
            "redis": {
                **authority,
                "url": self.redis_url,
                "username": user,
                "password": password_of(user),
                "timeout_s": 2.0,
            },
            "topics": {"partitions": 2},
            "health": {"port": 0},
        }
        names = own.keys() | sections.keys()
        return load_settings(
            **{name: {**own.get(name, {}), **sections.get(name, {})} for name in names}
        )

    def bed(self, user: str, folder: Path, **sections: Mapping[str, Any]) -> Bed:
        return Bed(self.settings(user, **sections), folder)

    def administrator(self) -> Settings:
        """Who makes users and grants rights, and has nothing but a certificate."""
        return self.settings(SUPERUSER, kafka=self.by_certificate(SUPERUSER))

    def by_certificate(self, user: str) -> dict[str, Any]:
        """Changes of the section `kafka` for one who shows a certificate in place of a password."""
        return {
            "bootstrap_servers": self.mutual_tls,
            "security_protocol": "SSL",
            "ssl_certfile": self.certificates / f"{user}.pem",
            "sasl_password": "",
        }


@contextmanager
def secured(certificates: Path) -> Iterator[Secure]:
    """Start both, make the topics as the operator, and grant each role its rights and no more."""
    with ExitStack() as stack:
        kafka = SecureKafkaBroker(KAFKA_JARS, certificates, KAFKA_PROPERTIES)
        stack.enter_context(started(kafka, real=True))
        # The rules are made before the server that reads them, so without its address.
        before = Secure(kafka.bootstrap, kafka.mutual_tls, "rediss://unknown", certificates)
        rules = [redis_user(role, before.settings(role)) for role in ROLES]
        others = {SUPERUSER: "~* &* +@all", STRANGER: "~tocsin-* -@all +ping"}
        for user, rule in others.items():
            digest = hashlib.sha256(password_of(user).encode()).hexdigest()
            rules.append(f"user {user} on #{digest} {rule}")
        redis = RedisServer(
            REDIS_SERVER,
            certificates=certificates,
            users=[rule for rule in rules if rule],
            args=DURABLE,
        )
        stack.enter_context(started(redis, real=True))
        secure = Secure(kafka.bootstrap, kafka.mutual_tls, redis.url, certificates)
        with connect(secure.administrator().kafka) as admin:
            for user in (*ROLES, STRANGER):
                admin.set_password(user, password_of(user))
            for role in ROLES:
                admin.grant(role, kafka_rights(role, secure.settings(role)))
            rights = kafka_rights("webhooks", secure.settings(STRANGER))
            admin.grant(STRANGER, [right for right in rights if right.resource == "topic"])
        yield secure


def refused_by_redis(secure: Secure) -> list[str]:
    """What its ACL has refused since it started, as ``user command or key``."""
    made = secure.settings(SUPERUSER).redis
    with Redis.from_url(
        made.url,
        username=made.username,
        password=made.password.get_secret_value(),
        ssl_ca_certs=str(made.ssl_cafile),
        decode_responses=True,
        encoding_errors="backslashreplace",  # of keys, which end in a digest
    ) as client:
        log: Any = client.acl_log()
    return [f"{entry['username']} {entry['object']}" for entry in log if entry["reason"] != "auth"]
