"""The page of every topic and record, from the AsyncAPI document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from streams.reference.fields import fields, kind

_DAY_MS = 86_400_000

_INTRODUCTION = """\
# Topics and records

What Tocsin reads and writes, with the default names and retention. The same for programs:
[asyncapi.json](asyncapi.json), and a JSON Schema of each record, named below. Times are
milliseconds since the epoch, UTC. Unknown fields are ignored on the way in; what comes out may grow
fields too: ignore what you do not know."""


def topics_page(document: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]]) -> str:
    """Write down every topic of an AsyncAPI document; `files` are the schemas beside the page."""
    lines = [_INTRODUCTION]
    messages, schemas = document["components"]["messages"], document["components"]["schemas"]
    titles = {
        one["$ref"].rpartition("/")[2]: name
        for name, schema in files.items()
        for one in schema.get("anyOf", [schema])
    }
    for channel in document["channels"].values():
        (name,) = channel["messages"]
        lines += _channel(channel, messages[name])
    lines += ["", "## Records"]
    for name, schema in schemas.items():
        lines += ["", f"### {name}", "", schema.get("description", "")]
        if name in titles:
            lines += ["", f"JSON Schema: [{titles[name]}]({titles[name]})."]
        lines += fields(schema) if "properties" in schema else ["", f"{kind(schema)}."]
    return "\n".join(lines) + "\n"


def _channel(channel: Mapping[str, Any], message: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", f"## {channel['address']}", "", f"{channel['description'].capitalize()}.")
    key = message.get("bindings", {}).get("kafka", {}).get("key", {}).get("description")
    kept = channel["bindings"]["kafka"]["topicConfiguration"]["retention.ms"]
    how_long = f"{kept // _DAY_MS} days" if kept >= _DAY_MS else f"{kept // 3_600_000} hours"
    yield from ("", f"- Key: {key or 'that of the original'}.")
    payload = message["payload"]
    value = payload.get("description") or f"{kind(payload)}."
    yield f"- Value: {value}"
    headers = message.get("headers")
    if headers:
        if "$ref" in headers:
            names = kind(headers)
        else:
            names = ", ".join(f"`{name}`" for name in headers["properties"])
        yield f"- Headers: {names}."
    yield f"- Kept for {how_long}."
