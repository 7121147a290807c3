"""Spans of OpenTelemetry; see `streams.tracing`. Importing it takes the extra `tracing`.

Names and attributes follow OpenTelemetry's conventions for messaging.
"""

from __future__ import annotations

import importlib.metadata
import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from streams.settings import TracingSettings
from streams.tracing import BatchTraces, Sent, TraceHeaders, trace_context

log = logging.getLogger(__name__)

MOST_LINKS: Final = 128
"""Events that the span of a batch names, of thousands: what OpenTelemetry keeps by default."""

_EXPORT_S: Final = 3.0
"""A collector that does not answer must not hold the end of a process up."""

_W3C: Final = TraceContextTextMapPropagator()


class Spans:
    """Makes the spans of one process.

    Args:
        provider: where they go.
        share: of the records of a producer, in [0, 1], that begin a trace.
    """

    def __init__(self, provider: TracerProvider, *, share: float) -> None:
        self._provider, self._share = provider, share
        self._tracer = provider.get_tracer("tocsin")

    def starts(self, topic: str) -> Iterator[TraceHeaders]:
        """Give the headers of one new record after the other: of a share, the begin of a trace."""
        draw, share = random.random, self._share
        while True:
            yield self.send(topic) if draw() < share else []

    def send(self, topic: str, parent: Context | None = None) -> TraceHeaders:
        """Give the headers of a record that is sent now, in a trace of its own or of `parent`."""
        span = self.begun(f"send {topic}", topic, "send", parent or Context())
        span.end()
        return _headers(span)

    def answer(self, topic: str, traceparent: str) -> TraceHeaders:
        """Give the headers of a verdict on what is at `traceparent`."""
        return self.send(topic, _W3C.extract({"traceparent": traceparent}, Context()))

    def begun(
        self, name: str, topic: str, operation: str, parent: Context, links: Sequence[Link] = ()
    ) -> Span:
        """Begin a span about a topic."""
        return self._tracer.start_span(
            name,
            parent,
            SpanKind.PRODUCER if operation == "send" else SpanKind.CONSUMER,
            {
                "messaging.system": "kafka",
                "messaging.destination.name": topic,
                "messaging.operation.name": operation,
                "messaging.operation.type": operation,
            },
            links,
        )

    def close(self) -> None:
        """Hand out what has ended, as the provider does by itself where Python ends."""
        self._provider.shutdown()


class SpansOfBatches(BatchTraces):
    """Spans of an agent's batches, with links to the events, and of the alerts that they bring.

    A batch holds events of many traces, so it is none of them: its span is the root of its own.

    Args:
        spans: of the process.
        topic: of the events.
        group: the agent's consumer group.
    """

    def __init__(self, spans: Spans, topic: str, group: str) -> None:
        self._spans, self._topic, self._group = spans, topic, group

    def begin(self, records: Sequence[Any]) -> Span | None:
        """Begin the span of a batch of which an event is in a trace that is kept."""
        links = []
        for record in records:
            if record.headers and (link := _link(record.headers)) is not None:
                links.append(link)
                if len(links) == MOST_LINKS:
                    break
        if not links:
            return None
        span = self._spans.begun(f"process {self._topic}", self._topic, "process", Context(), links)
        span.set_attribute("messaging.batch.message_count", len(records))
        span.set_attribute("messaging.consumer.group.name", self._group)
        return span

    def within(self, span: Span | None) -> AbstractContextManager[object]:
        """Make `span` the current one."""
        return nullcontext() if span is None else trace.use_span(span)

    def end(self, span: Span | None, error: BaseException | None = None) -> None:
        """End it, with the error if it failed."""
        if span is None:
            return
        if error is not None:
            span.record_exception(error)
            span.set_status(StatusCode.ERROR)
        span.end()

    @contextmanager
    def sending(
        self, messages: Sequence[Sent], span: Span | None = None
    ) -> Iterator[Sequence[Sent]]:
        """Put each traced alert's own span in the place of the event's that it came with."""
        sent, begun = [], []
        for message in messages:
            alert = self._alert(message, span)
            if alert is None:
                sent.append(message)
                continue
            begun.append(alert)
            sent.append(replace(message, headers=_own(message, alert)))  # type: ignore[type-var]
        try:
            yield sent
        finally:
            for alert in begun:
                alert.end()

    def close(self) -> None:
        """Hand out what has ended."""
        self._spans.close()

    def _alert(self, message: Any, batch: Span | None) -> Span | None:
        """Begin the span of an alert whose event is in a trace that is kept."""
        event = _link(message.headers) if message.headers else None
        given = {} if event is None else dict(message.headers)
        if event is None or "ce_id" not in given:  # a dead letter has its event's headers
            return None
        parent = trace.set_span_in_context(trace.NonRecordingSpan(event.context), Context())
        links = [] if batch is None else [Link(batch.get_span_context())]
        span = self._spans.begun(f"send {message.topic}", message.topic, "send", parent, links)
        event_id = given["ce_id"].decode()
        span.set_attribute("messaging.message.id", event_id)
        with trace.use_span(span):
            log.info("alert %s", event_id, extra={"alert_id": event_id.rpartition(":")[0]})
        return span


def exported(settings: TracingSettings, part: str) -> Spans:
    """Send spans to the collector of `settings`, and have log records carry the current one's ids.

    What else the exporter needs (headers, certificates) it takes from OpenTelemetry's own
    variables, as ``OTEL_EXPORTER_OTLP_HEADERS``.
    """
    version = importlib.metadata.version("tocsin")
    resource = Resource.create({"service.name": f"tocsin-{part}", "service.version": version})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(settings.endpoint, timeout=_EXPORT_S))
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(stamp)
    return Spans(provider, share=settings.share)


def stamp(record: logging.LogRecord) -> bool:
    """Write the current span's ids on a log record; as a filter, one that keeps everything."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        record.trace_id = trace.format_trace_id(context.trace_id)
        record.span_id = trace.format_span_id(context.span_id)
    return True


def _link(headers: Sequence[tuple[str, bytes | None]]) -> Link | None:
    """Name the span that a record was sent with, if its trace is kept."""
    carried = {
        name: (value or b"").decode("ascii", errors="replace")
        for name, value in trace_context(headers)
    }
    if not carried:
        return None
    context = trace.get_current_span(_W3C.extract(carried, Context())).get_span_context()
    return Link(context) if context.is_valid and context.trace_flags.sampled else None


def _headers(span: Span) -> TraceHeaders:
    carried: dict[str, str] = {}
    _W3C.inject(carried, trace.set_span_in_context(span, Context()))
    return [(name, value.encode()) for name, value in carried.items()]


def _own(message: Any, span: Span) -> TraceHeaders:
    """The headers of an alert with its own span, which CloudEvents names with a prefix too."""
    mine = _headers(span)
    kept = [one for one in message.headers if one not in trace_context(message.headers)]
    return [*kept, *mine, *((f"ce_{name}", value) for name, value in mine)]
