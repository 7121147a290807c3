"""The reference documents generated from the code.

`documents` is a pure function of the structs in `schemas`, the default topics, `rights`, the
settings and the metrics. What the command line alone can see, itself and the dashboard's API, is
added there (`streams.cli.schemas`). The copies under ``docs/reference`` are committed; ``tocsin
schemas export --check`` holds them to the code.
"""

from __future__ import annotations

import json
from typing import Any

from streams.reference.api import api_page
from streams.reference.metrics import metrics_page
from streams.reference.records import asyncapi, json_schemas
from streams.reference.rights import rights_page
from streams.reference.settings import settings_page
from streams.reference.topics import topics_page
from streams.settings import Settings

__all__ = ["api_page", "as_text", "asyncapi", "documents"]


def documents(settings: Settings) -> dict[str, str]:
    """Give the text of every reference document by its file name."""
    topics, records = asyncapi(settings), json_schemas()
    return {
        **{name: as_text(content) for name, content in records.items()},
        "asyncapi.json": as_text(topics),
        "metrics.md": metrics_page(),
        "rights.md": rights_page(settings),
        "settings.md": settings_page(),
        "topics.md": topics_page(topics, records),
    }


def as_text(content: Any) -> str:
    """Write a JSON document as it is committed."""
    return json.dumps(content, indent=2) + "\n"
