"""Traces of requests for OpenTelemetry, sent by OTLP over HTTP: the extra ``otel``.

A request is a span, its parts (``runtime.spans``) are spans below it. Attributes are the method,
the route, the status, the generation and the id of the request, which the log has too: nothing that
a client sent. OpenTelemetry's own instrumentation of ASGI would send addresses, paths and queries.
Behind a trusted proxy a request may say which trace it belongs to (``traceparent``).

Only this module imports OpenTelemetry, and only a service whose settings name a collector imports
this module. Standard variables, such as ``OTEL_TRACES_SAMPLER`` and ``OTEL_EXPORTER_OTLP_HEADERS``,
are obeyed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import Scope

from serendip import __version__
from serendip.runtime.spans import set_tracer

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TIMEOUT_S = 2.0
"""Seconds that a collector may take for one batch, at the end of a service, too."""


class Traces:
    """Sends traces in batches, from a thread of its own; what a collector does not take is lost.

    Args:
        collector: its address, such as ``http://127.0.0.1:4318``.
        is_behind_proxy: whether a request may say which trace it belongs to.
    """

    def __init__(self, collector: str, is_behind_proxy: bool = False) -> None:
        self._is_behind_proxy = is_behind_proxy
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # of each retry it warns
        name = os.environ.get("OTEL_SERVICE_NAME", "serendip")
        resource = Resource.create({SERVICE_NAME: name, SERVICE_VERSION: __version__})
        exporter = OTLPSpanExporter(f"{collector.rstrip('/')}/v1/traces", timeout=_TIMEOUT_S)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("serendip", __version__)
        self._propagator = TraceContextTextMapPropagator()
        start = self._tracer.start_as_current_span
        set_tracer(partial(start, record_exception=False, set_status_on_exception=False))

    @contextmanager
    def trace(self, scope: Scope, request_id: str) -> Iterator[None]:
        """Trace the request of an ASGI scope in the block."""
        caller, told = Context(), Headers(scope=scope).get("traceparent")
        if self._is_behind_proxy and told:
            caller = self._propagator.extract({"traceparent": told}, caller)
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        named = {"http.request.method": method, "serendip.request_id": request_id}
        with self._tracer.start_as_current_span(
            method, caller, SpanKind.SERVER, named, record_exception=False
        ):
            yield

    def observe(self, route: str, status: int, generation: str) -> None:
        """Say how the request that is traced was answered.

        Args:
            route: pattern of the route.
            status: of the answer.
            generation: that answers now; empty = none yet.
        """
        span = get_current_span()
        span.update_name(f"{getattr(span, 'name', '')} {route}")
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        span.set_attribute("serendip.generation", generation)
        if status >= 500:
            span.set_status(StatusCode.ERROR)

    def close(self) -> None:
        """Send what is left, in bounded time."""
        set_tracer(None)
        self._provider.shutdown()
