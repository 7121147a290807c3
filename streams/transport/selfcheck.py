"""Checks at start-up that the installed Faust and aiokafka have every hook relied upon.

The transport overrides methods and reads attributes that are no public interface. A release that
renames one would not fail: it would call the method nobody overrides any more, and commit too far.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.record.default_records import DefaultRecord, DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords
from faust.sensors import Monitor
from faust.transport.drivers import aiokafka as driver
from faust.types import ConsumerMessage
from mode.utils.queues import FlowControlEvent

from streams.errors import TransportError

VERSIONS = {"faust-streaming": "0.15.", "aiokafka": "0.14."}


@dataclass(frozen=True, slots=True)
class Methods:
    """Methods of `owner` with the names of their leading parameters."""

    owner: type[Any]
    parameters: Mapping[str, tuple[str, ...]]

    def missing(self) -> Iterable[str]:
        """Name what is not there or takes other parameters."""
        for name, wanted in self.parameters.items():
            method = getattr(self.owner, name, None)
            if method is None:
                yield f"{self.owner.__name__}.{name}"
            elif wanted:
                found = tuple(inspect.signature(method).parameters)[1 : 1 + len(wanted)]
                if found != wanted:
                    yield f"{self.owner.__name__}.{name}({', '.join(wanted)})"


@dataclass(frozen=True, slots=True)
class Attributes:
    """Attributes of `owner`, on the class or set by a Python ``__init__`` of it or of a base."""

    owner: type[Any]
    names: tuple[str, ...]

    def missing(self) -> Iterable[str]:
        """Name what no instance would have."""
        known = set(dir(self.owner))
        for cls in self.owner.__mro__:
            code = getattr(vars(cls).get("__init__"), "__code__", None)
            known.update(code.co_names if code is not None else ())
        yield from (f"{self.owner.__name__}.{name}" for name in self.names if name not in known)


HOOKS: tuple[Methods | Attributes, ...] = (
    Methods(
        driver.Consumer,
        {
            "_add_gap": ("tp", "offset_from", "offset_to"),
            "_commit_offsets": ("offsets", "start_new_transaction"),
            "_filter_tps_with_pending_acks": ("topics",),
            "_getmany": ("active_partitions", "timeout"),
            "_new_consumer_thread": (),
            "_new_offset": ("tp",),
            "_seek": ("partition", "offset"),
            "_to_message": ("tp", "record"),
            "ack": ("message",),
            "assignment": (),
            "commit": (),
            "earliest_offsets": (),
            "highwater": ("tp",),
            "on_partitions_assigned": ("assigned", "generation_id"),
            "on_partitions_revoked": ("revoked",),
            "perform_seek": (),
            "seek_to_committed": (),
            "seek_wait": ("partitions",),
            "stop_flow": (),
        },
    ),
    Methods(FlowControlEvent, {"resume": (), "suspend": ()}),
    Attributes(FlowControlEvent, ("_resume", "_suspend")),
    Attributes(
        driver.Consumer, ("_acked", "_acked_index", "_committed_offset", "flow_active", "scheduler")
    ),
    Methods(
        driver.AIOKafkaConsumerThread,
        {
            "__post_init__": (),
            "_create_worker_consumer": ("transport",),
            "_ensure_consumer": (),
            "_fetch_records": ("consumer", "active_partitions", "timeout", "max_records"),
            "_seek_wait": ("consumer", "partitions"),
            "call_thread": (),
            "highwater": ("tp",),
        },
    ),
    Attributes(driver.Transport, ("Consumer", "driver_version")),
    Attributes(ConsumerMessage, ("offset", "tracked", "value")),
    Methods(faust.Schema, {"compile": ("app",)}),
    Methods(
        faust.App,
        {
            "_consumer_wait_empty": ("consumer", "logger"),
            "crash": ("reason",),
            "create_event": ("key", "value", "headers", "message"),
        },
    ),
    Attributes(
        faust.App,
        (
            "client_only",
            "consumer_generation_id",
            "on_partitions_assigned",
            "on_partitions_revoked",
        ),
    ),
    Methods(
        Monitor,
        {
            "on_message_in": ("tp", "offset", "message"),
            "on_message_out": ("tp", "offset", "message"),
        },
    ),
    Methods(
        AIOKafkaConsumer,
        {
            "assignment": (),
            "committed": ("partition",),
            "highwater": ("partition",),
            "last_stable_offset": ("partition",),
            "seek": ("partition", "offset"),
        },
    ),
    Attributes(
        AIOKafkaConsumer,
        (
            "_closed",
            "_coordinator",
            "_fetch_max_wait_ms",
            "_fetch_min_bytes",
            "_fetcher",
            "_isolation_level",
        ),
    ),
    Methods(GroupCoordinator, {"check_errors": ()}),
    Methods(
        Fetcher,
        {
            "_create_fetch_waiter": (),
            "_notify": ("future",),
            "fetched_records": ("partitions", "timeout", "max_records"),
        },
    ),
    Attributes(Fetcher, ("_closed", "_records", "_subscriptions", "_wait_consume_future")),
    Methods(FetchResult, {"check_assignment": ("tp",), "getall": (), "has_more": ()}),
    Attributes(
        FetchResult,
        ("_assignment", "_partition_records", "_topic_partition", "_update_position"),
    ),
    Attributes(
        PartitionRecords,
        (
            *("_check_crcs", "_isolation_level", "_records", "_records_iterator", "_tp"),
            "next_fetch_offset",
        ),
    ),
    Attributes(MemoryRecords, ("has_next", "next_batch")),
    Attributes(DefaultRecordBatch, ("is_control_batch", "next_offset", "validate_crc")),
    Attributes(DefaultRecord, ("headers", "key", "offset", "timestamp", "value")),
)


def check_hooks(
    *,
    hooks: Iterable[Methods | Attributes] = HOOKS,
    versions: Mapping[str, str] = VERSIONS,
) -> None:
    """Compare what is installed with what the transport was written for.

    Raises:
        TransportError: names the first package with another version, or every missing hook.
    """
    for package, prefix in versions.items():
        if not (installed := version(package)).startswith(prefix):
            raise TransportError(
                f"{package} {installed} is installed, the batch transport needs {prefix}*: "
                f"pip install '{package}=={prefix}*'"
            )
    if missing := [name for hook in hooks for name in hook.missing()]:
        raise TransportError(
            f"the batch transport needs {', '.join(missing)}, which the installed Faust or "
            "aiokafka does not have: install the versions that the project pins"
        )
