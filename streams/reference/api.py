"""The page of the dashboard's API, from its OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streams.reference.fields import fields, kind, table

_INTRODUCTION = """\
# API

What `tocsin dashboard` answers under `/api`. It serves this as an [OpenAPI](openapi.json) document
at `/api/openapi.json`, from which most languages can make a client. [The
dashboard](../dashboard.md#the-api) has examples, and says [who may come
in](../dashboard.md#who-may-come-in). Errors are objects with a `detail`."""


def api_page(document: dict[str, Any]) -> str:
    """Write down every request and every object of an OpenAPI document."""
    lines = [_INTRODUCTION]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            lines += _operation(f"{method.upper()} {path}", operation)
    lines += ["", "## Objects"]
    for name, schema in document["components"]["schemas"].items():
        lines += ["", f"### {name}"]
        said = " ".join(schema.get("description", "").split())
        lines += ["", said] if said else []
        lines += fields(schema) if "properties" in schema else ["", f"{kind(schema)}."]
    return "\n".join(lines) + "\n"


def _operation(title: str, operation: dict[str, Any]) -> Iterator[str]:
    yield from ("", f"## {title}", "", " ".join(operation["description"].split()))
    parameters = operation.get("parameters", ())
    if parameters:
        yield from table(
            ("parameter", "in", "is"),
            (
                (f"`{one['name']}`", one["in"], kind(one["schema"]).replace(" or null", ""))
                for one in parameters
            ),
        )
    if "requestBody" in operation:
        yield from ("", f"Takes {_content(operation['requestBody'])}.")
    answers = operation["responses"].items()
    yield from table(
        ("status", "answer"),
        ((f"`{status}`", _content(of) or of.get("description", "")) for status, of in answers),
    )


def _content(of: dict[str, Any]) -> str:
    """Say what a body holds, by the kind of medium."""
    return " or ".join(
        kind(body["schema"]) if body.get("schema") else f"`{medium}`"
        for medium, body in of.get("content", {}).items()
    )
