"""Times requests to a service, checks a model of a cluster against it, and predicts larger ones.

Usage: python src/serendip_bench/scripts/cluster.py WORKSPACE [--shards 2] [--load .5]
    [--seconds 40] [--cores 8] [--price .4] [--hop-ms .5] [--json]

1. One process of ``serendip serve`` answers home, search and similar requests, one at a time: these
   times are what the model draws from. With ``--shards`` the service has so many processes of
   ``serendip shard``, whose searches are timed, too.
2. Services of 1, 2 and 4 processes get such requests at random moments (Poisson), ``--load`` of
   what they bear on the cores of this machine. The model gets the same requests at the same moments
   for the same processes, which share these cores and those with the shards. Its error is that of
   its median and p99.
3. The model predicts 1 to 200 machines of ``--cores`` with one process each, used to ``--load``:
   median, p99, requests per second, and the cost of a million at ``--price`` a machine and hour;
   ``--hop-ms`` are between a machine and a shard, and back. Beside them is what they would be if
   the model erred as it did in 2.

Prints Markdown tables, or one JSON document. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serendip.runtime.threads import limit_threads

limit_threads(1)

import numpy as np

from serendip.engine.artefacts.generations import open_current
from serendip.engine.artefacts.shards import find_indexes
from serendip.engine.state import EngineState
from serendip.models.index.ann_index import SearchPlan
from serendip.models.index.remote_shard import RemoteShard, ShardConnection
from serendip.models.index.vector_index import VectorIndex
from serendip.models.retriever.model import Retriever
from serendip.runtime.executor import count_cores
from serendip_bench.cluster_model import (
    WARM_SHARE,
    Cluster,
    ServiceTimes,
    Sizing,
    Times,
    capacity,
    simulate,
    size,
)
from serendip_bench.scripts.overload import list_mixed_requests
from serendip_bench.scripts.random_load import Arrivals, ask_each, open_connections, send
from serendip_bench.scripts.shard_cost import shard_processes
from serendip_bench.scripts.workers import MeasuredService, read_cpu_s, run_service

_MACHINES = (1, 2, 5, 10, 20, 50, 100, 200)
_PROCESSES = (1, 2, 4)
_REQUESTS, _ROUNDS = 300, 3
"""Different requests that are sent, and times that each is timed."""

_INDEX, _K, _SEARCHES, _WARM_UP = "models/retriever/index", 100, 300, 20
_DEADLINE_S = 5


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredRequests:
    """Requests to a service, one at a time.

    Args:
        paths: (T,) of the requests.
        times: what each of them costs.
    """

    paths: list[str]
    times: ServiceTimes

    def as_dict(self) -> dict[str, Any]:
        """For JSON, in milliseconds."""
        rows = {"request": self.times.request_s}
        if len(self.times.shard_s):
            rows["shard"] = self.times.shard_s
        return {
            name: {
                "times": len(seconds),
                "mean_ms": round(float(seconds.mean()) * 1e3, 3),
                "p50_ms": round(float(np.percentile(seconds, 50)) * 1e3, 3),
                "p99_ms": round(float(np.percentile(seconds, 99)) * 1e3, 3),
            }
            for name, seconds in rows.items()
        }


@dataclass(frozen=True, slots=True)
class RunningShards:
    """Addresses and processes of the shards of a workspace; none = the service has all of it."""

    addresses: list[str]
    pids: list[int]

    @property
    def settings(self) -> dict[str, str]:
        """Variables of the environment of a service that asks them."""
        if not self.addresses:
            return {}
        return {
            "SERENDIP_SERVE__SHARDS": json.dumps(self.addresses),
            "SERENDIP_SERVE__SHARD_DEADLINE": f"{_DEADLINE_S}s",
        }

    def cpu_s(self) -> float:
        """CPU seconds of all of them so far."""
        return sum(map(read_cpu_s, self.pids))


@dataclass(frozen=True, slots=True, eq=False)
class ModelCheck:
    """A service under load, and what the model says of the same requests.

    Args:
        processes: of the service.
        rate: requests per second.
        arrivals: what arrived when, R requests.
        measured: (R,) seconds until each was answered.
        predicted: (R,) what the model says.
    """

    processes: int
    rate: float
    arrivals: Arrivals
    measured: Times
    predicted: Times

    @property
    def errors(self) -> tuple[float, float]:
        """Of the model's median and p99, relative to the measured ones."""
        median, p99 = _percentiles(self.predicted) / _percentiles(self.measured) - 1
        return float(median), float(p99)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; median and p99 of each."""
        return {
            "processes": self.processes,
            "requests": len(self.measured),
            "requests_per_s": round(self.rate, 1),
            "measured_ms": np.round(_percentiles(self.measured) * 1e3, 2).tolist(),
            "predicted_ms": np.round(_percentiles(self.predicted) * 1e3, 2).tolist(),
            "errors": [round(error, 3) for error in self.errors],
        }


def _percentiles(latencies: Times) -> Times:
    """Median and 99th percentile, without the first requests."""
    counted = latencies[int(WARM_SHARE * len(latencies)) :]
    return np.asarray(np.percentile(counted, (50, 99)), np.float64)


def measure_requests(
    workspace: Path, shards: RunningShards, requests: int = _REQUESTS
) -> MeasuredRequests:
    """Time requests to one process, one at a time, and its shards."""
    with run_service(workspace, 1, shards.settings) as service:
        paths = list_mixed_requests(f"127.0.0.1:{service.port}")[:requests]
        request_s, shards_s = asyncio.run(_ask_in_turn(service, shards, paths))
    shard_s = np.empty(0)
    if shards.addresses:
        # One search has the spread of all searches of a request, whose CPU time was measured.
        search_s = time_searches(workspace, shards.addresses)
        shard_s = search_s * (shards_s / len(shards.pids) / len(request_s) / search_s.mean())
        random = np.random.default_rng(0)
        slowest_s = random.choice(shard_s, (10_000, len(shards.pids))).max(axis=1).mean()
        request_s = np.maximum(request_s - slowest_s, 0.1 * request_s)
    return MeasuredRequests(paths * _ROUNDS, ServiceTimes(request_s, shard_s))


async def _ask_in_turn(
    service: MeasuredService, shards: RunningShards, paths: list[str]
) -> tuple[Times, float]:
    """Seconds of each request, all rounds, and CPU seconds of all shards meanwhile."""
    async with open_connections(service.port, service.answering) as idle:
        await ask_each(idle, paths)  # histories and texts are in memory from here on
        begin = shards.cpu_s()
        rounds = [await ask_each(idle, paths) for _ in range(_ROUNDS)]
        return np.concatenate(rounds), shards.cpu_s() - begin


def time_searches(workspace: Path, addresses: Sequence[str]) -> Times:
    """Seconds of searches of the retriever's index in the first of some shards.

    Raises:
        SystemExit: there are too few items for shards.
    """
    generation = open_current(workspace / "generations", verify=False)
    if _INDEX not in find_indexes(generation.folder):
        raise SystemExit(f"{generation.folder} has too few items for shards; leave --shards out.")
    model = EngineState.open(generation.folder).models["retriever"]
    assert isinstance(model, Retriever)
    whole = VectorIndex.open(generation.folder / _INDEX)
    items = np.random.default_rng(1).integers(0, model.num_items, (_SEARCHES + _WARM_UP, 1))
    contexts = list(items.astype(np.int32))
    queries = whole.reduce(model.encode_queries(model.typical_queries(contexts)))
    num_items = len(whole.base.vectors)
    plan = SearchPlan.of(whole.base.config, num_items, _K, None, has_lists=True)
    connection, last = ShardConnection(addresses[0]), num_items // len(addresses)
    shard = RemoteShard(connection, generation.name, _INDEX, 0, last)
    times = []
    for query in np.ascontiguousarray(queries, np.float32):
        begin = time.perf_counter()
        shard.start(query, plan, None, time.monotonic() + _DEADLINE_S)()
        times.append(time.perf_counter() - begin)
    return np.array(times[_WARM_UP:])


def check_model(
    workspace: Path,
    shards: RunningShards,
    measured: MeasuredRequests,
    processes: int,
    load: float,
    seconds: float,
) -> ModelCheck:
    """Send requests at random moments to a service, and let the model answer the same ones.

    Args:
        workspace: of the service.
        shards: of it.
        measured: its requests and their times.
        processes: that answer.
        load: share of what they bear on the cores of this machine.
        seconds: in which requests arrive.
    """
    cluster, times = Cluster(processes, len(shards.addresses)), measured.times
    rate = load * capacity(cluster, times, count_cores())
    drawn = Arrivals.draw(processes, len(measured.paths), rate, seconds)
    with run_service(workspace, processes, shards.settings) as service:
        arrivals, answered = asyncio.run(_ask_at_random(service, measured.paths, drawn))
    predicted = simulate(
        cluster,
        times,
        arrivals.moments,
        times.request_s[arrivals.requests],
        arrivals.processes,
        np.random.default_rng(0),
        count_cores(),
    )
    latencies = (moments - arrivals.moments for moments in (answered, predicted))
    return ModelCheck(processes, rate, arrivals, *latencies)


async def _ask_at_random(
    service: MeasuredService, paths: list[str], arrivals: Arrivals
) -> tuple[Arrivals, Times]:
    async with open_connections(service.port, service.answering) as idle:
        await ask_each(idle, list(dict.fromkeys(paths)))  # as before the measurement
        return await send(idle, paths, arrivals)


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """All that is printed.

    Args:
        cores: of this machine.
        load: share of the capacity that is used.
        measured: service times.
        checks: of the model.
        sizings: what it predicts.
    """

    cores: int
    load: float
    measured: MeasuredRequests
    checks: list[ModelCheck]
    sizings: list[Sizing]

    def find_range(self, value: float, which: int) -> tuple[float, float]:
        """A prediction if the model errs as in the checks: at the least and at the most.

        Args:
            value: the prediction.
            which: 0 = of the median, 1 = of p99.
        """
        errors = [check.errors[which] for check in self.checks]
        return value / (1 + max(errors)), value / (1 + min(errors))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "benchmark": "cluster",
            "cores": self.cores,
            "load": self.load,
            "service_times": self.measured.as_dict(),
            "checks": [check.as_dict() for check in self.checks],
            "predictions": [
                {
                    **sizing.as_dict(),
                    "p50_ms_range": self._range_ms(sizing.prediction.p50, 0),
                    "p99_ms_range": self._range_ms(sizing.prediction.p99, 1),
                }
                for sizing in self.sizings
            ],
        }

    def _range_ms(self, seconds: float, which: int) -> list[float]:
        return [round(value * 1e3, 1) for value in self.find_range(seconds, which)]

    def to_markdown(self) -> str:
        """Three tables: service times, the check, the predictions."""
        found = self.as_dict()
        return "\n\n".join(
            (
                _format_times(found["service_times"]),
                f"{self.cores} cores, {self.load:.0%} used:",
                _format_checks(found["checks"]),
                _format_predictions(found["predictions"]),
            )
        )


def _format_times(rows: dict[str, dict[str, Any]]) -> str:
    lines = ["| one at a time | times | mean, ms | median | p99 |", "|---|---|---|---|---|"]
    for name, row in rows.items():
        figures = f"{row['mean_ms']:.2f} | {row['p50_ms']:.2f} | {row['p99_ms']:.2f}"
        lines.append(f"| {name} | {row['times']} | {figures} |")
    return "\n".join(lines)


def _format_checks(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| processes | requests, per second | median, ms: measured, model"
        " | p99, ms: measured, model | error of the model: median, p99 |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        pairs = zip(row["measured_ms"], row["predicted_ms"], strict=True)
        median, p99 = (f"{real:.1f}, {model:.1f}" for real, model in pairs)
        errors = ", ".join(f"{error:+.0%}" for error in row["errors"])
        sent = f"{row['requests']:,}, {row['requests_per_s']:.0f}"
        lines.append(f"| {row['processes']} | {sent} | {median} | {p99} | {errors} |")
    return "\n".join(lines)


def _format_predictions(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| machines | replicas, copies of each shard | requests/s"
        " | p50, ms (if the model errs as above)"
        " | p99, ms (if the model errs as above) | cost of a million requests |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        copies = row["copies"] if row["shards"] else "none"
        median, p99 = (
            f"{row[f'{name}_ms']:.1f} ({{:.1f}} to {{:.1f}})".format(*row[f"{name}_ms_range"])
            for name in ("p50", "p99")
        )
        rate, cost = f"{row['requests_per_s']:,.0f}", f"{row['cost_per_million']:.2f}"
        lines.append(
            f"| {row['machines']} | {row['replicas']}, {copies} | {rate} | {median} | {p99} |"
            f" {cost} |"
        )
    return "\n".join(lines)


def build_report(options: argparse.Namespace) -> ClusterReport:
    """Measure, check, predict."""
    with ExitStack() as stack:
        shards = RunningShards(
            *stack.enter_context(shard_processes(options.workspace, options.shards))
        )
        measured = measure_requests(options.workspace, shards)
        checks = [
            check_model(
                options.workspace, shards, measured, processes, options.load, options.seconds
            )
            for processes in _PROCESSES
        ]
    times = replace(measured.times, hop_s=options.hop_ms / 1e3)
    sizings = (
        size(machines, options.cores, times, options.shards, options.load, options.price)
        for machines in _MACHINES
    )
    found = [sizing for sizing in sizings if sizing is not None]
    return ClusterReport(count_cores(), options.load, measured, checks, found)


def main() -> None:
    """Read the command line and print tables or a JSON document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--shards", type=int, default=0)
    parser.add_argument("--load", type=float, default=0.5)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--cores", type=int, default=8)
    parser.add_argument("--price", type=float, default=0.4)
    parser.add_argument("--hop-ms", type=float, default=0.5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = build_report(options)
    print(json.dumps(report.as_dict(), indent=1) if options.json else report.to_markdown())


if __name__ == "__main__":
    main()
