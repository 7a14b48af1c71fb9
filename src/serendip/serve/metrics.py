"""Prometheus metrics of the service, in their own registry."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from serendip.serve.engine_holder import EngineHolder
from serendip.serve.middleware import Scope

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class ServiceMetrics:
    """Counters, gauges and latencies of one service."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, holder: EngineHolder) -> None:
        self._holder = holder
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "serendip_request_seconds",
            "Time to answer, by route.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._responses = self._counter("serendip_responses", "Answers by status.", "status")
        self._empty = self._counter("serendip_empty_results", "Answers without items.", "surface")
        self._events = self._counter("serendip_events", "Events received.")
        self._items = self._counter("serendip_items", "Items received.")
        self._failed_loads = self._gauge(
            "serendip_failed_loads", "Openings of a published generation that failed."
        )
        self._refused = self._gauge(
            "serendip_refused_generation_info",
            "The published generation that cannot be opened.",
            "generation",
        )
        self._takes_writes = self._gauge(
            "serendip_takes_writes", "1 if writes succeed, by the last check."
        )
        self._generation = self._gauge(
            "serendip_generation_info", "The current generation.", "generation"
        )
        self._stats = self._gauge("serendip_engine", "Statistics of the engine.", "name")

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        """Record status and latency of a response, labelled with the pattern of its route."""
        route = getattr(scope.get("route"), "path", "unmatched")
        self._seconds.labels(route).observe(seconds)
        self._responses.labels(str(status)).inc()

    def add_empty(self, surface: str) -> None:
        """Count an answer without items."""
        self._empty.labels(surface).inc()

    def add_events(self, count: int) -> None:
        """Count events received."""
        self._events.inc(count)

    def add_items(self, count: int) -> None:
        """Count items received."""
        self._items.inc(count)

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus, from memory."""
        self._failed_loads.set(self._holder.failed_loads)
        self._takes_writes.set(not self._holder.storage_problem)
        self._refused.clear()
        if self._holder.refused_generation:
            self._refused.labels(self._holder.refused_generation).set(1)
        self._generation.clear()
        stats = self._holder.stats
        if "generation" in stats:
            self._generation.labels(str(stats["generation"])).set(1)
        for name, value in stats.items():
            if isinstance(value, int | float):
                self._stats.labels(name).set(value)
        return generate_latest(self._registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self._registry)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(name, help_text, labels, registry=self._registry)
