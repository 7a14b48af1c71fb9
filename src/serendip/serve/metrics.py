"""Prometheus metrics of the service, in their own registry.

With several workers their counters are in the files of prometheus-client's multiprocess mode, which
the environment variable ``PROMETHEUS_MULTIPROC_DIR`` switches on, and are summed at a scrape. What
describes the service rather than counts is made at the scrape, by the worker that is asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.types import Scope

from serendip.engine.artefacts.training_record import RESULTS
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

        text = "Time to answer, by route."
        self._seconds = Histogram(
            "serendip_request_seconds", text, ("route",), buckets=_SECONDS, registry=registry
        )
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
        loads = "Openings of a published generation that failed."
        yield _gauge("failed_loads", loads, holder.failed_loads)
        takes = not holder.storage_problem
        yield _gauge("takes_writes", "1 if writes succeed, by the last check.", takes)
        refused = {holder.refused_generation: 1.0} if holder.refused_generation else {}
        text = "The published generation that cannot be opened."
        yield _gauge("refused_generation_info", text, refused, "generation")
        current = {holder.generation: 1.0} if holder.generation else {}
        yield _gauge("generation_info", "The current generation.", current, "generation")
        numbers = {k: float(v) for k, v in holder.stats().items() if isinstance(v, int | float)}
        yield _gauge("engine", "Statistics of the engine.", numbers, "name")
        if last is None:
            return
        text = "1 for the result of the last training: refused = a gate refused the new generation."
        results = {result: float(result == last.result) for result in RESULTS}
        yield _gauge("last_training", text, results, "result")
        text = "When the last training ended, in Unix seconds."
        yield _gauge("last_training_end_seconds", text, last.ended)
        yield _gauge(
            "failed_trainings", "Trainings in a row that published nothing.", last.failures
        )


def _gauge(
    name: str, text: str, values: float | Mapping[Any, float], label: str = ""
) -> GaugeMetricFamily:
    if not isinstance(values, Mapping):
        return GaugeMetricFamily(f"serendip_{name}", text, value=float(values))
    family = GaugeMetricFamily(f"serendip_{name}", text, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family
