"""Kafka and Redis for machines without Docker: the demo's embedded pair, the tests' real pair.

Every server here is a child process that picks free ports, waits until it answers, keeps its log
and data in a temporary directory, and dies with the process that started it.
"""

from streams.devstack.broker import EmbeddedBroker
from streams.devstack.errors import ServerFailed, ServerMissing
from streams.devstack.kafka import KafkaBroker
from streams.devstack.redis import EmbeddedRedis, RedisServer
from streams.devstack.secure import SUPERUSER, SecureKafkaBroker

__all__ = [
    "SUPERUSER",
    "EmbeddedBroker",
    "EmbeddedRedis",
    "KafkaBroker",
    "RedisServer",
    "SecureKafkaBroker",
    "ServerFailed",
    "ServerMissing",
]
