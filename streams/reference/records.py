"""Every record as JSON Schema, and every topic as an AsyncAPI 3 document."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Struct

from streams.alerts.envelope import CLOUD_EVENT_HEADERS
from streams.frames import FrameHeaders
from streams.schemas import (
    DEAD_LETTER_HEADERS,
    REPLAY_OF_HEADER,
    Action,
    Alert,
    FrameObjects,
    Label,
    ObjectLabel,
    Score,
    Transaction,
    TransactionLabel,
)
from streams.settings import Settings
from streams.topics import TopicSpec, topic_table

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_RECORDS: Final[dict[str, Any]] = {
    "transaction": Transaction,
    "frame-headers": FrameHeaders,
    "label": Label,
    "alert": Alert,
    "score": Score,
    "frame-objects": FrameObjects,
    "action": Action,
}

_LABELS: Final = (TransactionLabel, ObjectLabel)


@dataclass(frozen=True, slots=True)
class _Message:
    """A message as the document names it; `records` are the structs that it may be."""

    name: str
    key: str
    records: tuple[type[Struct], ...]
    summary: str


_MESSAGES: Final = {
    "transactions": _Message("transaction", "card_id", (Transaction,), "One card payment."),
    "labels": _Message(
        "label", "terminal_id or camera_id", _LABELS, "A verdict; the later labelled_at wins."
    ),
    "frames": _Message("frame", "camera_id", (), "A JPEG or PNG; about it, in the headers."),
    "alerts": _Message("alert", "entity", (Alert,), "Drop a repeated event_id, upsert by id."),
    "scores": _Message("score", "card_id", (Score,), "One scored transaction."),
    "tracks": _Message("frameObjects", "camera_id", (FrameObjects,), "What is in one frame."),
    "audit": _Message("action", "entity or user", (Action,), "What a person did."),
}


def json_schemas() -> dict[str, dict[str, Any]]:
    """Give the JSON Schema of every record by its file name."""
    return {
        f"{name}.schema.json": _unindented({"$schema": _DIALECT, **msgspec.json.schema(record)})
        for name, record in _RECORDS.items()
    }


def asyncapi(settings: Settings) -> dict[str, Any]:
    """Build the AsyncAPI 3 document: what Tocsin receives and sends on which topic."""
    names = settings.topics
    addresses = {
        "transactions": names.transactions,
        "labels": names.labels,
        "frames": names.frames,
        "alerts": names.alerts,
        "scores": names.scores,
        "tracks": names.tracks,
        "audit": names.audit,
    }
    table = {spec.name: spec for spec in topic_table(settings)}
    _, components = msgspec.json.schema_components(
        [Transaction, *_LABELS, FrameHeaders, Alert, Score, FrameObjects, Action],
        ref_template="#/components/schemas/{name}",
    )
    channels = {
        channel: _channel(table[addresses[channel]], message.name)
        for channel, message in _MESSAGES.items()
    }
    received = ("transactions", "labels", "frames")
    for channel in received:
        address = f"{addresses[channel]}{names.dead_suffix}"
        channels[f"{channel}Dead"] = _channel(table[address], "deadLetter")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tocsin",
            "version": "1",
            "description": "Events in, alerts out. Unknown fields are ignored on the way in.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {
            f"{'receive' if channel in received else 'send'}{channel[0].upper()}{channel[1:]}": {
                "action": "receive" if channel in received else "send",
                "channel": {"$ref": f"#/channels/{channel}"},
            }
            for channel in channels
        },
        "components": {
            "messages": {
                **{message.name: _message(message) for message in _MESSAGES.values()},
                "deadLetter": _dead_letter(),
            },
            "schemas": _unindented(components),
        },
    }


def _channel(spec: TopicSpec, message: str) -> dict[str, Any]:
    return {
        "address": spec.name,
        "description": spec.purpose,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "bindings": {
            "kafka": {
                "topicConfiguration": {
                    "cleanup.policy": [spec.config["cleanup.policy"]],
                    "retention.ms": int(spec.config["retention.ms"]),
                    "max.message.bytes": int(spec.config["max.message.bytes"]),
                },
                "bindingVersion": "0.5.0",
            }
        },
    }


def _message(message: _Message) -> dict[str, Any]:
    if not message.records:
        return _picture(message)
    payloads = [{"$ref": f"#/components/schemas/{record.__name__}"} for record in message.records]
    described: dict[str, Any] = {
        "name": message.name,
        "summary": message.summary,
        "payload": payloads[0] if len(payloads) == 1 else {"oneOf": payloads},
        "bindings": {"kafka": {"key": {"type": "string", "description": message.key}}},
    }
    if Alert in message.records:
        described["headers"] = _headers(CLOUD_EVENT_HEADERS)
    if message.name in {"transaction", "label"}:
        described["headers"] = _headers((), (REPLAY_OF_HEADER,))
    return described


def _picture(message: _Message) -> dict[str, Any]:
    return {
        "name": message.name,
        "summary": message.summary,
        "contentType": "image/jpeg",
        "payload": {"description": "A JPEG, or a PNG; none in a record that says `state`."},
        "headers": {"$ref": f"#/components/schemas/{FrameHeaders.__name__}"},
        "bindings": {"kafka": {"key": {"type": "string", "description": message.key}}},
    }


def _dead_letter() -> dict[str, Any]:
    return {
        "name": "deadLetter",
        "summary": "The original key, value and headers, and why and where as headers.",
        "contentType": "application/octet-stream",
        "payload": {"description": "The original bytes."},
        "headers": _headers(DEAD_LETTER_HEADERS, (REPLAY_OF_HEADER,)),
    }


def _headers(names: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(names),
        "properties": {name: {"type": "string"} for name in names + optional},
    }


def _unindented(node: Any) -> Any:
    """Clean the descriptions, which are docstrings with the indentation of their class."""
    if isinstance(node, dict):
        return {name: _unindented(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_unindented(value) for value in node]
    return inspect.cleandoc(node) if isinstance(node, str) else node
