"""Traces of requests for OpenTelemetry, sent by OTLP over HTTP: the extra ``otel``.

A request is a span, its parts (``runtime.spans``) are spans below it. Attributes are the method,
the route, the status, the generation and the id of the request, which the log has too: nothing that
a client sent. A trusted proxy may say which trace a request belongs to (``traceparent``), and with
that whether it is kept; of others that is not believed.

Only this module imports OpenTelemetry, and only a service whose settings name a collector imports
this module. Standard variables, such as ``OTEL_TRACES_SAMPLER`` and ``OTEL_EXPORTER_OTLP_HEADERS``,
are obeyed.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Iterable, Sequence
from functools import lru_cache

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serendip import __version__
from serendip.errors import SerendipError
from serendip.runtime.spans import Span, SpanLog
from serendip.serve.current_request import CLIENT, Client
from serendip.serve.middleware import Scope, get_request_id
from serendip.serve.telemetry.logs import FailureLog

_log = logging.getLogger(__name__)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNSET, _FAILED = Status(), Status(StatusCode.ERROR)
_TIMEOUT_S = 2.0
"""Seconds that a collector may take for one batch, at the end of a service, too."""


class Traces:
    """Sends traces in batches, from a thread of its own; what a collector does not take is lost.

    Args:
        collector: its address, such as ``http://127.0.0.1:4318``.
        proxies: addresses and networks whose ``traceparent`` is believed.
    """

    def __init__(self, collector: str, proxies: Iterable[str] = ()) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # see ``_ToldExporter``
        named = {SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", "serendip")}
        self._resource = Resource.create({**named, SERVICE_VERSION: __version__})
        self._provider = TracerProvider(resource=self._resource, shutdown_on_exit=False)
        self._sender = BatchSpanProcessor(_ToldExporter(collector))
        self._provider.add_span_processor(self._sender)
        self._library = InstrumentationScope("serendip", __version__)
        self._proxies = tuple(map(ipaddress.ip_network, proxies))
        self._trusts = lru_cache(maxsize=1024)(self._is_proxy)
        self._tracer = self._provider.get_tracer("serendip", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def send(self, scope: Scope, route: str, status: int, seconds: float, generation: str) -> None:
        """Hand over the trace of a request that was answered.

        Args:
            scope: of the request, with the log of its spans.
            route: pattern of the route.
            status: of the answer.
            seconds: it took.
            generation: that answers now; empty = none yet.
        """
        log: SpanLog = scope["state"]["spans"]
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "serendip.request_id": get_request_id(scope),
            "serendip.generation": generation,
        }
        whole = self._tracer.start_span(
            f"{method} {route}",
            self._caller(scope),
            SpanKind.SERVER,
            attributes,
            start_time=log.begin_ns,
        )
        if whole.is_recording():
            within = whole.get_span_context()
            for part in tuple(log.spans):
                self._send_part(part, within)
        if status >= 500:
            whole.set_status(StatusCode.ERROR)
        whole.end(log.begin_ns + round(seconds * 1e9))

    def close(self) -> None:
        """Send what is left, in bounded time."""
        self._provider.shutdown()

    def _send_part(self, part: Span, within: SpanContext) -> None:
        """Hand over a part as what it is, ended: a span that could be changed costs ten times."""
        context = SpanContext(
            *(within.trace_id, self._provider.id_generator.generate_span_id(), False),
            within.trace_flags,
            within.trace_state,
        )
        span = ReadableSpan(
            part.name,
            context,
            within,
            self._resource,
            status=_FAILED if part.failed else _UNSET,
            start_time=part.begin_ns,
            end_time=part.end_ns,
            instrumentation_scope=self._library,
        )
        self._sender.on_end(span)

    def _caller(self, scope: Scope) -> Context:
        """The trace that a trusted proxy says it belongs to; the proxy's own words are not read."""
        client: Client | None = scope["state"].get(CLIENT)
        if client is not None and self._trusts(client.address):
            for name, value in scope["headers"]:
                if name == b"traceparent":
                    carrier = {"traceparent": value.decode("latin-1")}
                    return self._propagator.extract(carrier, Context())
        return Context()

    def _is_proxy(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._proxies)


class _ToldExporter(SpanExporter):
    """Says, at most once a minute, that a collector takes nothing."""

    def __init__(self, collector: str) -> None:
        self._collector, self._failures = collector, FailureLog(_log)
        url = f"{collector.rstrip('/')}/v1/traces"
        self._inner = OTLPSpanExporter(endpoint=url, timeout=_TIMEOUT_S)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS:
            reason = SerendipError(f"the collector {self._collector} takes none.")
            self._failures.write("traces are lost", reason)
        return result

    def shutdown(self) -> None:
        """End the connection."""
        self._inner.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return self._inner.force_flush(timeout_millis)
