"""A model of a cluster: queues of requests before replicas and shards, fed with measured times.

A request comes to one of the replicas, waits for its turn, computes, asks all shards of the index
at once, waits for the last of them, and computes to the end. Each replica and each copy of a shard
works on one thing at a time, in order of arrival; which of equal ones gets a request is drawn, as
without a load balancer that knows their queues. Requests arrive at random moments (Poisson).
Processes have a core each, or share fewer cores equally (processor sharing). What is not in the
model: failures, networks that are full, caches and memory that processes share, and whatever else
runs on their cores.

Shapes: R requests, T measured times, S shards.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]

WARM_SHARE = 0.1
"""Share of the requests, the first ones, that are not counted: the queues are empty before."""

_REQUESTS_EACH = 100
"""Requests of each replica that are simulated at least: its queue needs about six to fill."""

_BEGIN, _SEARCH, _END = 0, 1, 2
"""Parts of a request, in this order; without shards the first is all of it."""


@dataclass(frozen=True, slots=True, eq=False)
class ServiceTimes:
    """What one request costs, as measured.

    Args:
        request_s: (T,) seconds in a replica, without the search of shards.
        shard_s: (T,) seconds in one shard, all searches of a request; empty = there are no shards.
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


def capacity(cluster: Cluster, times: ServiceTimes, cores: float = math.inf) -> float:
    """Requests per second above which queues grow without end; processes may share cores."""
    request_s = float(times.request_s.mean())
    limits = [cluster.replicas / request_s]
    if cluster.shards:
        shard_s = float(times.shard_s.mean())
        limits.append(cluster.copies / shard_s)
        request_s += cluster.shards * shard_s
    return min(*limits, cores / request_s)


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
    answered = simulate(cluster, times, arrivals, needed, replicas, random)
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


def simulate(
    cluster: Cluster,
    times: ServiceTimes,
    arrivals: Times,
    needed: Times,
    replicas: NDArray[np.int64],
    random: np.random.Generator,
    cores: float = math.inf,
) -> Times:
    """Moments (R,) at which requests are answered, by what happens in order of time.

    Args:
        cluster: what answers.
        times: of shards.
        arrivals: (R,) moments.
        needed: (R,) seconds that each request computes in its replica.
        replicas: (R,) who gets it.
        random: draws times and copies of shards.
        cores: that all processes share; infinite = each has one.
    """
    return _Simulation(cluster, times, needed, replicas, random, cores).run(arrivals)


class _Simulation:
    """Requests on their way; arguments as in ``simulate``."""

    def __init__(
        self,
        cluster: Cluster,
        times: ServiceTimes,
        needed: Times,
        replicas: NDArray[np.int64],
        random: np.random.Generator,
        cores: float,
    ) -> None:
        shape = (len(needed), cluster.shards)  # (R, S)
        share = 0.5 if cluster.shards else 1.0  # half before the shards are asked, half after
        self._needed, self._replicas = (share * needed).tolist(), replicas.tolist()
        self._searches = random.choice(times.shard_s, shape).tolist() if cluster.shards else []
        copies = random.integers(cluster.copies, size=shape)
        first = cluster.replicas + cluster.copies * np.arange(cluster.shards)  # copy of each shard
        self._shards = (first + copies).tolist()
        self._waits_for = [cluster.shards] * len(needed)
        self._processes = _Processes(cluster.processes, cores)
        self._half_hop = times.hop_s / 2
        self._due: list[tuple[float, int, int, int]] = []  # moment, request, part, shard

    def run(self, arrivals: Times) -> Times:
        """Moments (R,) at which requests that arrive at some moments (R,) are answered."""
        answered = np.zeros(len(arrivals))
        self._due = [(moment, number, _BEGIN, 0) for number, moment in enumerate(arrivals.tolist())]
        heapq.heapify(self._due)
        processes = self._processes
        while self._due or processes.next_end < math.inf:
            if self._due and self._due[0][0] <= processes.next_end:
                moment, number, part, shard = heapq.heappop(self._due)
                processes.wait_until(moment)
                self._submit(number, part, shard)
            else:
                number, part = processes.end_next()
                if not self._go_on(number, part):
                    answered[number] = processes.now
        return answered

    def _submit(self, number: int, part: int, shard: int) -> None:
        """Give a part of a request to the process that computes it."""
        if part == _SEARCH:
            process, seconds = self._shards[number][shard], self._searches[number][shard]
        else:
            process, seconds = self._replicas[number], self._needed[number]
        self._processes.submit(process, (number, part), seconds)

    def _go_on(self, number: int, part: int) -> bool:
        """Send what follows a part that has ended; False = the request is answered."""
        moment = self._processes.now + self._half_hop
        if part == _BEGIN:
            for shard in range(self._waits_for[number]):
                heapq.heappush(self._due, (moment, number, _SEARCH, shard))
            return self._waits_for[number] > 0
        if part == _SEARCH:
            self._waits_for[number] -= 1
            if not self._waits_for[number]:
                heapq.heappush(self._due, (moment, number, _END, 0))
            return True
        return False


class _Processes:
    """Processes that each compute one task after another, and share cores.

    As long as no more of them compute than there are cores, each has one; above that all of them
    get the same share. So the busy ones advance at one pace, and the next to end is the one whose
    end is the least in seconds of computing.

    Args:
        number: of processes.
        cores: that they share.
    """

    def __init__(self, number: int, cores: float) -> None:
        self.now = 0.0
        self._cores, self._computed_s = cores, 0.0  # by a process that is always busy
        self._tasks = [deque[tuple[tuple[int, int], float]]() for _ in range(number)]
        self._ends: list[tuple[float, int]] = []  # in seconds of computing; process

    @property
    def next_end(self) -> float:
        """Moment at which the next task ends if no other comes before; infinite = none runs."""
        if not self._ends:
            return math.inf
        return self.now + max(0.0, self._ends[0][0] - self._computed_s) / self._pace

    @property
    def _pace(self) -> float:
        return min(1.0, self._cores / len(self._ends)) if self._ends else 1.0

    def wait_until(self, moment: float) -> None:
        """Compute until a moment, which is not after ``next_end``."""
        self._computed_s += (moment - self.now) * self._pace
        self.now = moment

    def submit(self, process: int, task: tuple[int, int], seconds: float) -> None:
        """Let a task wait for its turn in a process, now."""
        self._tasks[process].append((task, seconds))
        if len(self._tasks[process]) == 1:
            self._begin(process)

    def end_next(self) -> tuple[int, int]:
        """Compute until the next task ends; return it."""
        self.now = self.next_end
        self._computed_s, process = heapq.heappop(self._ends)
        task, _ = self._tasks[process].popleft()
        if self._tasks[process]:
            self._begin(process)
        return task

    def _begin(self, process: int) -> None:
        heapq.heappush(self._ends, (self._computed_s + self._tasks[process][0][1], process))


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
        requests: number of them that are simulated, or as many as give each replica enough.

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
    prediction = predict(best, times, rate, max(requests, _REQUESTS_EACH * best.replicas))
    return Sizing(machines, best, rate, prediction, machines * price_per_hour / 3_600 / rate * 1e6)
