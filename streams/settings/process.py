"""Settings of what can be seen of a process: its health server, its log, its traces."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from streams.settings.section import Port, Section


class HealthSettings(Section):
    """The worker's own HTTP server: /livez, /readyz and /metrics. Port 0 picks a free one."""

    host: str = "127.0.0.1"
    """Address to listen on; ``0.0.0.0`` in a container."""

    port: Port = 6066
    """Of /livez, /readyz and /metrics; 0 for a free one."""


class LogSettings(Section):
    """What goes to standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least that is written."""

    format: Literal["text", "json"] = "text"
    """Lines for people, or one JSON object each for a collector."""


class TracingSettings(Section):
    """Traces by OpenTelemetry; none unless `endpoint` is set."""

    endpoint: Annotated[str, Field(pattern=r"^(https?://\S+)?$")] = ""
    """Of a collector that takes OTLP by HTTP, as ``http://127.0.0.1:4318/v1/traces``."""

    share: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Of the records that `tocsin produce` and `replay` send: these begin a trace."""
