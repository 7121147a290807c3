"""One trace from a record to the verdict on its alert; none where it is not asked for."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from collections.abc import Callable, Coroutine, Sequence
from itertools import islice
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from streams.errors import SettingsError
from streams.logs import JsonFormatter, TextFormatter
from streams.pipeline.batch import Message
from streams.settings import TracingSettings
from streams.tracing import (
    NoTraces,
    TraceHeaders,
    open_spans,
    trace_context,
    traceparent_of,
    traces_of_batches,
    verdict_headers,
)
from streams.tracing.spans import MOST_LINKS, Spans, SpansOfBatches, stamp
from tests.fakes.pipeline import poisoned
from tests.fakes.records import FakeRecord, event_of
from tests.unit.test_pipeline_delivery import Bed

LOG = logging.getLogger(__name__)
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
KEPT: TraceHeaders = [("traceparent", f"00-{TRACE}-{PARENT}-01".encode())]
NOT_KEPT: TraceHeaders = [("traceparent", f"00-{TRACE}-{PARENT}-00".encode())]
ALERT: TraceHeaders = [("ce_specversion", b"1.0"), ("ce_id", b"transactions:0:7:fraud:0")]


class Exported:
    """Spans of one process, and those of them that have ended."""

    def __init__(self, share: float = 1.0) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.spans = Spans(provider, share=share)
        self.batches = SpansOfBatches(self.spans, "transactions", "tocsin-fraud")

    def ended(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._exporter.get_finished_spans()}


@pytest.fixture
def exported() -> Exported:
    return Exported()


def records(*headers: TraceHeaders) -> list[FakeRecord]:
    return [FakeRecord(i, b"", headers=each) for i, each in enumerate(headers)]


def ids(headers: Sequence[tuple[str, bytes | None]]) -> tuple[str, str]:
    """Trace and span."""
    _, trace_id, span_id, _ = (traceparent_of(headers) or "").split("-")
    return trace_id, span_id


# -- where it is not asked for --------------------------------------------------------------------
def test_without_an_endpoint_no_spans_are_made() -> None:
    assert open_spans(TracingSettings(), "fraud") is None
    assert isinstance(traces_of_batches(None, "transactions", "g"), NoTraces)


def test_an_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("streams.tracing.spans", "opentelemetry.sdk.trace"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"opentelemetry is missing: pip install 'tocsin\["):
        open_spans(TracingSettings(endpoint="http://127.0.0.1:4318/v1/traces"), "fraud")


def test_a_verdict_passes_on_what_came_with_its_alert_all_the_same() -> None:
    parent = traceparent_of(KEPT)
    assert verdict_headers([None, parent], "labels", None) == [[], KEPT]


@pytest.mark.parametrize("value", [b"", b"00-1", b"\xff", f"00-{'0' * 32}-{PARENT}-01".encode()])
def test_what_is_no_traceparent_goes_no_further(value: bytes, exported: Exported) -> None:
    headers: TraceHeaders = [("traceparent", value)]
    assert traceparent_of(headers) is None
    assert exported.batches.begin(records(headers)) is None


# -- producers ------------------------------------------------------------------------------------
def test_a_share_of_the_records_begins_a_trace() -> None:
    assert not any(islice(Exported(share=0.0).spans.starts("transactions"), 50))
    some = Exported(share=1.0)
    carried = list(islice(some.spans.starts("transactions"), 2))
    assert len({ids(headers)[0] for headers in carried}) == 2
    assert some.ended().keys() == {"send transactions"}


# -- batches --------------------------------------------------------------------------------------
def test_a_batch_without_a_kept_trace_has_no_span(exported: Exported) -> None:
    assert exported.batches.begin([]) is None
    assert exported.batches.begin(records([], NOT_KEPT, [("other", b"x")])) is None
    with exported.batches.within(None):
        exported.batches.end(None)
    assert not exported.ended()


def test_the_span_of_a_batch_links_to_its_events(exported: Exported) -> None:
    span = exported.batches.begin(records([], KEPT, NOT_KEPT, []))
    exported.batches.end(span)
    made = exported.ended()["process transactions"]
    assert [f"{link.context.span_id:016x}" for link in made.links] == [PARENT]
    assert made.parent is None
    attributes = made.attributes or {}
    assert attributes["messaging.batch.message_count"] == 4
    assert attributes["messaging.consumer.group.name"] == "tocsin-fraud"


def test_of_thousands_of_events_a_span_links_to_so_many(exported: Exported) -> None:
    exported.batches.end(exported.batches.begin(records(*[KEPT] * 4000)))
    assert len(exported.ended()["process transactions"].links) == MOST_LINKS


def test_an_alert_goes_out_with_a_span_of_its_own(exported: Exported) -> None:
    batch = exported.batches.begin(records(KEPT))
    before = [
        Message("alerts", b"c1", b"{}", [*ALERT, *KEPT]),
        Message("alerts", b"c2", b"{}", ALERT),
        Message("transactions.dead", b"c3", b"{", [*KEPT, ("tocsin-reason", b"?")]),
        Message("scores", b"c1", b"{}"),
    ]
    with exported.batches.sending(before, batch) as sent:
        assert "send alerts" not in exported.ended()

    assert sent[1:] == before[1:]  # also the dead letter, which keeps its event's headers
    span = exported.ended()["send alerts"]
    mine = f"{span.context.span_id:016x}"  # type: ignore[union-attr]
    assert ids(sent[0].headers) == (TRACE, mine)
    assert dict(sent[0].headers)["ce_traceparent"] == dict(sent[0].headers)["traceparent"]
    assert list(sent[0].headers)[: len(ALERT)] == ALERT
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT
    assert [link.context for link in span.links] == [batch.get_span_context()]  # type: ignore[union-attr]


def test_one_trace_leads_from_the_record_to_the_verdict(exported: Exported) -> None:
    (start,) = islice(exported.spans.starts("transactions"), 1)
    with exported.batches.sending([Message("alerts", b"c", b"{}", [*ALERT, *start])]) as sent:
        pass
    (verdict,) = verdict_headers([traceparent_of(sent[0].headers)], "labels", exported.spans)

    made = exported.ended()
    assert {ids(headers)[0] for headers in (start, sent[0].headers, verdict)} == {ids(start)[0]}
    verdict_of, alert = made["send labels"].parent, made["send alerts"].context
    assert verdict_of is not None
    assert alert is not None
    assert verdict_of.span_id == alert.span_id


# -- the data path --------------------------------------------------------------------------------
def delivered(scenario: Callable[[Bed], Coroutine[Any, Any, None]], exported: Exported) -> None:
    async def main() -> None:
        bed = Bed()
        bed.delivery._traces = exported.batches
        try:
            await asyncio.wait_for(scenario(bed), 20)
        finally:
            bed.close()

    asyncio.run(main())


def traced(values: Sequence[bytes]) -> Any:
    event = event_of(values)
    event.value.records[0] = FakeRecord(0, values[0], b"k", KEPT)
    return event


def test_what_a_batch_logs_on_its_threads_names_its_span(
    exported: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(stamp)

    async def scenario(bed: Bed) -> None:
        bed.detector.on_prepare = lambda _: LOG.warning("preparing")
        bed.detector.on_infer = lambda _: LOG.warning("inferring")
        event = traced([b"1", b"2"])
        await bed.accept(event)
        await bed.settled(event)

    delivered(scenario, exported)

    context = exported.ended()["process transactions"].context
    assert context is not None
    logged = [record for record in caplog.records if record.name == LOG.name]
    assert {record.message for record in logged} == {"preparing", "inferring"}
    for record in logged:
        assert record.trace_id == f"{context.trace_id:032x}"  # type: ignore[attr-defined]


def test_the_span_of_a_batch_that_failed_says_so(exported: Exported) -> None:
    async def scenario(bed: Bed) -> None:
        bed.detector.on_infer = poisoned(b"2")
        event = traced([b"1", b"2"])
        await bed.accept(event)
        await bed.settled(event)

    delivered(scenario, exported)

    span = exported.ended()["process transactions"]
    assert not span.status.is_ok
    assert [event.name for event in span.events] == ["exception"]


# -- logs -----------------------------------------------------------------------------------------
def test_an_alert_of_a_trace_is_logged_under_its_ids(
    exported: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(stamp)
    message = Message("alerts", b"c1", b"{}", [*ALERT, *KEPT])
    with (
        caplog.at_level(logging.INFO, "streams.tracing"),
        exported.batches.sending([message]) as sent,
    ):
        pass
    (record,) = caplog.records
    trace_id, span_id = ids(sent[0].headers)
    wanted = {"trace_id": trace_id, "span_id": span_id, "alert_id": "transactions:0:7:fraud"}

    assert wanted.items() <= json.loads(JsonFormatter().format(record)).items()
    text = TextFormatter().format(record)
    assert dict(re.findall(r"(\w+_id)=(\S+)", text)) == wanted


def test_a_log_record_outside_of_any_span_carries_no_ids() -> None:
    record = logging.makeLogRecord({"msg": "hello"})
    assert stamp(record)
    assert "trace_id" not in JsonFormatter().format(record)
    assert TextFormatter().format(record).endswith(": hello")


def test_trace_headers_that_no_topic_would_take_do_not_go_on_and_none_goes_on_twice() -> None:
    parent, other = b"00-" + b"1" * 55, b"00-" + b"2" * 55
    given = [
        ("traceparent", parent),
        ("tracestate", b"x" * 513),
        ("a", b"b"),
        ("traceparent", other),
    ]
    assert trace_context(given) == [("traceparent", parent)]
    assert trace_context([("tracestate", b"x" * 512)]) == [("tracestate", b"x" * 512)]
