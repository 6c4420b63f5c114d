"""Traces by OpenTelemetry: an edit from socket to socket, over nodes. Needs the extra `otel`.

    edit                 from its arrival to the hand-over to the sockets
    ├── stage            waited for its turn, transformed, checked
    ├── append           the round trip to the log
    ├── fan_out          acknowledged, and sent to this worker's subscribers
    └── deliver          the same on each other worker that has the room: by the nonce, which names the trace

Some of the batches are traced (`tracing.sample_ratio`), each from its first edit on. Nobody imports this
module while `tracing.endpoint` is empty.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags

from gateway.config import TracingSettings
from gateway.config.urls import http_url
from gateway.ports import Batch, Committed, Outcome
from gateway.runtime.version import gateway_version
from gateway.wire import announcement

SCOPE = "gateway"
NS_PER_MS = 1_000_000
# Batches that are traced at a time; beyond that some were lost on their way here, and are forgotten.
TRACED_MAX = 1000
FLUSH_TIMEOUT_MS = 2000


class OtelTracer:
    """The port `Tracer` of a worker whose node has this name. Raises ConfigError for a wrong endpoint."""

    def __init__(self, settings: TracingSettings, node: str) -> None:
        resource = Resource.create(
            {
                "service.name": settings.service_name,
                "service.version": gateway_version(),
                "service.instance.id": node,
            }
        )
        self._provider = TracerProvider(resource=resource)
        endpoint = http_url("tracing.endpoint", settings.endpoint, "http://HOST:4318/v1/traces")
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=settings.export_timeout_s)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SCOPE)
        self._ratio = settings.sample_ratio
        self._edits: dict[str, Span] = {}  # by the nonces of their batches
        self._steps: dict[str, Span] = {}  # what is under way of each

    def close(self) -> None:
        """Send what was traced; blocks for a moment."""
        self._provider.force_flush(FLUSH_TIMEOUT_MS)
        self._provider.shutdown()

    def new_nonce(self, arrived_ms: int) -> str:
        """See the port."""
        if random.random() >= self._ratio:
            return announcement.new_nonce(arrived_ms)
        if len(self._edits) >= TRACED_MAX:
            self._edits.clear()
            self._steps.clear()
        arrived_ns = arrived_ms * NS_PER_MS
        edit = self._tracer.start_span("edit", kind=SpanKind.SERVER, start_time=arrived_ns)
        nonce = announcement.new_nonce(arrived_ms, _packed(edit.get_span_context()))
        self._edits[nonce] = edit
        self._step(nonce, "stage", arrived_ns)
        return nonce

    def appending(self, batches: Sequence[Batch]) -> None:
        """See the port."""
        for batch in batches:
            edit = self._edits.get(batch.nonce)
            if edit is not None:
                edit.set_attributes(
                    {
                        "collab.resource": batch.resource,
                        "collab.version": batch.base + 1,
                        "collab.changes": len(batch.records),
                    }
                )
                self._step(batch.nonce, "append")

    def answered(self, batches: Sequence[Batch], outcomes: Sequence[Outcome]) -> None:
        """See the port."""
        for batch, outcome in zip(batches, outcomes, strict=True):
            edit = self._edits.get(batch.nonce)
            if edit is not None:
                edit.set_attribute("collab.outcome", type(outcome).__name__.lower())
                if not isinstance(outcome, Committed):
                    edit.set_status(trace.StatusCode.ERROR)
                self._step(batch.nonce, "fan_out")

    def settled(self, batch: Batch) -> None:
        """See the port."""
        edit = self._edits.pop(batch.nonce, None)
        if edit is not None:
            self._end_step(batch.nonce)
            edit.end()

    def delivering(self, resource: str, nonce: str) -> AbstractContextManager[object]:
        """See the port."""
        parent = _unpacked(announcement.trace_of(nonce))
        if parent is None:
            return nullcontext()
        return self._tracer.start_as_current_span(
            "deliver",
            trace.set_span_in_context(NonRecordingSpan(parent)),
            SpanKind.CONSUMER,
            {"collab.resource": resource},
        )

    def _step(self, nonce: str, name: str, start_ns: int | None = None) -> None:
        """One step of an edit ends, and the next begins."""
        now_ns = time.time_ns()
        self._end_step(nonce, now_ns)
        within = trace.set_span_in_context(self._edits[nonce])
        began_ns = now_ns if start_ns is None else start_ns
        self._steps[nonce] = self._tracer.start_span(name, within, start_time=began_ns)

    def _end_step(self, nonce: str, now_ns: int | None = None) -> None:
        step = self._steps.pop(nonce, None)
        if step is not None:
            step.end(now_ns)


def _packed(context: SpanContext) -> str:
    return f"{context.trace_id:032x}{context.span_id:016x}"


def _unpacked(packed: str) -> SpanContext | None:
    """None where there is none, or it is of a release that writes another one."""
    try:
        found = SpanContext(int(packed[:32], 16), int(packed[32:], 16), True, TraceFlags(TraceFlags.SAMPLED))
    except ValueError:
        return None
    return found if found.is_valid and len(packed) == 48 else None
