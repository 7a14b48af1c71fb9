"""Prometheus metrics of the service, in their own registry.

With several workers their counters are in the files of prometheus-client's multiprocess mode, which
``COUNTERS_VARIABLE`` switches on, and are summed at a scrape. What describes the service rather
than counts is made at the scrape, by the worker that is asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.types import Scope

from serendip.engine.artefacts.training_record import RESULTS
from serendip.errors import NotTrainedError
from serendip.serve.engine_holder import EngineHolder
from serendip.serve.shared_state import COUNTERS_VARIABLE

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class ServiceMetrics(Collector):
    """Counters, gauges and latencies of one service."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, holder: EngineHolder) -> None:
        self._holder, registry = holder, CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"serendip_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(f"serendip_{name}", text, labels, buckets=_SECONDS, registry=registry)

        self._seconds = histogram("request_seconds", "Time to answer, by route.", "route")
        text, labels = "Time to answer, by arm of experiments.", ("experiment", "arm", "is_empty")
        self.arms = histogram("experiment_seconds", text, *labels)
        self._responses = counter("responses", "Answers by status.", "status")
        self.empty = counter("empty_results", "Answers without items.", "surface")
        text = "Answers with items that lack a stage."
        self.degraded = counter("degraded_answers", text, "surface")
        self.events = counter("events", "Events received.")
        self.items = counter("items", "Items received.")
        self._scraped = registry
        if COUNTERS_VARIABLE in os.environ:
            self._scraped = CollectorRegistry()
            MultiProcessCollector(self._scraped)  # type: ignore[no-untyped-call]
        self._scraped.register(self)

    def observe(self, scope: Scope, status: int, seconds: float) -> str:
        """Record status and latency of a response, and return the pattern of its route."""
        route: str = getattr(scope.get("route"), "path", "unmatched")
        self._seconds.labels(route).observe(seconds)
        self._responses.labels(str(status)).inc()
        return route

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus, from memory."""
        return generate_latest(self._scraped)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The state of the service as of now."""
        holder, last = self._holder, self._holder.last_training
        yield _gauge("workers", "Processes that answer.", holder.shared.num_ready)
        text = "Openings of a published generation that failed."
        yield _gauge("failed_loads", text, holder.failed_loads)
        text = "1 if writes succeed, by the last check."
        yield _gauge("takes_writes", text, not holder.storage_problem)
        refused, current = holder.refused_generation, holder.generation
        text = "The published generation that cannot be opened."
        yield _gauge("refused_generation_info", text, generation={refused: 1} if refused else {})
        text = "The current generation."
        yield _gauge("generation_info", text, generation={current: 1} if current else {})
        with suppress(NotTrainedError), holder.lease() as engine:
            stats = {k: v for k, v in engine.stats().items() if isinstance(v, int | float)}
            yield _gauge("engine", "Statistics of the engine.", name=stats)
        if last is None:
            return
        text = "1 for the result of the last training: refused = a gate refused the new generation."
        yield _gauge("last_training", text, result={name: name == last.result for name in RESULTS})
        text = "When the last training ended, in Unix seconds."
        yield _gauge("last_training_end_seconds", text, last.ended)
        text = "Trainings in a row that published nothing."
        yield _gauge("failed_trainings", text, last.failures)


def _gauge(
    name: str, text: str, value: float | None = None, /, **by_label: Mapping[str, float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"serendip_{name}", text, value, labels=tuple(by_label) or None)
    for values in by_label.values():
        for key, value in values.items():
            family.add_metric((key,), value)
    return family
