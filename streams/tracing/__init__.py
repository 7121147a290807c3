"""Traces, as an option: from a payment's producer to the verdict on its alert, one trace.

A trace travels in a record's headers (W3C trace context): an alert passes on what came with its
event, a verdict what came with its alert. That much is always so. Spans are made where
`tracing.endpoint` says who takes them; elsewhere nothing of OpenTelemetry is imported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from streams.errors import SettingsError
from streams.settings import TracingSettings

if TYPE_CHECKING:  # an extra, which brings the library
    from streams.tracing.spans import Spans

TRACE_CONTEXT: Final = ("traceparent", "tracestate")
_LONGEST: Final = 512
"""Bytes of a header."""

TraceHeaders = list[tuple[str, bytes | None]]

Sent = TypeVar("Sent")

_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def trace_context(headers: Sequence[tuple[str, bytes | None]]) -> TraceHeaders:
    """Give the headers that go on to what a record brings about, each once.

    One that is longer than W3C asks to be passed on is left out: an alert that is too large for its
    topic could never be sent.
    """
    found = {
        name: value
        for name, value in reversed(headers)
        if name in TRACE_CONTEXT and len(value or b"") <= _LONGEST
    }
    return [(name, found[name]) for name in TRACE_CONTEXT if name in found]


def traceparent_of(headers: Sequence[tuple[str, bytes | None]]) -> str | None:
    """Give a record's place in its trace; None for one without, or with what is none."""
    for name, value in headers:
        if name == "traceparent":
            text = (value or b"").decode("ascii", errors="replace")
            return text if _TRACEPARENT.fullmatch(text) else None
    return None


class BatchTraces(Protocol):
    """What the steps of the data path tell of a batch. Called from the event loop alone."""

    def begin(self, records: Sequence[Any]) -> Any:
        """Begin the span of a batch of `records`; None where none of them is in a trace."""

    def within(self, span: Any) -> AbstractContextManager[object]:
        """Have what is started and logged in the block belong to `span`."""

    def end(self, span: Any, error: BaseException | None = None) -> None:
        """End it, because all is published or because it failed."""

    def sending(
        self, messages: Sequence[Sent], span: Any = None
    ) -> AbstractContextManager[Sequence[Sent]]:
        """Give `messages` with each alert of a traced event as a span of its own in its headers.

        The spans end with the block, at which the broker has them.
        """

    def close(self) -> None:
        """Hand out what has ended; blocks for seconds where nobody takes it."""


class NoTraces(BatchTraces):
    """Makes no spans."""

    def begin(self, records: Sequence[Any]) -> None:
        """Begin nothing."""

    def within(self, span: Any) -> AbstractContextManager[object]:
        """Change nothing."""
        return nullcontext()

    def end(self, span: Any, error: BaseException | None = None) -> None:
        """End nothing."""

    def sending(
        self, messages: Sequence[Sent], span: Any = None
    ) -> AbstractContextManager[Sequence[Sent]]:
        """Give `messages`."""
        return nullcontext(messages)

    def close(self) -> None:
        """Hand out nothing."""


def verdict_headers(
    traceparents: Sequence[str | None], topic: str, spans: Spans | None
) -> list[TraceHeaders]:
    """Give the headers of verdicts on alerts, each of which has its place in a trace, or None."""
    return [
        []
        if parent is None
        else [("traceparent", parent.encode())]
        if spans is None
        else spans.answer(topic, parent)
        for parent in traceparents
    ]


def open_spans(settings: TracingSettings, part: str) -> Spans | None:
    """Export the spans of this process as those of `part`, until it ends; None where none are made.

    Raises:
        SettingsError: the extra is not installed.
    """
    if not settings.endpoint:
        return None
    try:
        from streams.tracing.spans import exported  # noqa: PLC0415  an extra
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"tracing.endpoint is set, and {error.name} is missing: pip install 'tocsin[tracing]'"
        ) from None
    return exported(settings, part)


def traces_of_batches(spans: Spans | None, topic: str, group: str) -> BatchTraces:
    """Give what makes spans of a group's batches of `topic`, or makes none."""
    if spans is None:
        return NoTraces()
    from streams.tracing.spans import SpansOfBatches  # noqa: PLC0415  an extra

    return SpansOfBatches(spans, topic, group)
