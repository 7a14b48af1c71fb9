"""A model of a cluster: queues of requests before replicas and shards, fed with measured times.

A request comes to one of the replicas, waits for its turn, computes, asks all shards of the index
at once, waits for the last of them, and computes to the end. Each replica and each copy of a shard
works on one thing at a time, in order of arrival; which of equal ones gets a request is drawn, as
without a load balancer that knows their queues. Requests arrive at random moments (Poisson). What
is not in the model: failures, garbage collection, networks that are full, and cores that processes
share.

Shapes: R requests, T measured times.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]

WARM_SHARE = 0.1
"""Share of the requests, the first ones, that are not counted: the queues are empty before."""

_BEGIN, _ASK_SHARD, _END = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class ServiceTimes:
    """What one request costs, as measured.

    Args:
        request_s: (T,) seconds in a replica, without the search of shards.
        shard_s: (T,) seconds of one search in one shard; empty = there are no shards.
        hop_s: seconds from a replica to a shard and back.
    """

    request_s: Times
    shard_s: Times
    hop_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """What answers.

    Args:
        replicas: processes that take requests.
        shards: ranges of the index; 0 = each replica has all of it.
        copies: processes for each range.
    """

    replicas: int
    shards: int = 0
    copies: int = 1

    @property
    def processes(self) -> int:
        """All of them."""
        return self.replicas + self.shards * self.copies


@dataclass(frozen=True, slots=True)
class Prediction:
    """Times of requests, in seconds, and how busy the cluster is.

    Args:
        p50: half of the requests are answered within it.
        p99: 99 of 100 are.
        mean: of all.
        busy_replicas: share of the time that a replica computes.
        busy_shards: share of the time that a shard does; 0 without shards.
    """

    p50: float
    p99: float
    mean: float
    busy_replicas: float
    busy_shards: float


def capacity(cluster: Cluster, times: ServiceTimes) -> float:
    """Requests per second above which queues grow without end."""
    limits = [cluster.replicas / float(times.request_s.mean())]
    if cluster.shards:
        limits.append(cluster.copies / float(times.shard_s.mean()))
    return min(limits)


def predict(
    cluster: Cluster, times: ServiceTimes, rate: float, requests: int = 20_000, seed: int = 0
) -> Prediction:
    """Simulate requests and measure their times.

    Args:
        cluster: what answers.
        times: what a request costs.
        rate: requests per second, below ``capacity``.
        requests: R.
        seed: of arrivals, of who gets a request, and of the times drawn.
    """
    random = np.random.default_rng(seed)
    arrivals = np.cumsum(random.exponential(1 / rate, requests))  # (R,)
    needed = random.choice(times.request_s, requests)  # (R,)
    replicas = random.integers(0, cluster.replicas, requests)
    answered = run(cluster, times, arrivals, needed, replicas, random)
    latencies = (answered - arrivals)[int(WARM_SHARE * requests) :]
    span = float(answered.max() - arrivals[0])
    busy = float(needed.sum()) / span / cluster.replicas
    shard_mean = float(times.shard_s.mean()) if cluster.shards else 0.0
    p50, p99 = np.percentile(latencies, (50, 99))
    return Prediction(
        float(p50),
        float(p99),
        float(latencies.mean()),
        busy,
        shard_mean * requests / span / cluster.copies,
    )


def run(
    cluster: Cluster,
    times: ServiceTimes,
    arrivals: Times,
    needed: Times,
    replicas: NDArray[np.int64],
    random: np.random.Generator,
) -> Times:
    """Moments (R,) at which requests are answered, by what happens in order of time.

    Args:
        cluster: what answers.
        times: of shards.
        arrivals: (R,) moments, ascending.
        needed: (R,) seconds that each request computes.
        replicas: (R,) who gets it.
        random: draws times and copies of shards.
    """
    answered = np.zeros(len(arrivals))
    free = np.zeros(cluster.replicas)
    shards_free = np.zeros((cluster.shards, cluster.copies))
    share = 0.5 if cluster.shards else 1.0  # half before the shards are asked, half after
    left = [cluster.shards] * len(arrivals)
    events: list[tuple[float, int, int, int]] = [
        (moment, _BEGIN, number, 0) for number, moment in enumerate(arrivals.tolist())
    ]
    while events:
        now, kind, number, shard = heapq.heappop(events)
        if kind == _ASK_SHARD:
            copy = int(random.integers(cluster.copies)) if cluster.copies > 1 else 0
            begin = max(now, shards_free[shard, copy])
            shards_free[shard, copy] = end = begin + float(random.choice(times.shard_s))
            answered[number] = max(answered[number], end)
            left[number] -= 1
            if not left[number]:
                moment = float(answered[number]) + times.hop_s / 2
                heapq.heappush(events, (moment, _END, number, 0))
            continue
        replica = replicas[number]
        end = max(now, free[replica]) + share * needed[number]
        free[replica] = answered[number] = end
        if kind == _BEGIN:
            for part in range(cluster.shards):
                heapq.heappush(events, (end + times.hop_s / 2, _ASK_SHARD, number, part))
    return answered


@dataclass(frozen=True, slots=True)
class Sizing:
    """A cluster of some machines under a load that it bears.

    Args:
        machines: of them.
        cluster: its processes.
        rate: requests per second.
        prediction: their times.
        cost: of a million requests.
    """

    machines: int
    cluster: Cluster
    rate: float
    prediction: Prediction
    cost: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON, with times in milliseconds."""
        return {
            "machines": self.machines,
            "replicas": self.cluster.replicas,
            "shards": self.cluster.shards,
            "copies": self.cluster.copies,
            "requests_per_s": round(self.rate, 1),
            "p50_ms": round(self.prediction.p50 * 1e3, 2),
            "p99_ms": round(self.prediction.p99 * 1e3, 2),
            "cost_per_million": round(self.cost, 3),
        }


def size(
    machines: int,
    cores: int,
    times: ServiceTimes,
    shards: int,
    load: float,
    price_per_hour: float,
    requests: int = 20_000,
) -> Sizing | None:
    """The best use of some machines: as many copies of the shards as make the capacity largest.

    Args:
        machines: number of them.
        cores: of each; one process per core.
        times: what a request costs.
        shards: ranges of the index, each in a machine of its own; 0 = all in each replica.
        load: share of the capacity that is used, in (0, 1).
        price_per_hour: of a machine.
        requests: number of them that are simulated.

    Returns:
        None if there are fewer machines than the shards and one replica need.
    """
    processes = machines * cores
    if not shards:
        candidates = [Cluster(processes)]
    else:
        most = (processes - 1) // shards
        candidates = [
            Cluster(processes - shards * copies, shards, copies) for copies in range(1, most + 1)
        ]
    if not candidates:
        return None
    best = max(candidates, key=lambda cluster: capacity(cluster, times))
    rate = load * capacity(best, times)
    prediction = predict(best, times, rate, requests)
    return Sizing(machines, best, rate, prediction, machines * price_per_hour / 3_600 / rate * 1e6)
