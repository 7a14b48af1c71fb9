"""The model of a cluster agrees with what queueing theory knows exactly."""

from __future__ import annotations

import numpy as np
import pytest

from serendip_bench.cluster_model import (
    Cluster,
    ServiceTimes,
    Times,
    capacity,
    predict,
    simulate,
    size,
)

NONE = np.empty(0)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_one_replica_with_equal_times_waits_as_pollaczek_and_khinchine_say(load: float) -> None:
    times = ServiceTimes(np.array([0.01]), NONE)
    found = predict(Cluster(1), times, load / 0.01, 40_000)
    assert found.mean == pytest.approx(0.01 + 0.01 * load / (2 * (1 - load)), rel=0.05)
    assert found.busy_replicas == pytest.approx(load, rel=0.03)


def test_one_replica_with_exponential_times_has_an_exponential_sojourn() -> None:
    times = ServiceTimes(np.random.default_rng(1).exponential(0.01, 50_000), NONE)
    found = predict(Cluster(1), times, 50.0, 60_000)
    mean = float(times.request_s.mean()) / (1 - 50.0 * float(times.request_s.mean()))
    assert found.p99 == pytest.approx(mean * np.log(100), rel=0.1)


def test_replicas_that_are_drawn_are_queues_of_their_own() -> None:
    times = ServiceTimes(np.array([0.01]), NONE)
    four = predict(Cluster(4), times, 4 * 60.0, 40_000)
    one = predict(Cluster(1), times, 60.0, 40_000)
    assert four.mean == pytest.approx(one.mean, rel=0.05)


def test_a_request_waits_for_its_slowest_shard() -> None:
    times = ServiceTimes(np.array([0.002]), np.array([0.001, 0.011]), hop_s=0.004)
    alone = predict(Cluster(1, shards=8), times, 0.5, 2_000)  # hardly ever two at once
    # Almost every request meets a slow one of eight: 2 + 4 + 11 milliseconds.
    assert alone.p50 == pytest.approx(0.017, abs=1e-6)
    assert capacity(Cluster(8, 4, 2), times) == pytest.approx(2 / 0.006)


def test_more_machines_bear_more_and_cost_the_same() -> None:
    times = ServiceTimes(np.array([0.002]), np.array([0.001]))
    assert size(1, 2, times, 4, 0.5, 1.0) is None
    small, large = (size(machines, 4, times, 2, 0.5, 1.0, 2_000) for machines in (2, 20))
    assert small is not None and large is not None
    assert large.cluster.processes == 80 and large.rate > 8 * small.rate
    assert large.cost == pytest.approx(small.cost, rel=0.35)


def simulate_alone(times: Times, load: float, cores: int, requests: int = 40_000) -> float:
    """Mean seconds of requests that have a process of their own each and share cores."""
    random = np.random.default_rng(2)
    arrivals = np.cumsum(random.exponential(times.mean() / load / cores, requests))
    needed = random.choice(times, requests)
    processes = np.arange(requests)
    answered = simulate(
        Cluster(requests), ServiceTimes(times, NONE), arrivals, needed, processes, random, cores
    )
    return float((answered - arrivals)[requests // 10 :].mean())


@pytest.mark.parametrize("times", [[0.01], [0.002, 0.002, 0.002, 0.034]])
def test_processes_that_share_a_core_take_as_long_whatever_the_spread(times: list[float]) -> None:
    # M/G/1 with processor sharing: E[T] = E[S] / (1 - load), of any distribution with that mean.
    found = simulate_alone(np.array(times), 0.5, 1)
    assert found == pytest.approx(0.01 / (1 - 0.5), rel=0.06)


def test_processes_that_share_two_cores_take_as_long_as_erlang_says() -> None:
    times = np.random.default_rng(1).exponential(0.01, 50_000)
    # M/M/2: E[T] = E[S] / (1 - load^2), in order of arrival or shared.
    found = simulate_alone(times, 0.5, 2)
    assert found == pytest.approx(float(times.mean()) / (1 - 0.5**2), rel=0.06)


def test_cores_that_suffice_change_nothing() -> None:
    random = np.random.default_rng(5)
    arrivals, needed = np.cumsum(random.exponential(0.01, 500)), random.exponential(0.02, 500)
    chosen, times = random.integers(0, 4, 500), ServiceTimes(needed, NONE)
    enough, shared = (
        simulate(Cluster(4), times, arrivals, needed, chosen, random, cores) for cores in (4, 1)
    )
    own = simulate(Cluster(4), times, arrivals, needed, chosen, random)
    assert enough.tolist() == own.tolist()
    assert (shared >= own - 1e-9).all() and shared.mean() > 1.1 * own.mean()


def test_replicas_and_shards_share_a_core() -> None:
    times = ServiceTimes(np.array([2.0]), np.array([1.0]))
    two, random = np.array([0.0, 0.0]), np.random.default_rng(0)
    needed, replicas = np.array([1.0, 2.0]), np.array([0, 1])
    alone = simulate(Cluster(2), times, two, needed, replicas, random, cores=1)
    assert alone.tolist() == pytest.approx([2.0, 3.0])
    # 1 s in the replica, 2 s for two searches of 1 s that share the core, 1 s in the replica.
    one = simulate(Cluster(1, 2), times, two[:1], needed[1:], replicas[:1], random, cores=1)
    assert one.tolist() == pytest.approx([4.0])
    assert capacity(Cluster(1, 2), times, cores=1) == pytest.approx(1 / 4)
    assert capacity(Cluster(1, 2), times) == pytest.approx(1 / 2)


def test_times_are_drawn_from_those_that_were_measured() -> None:
    times = ServiceTimes(np.array([0.002] * 95 + [0.011] * 5), NONE)
    found = predict(Cluster(20), times, 0.5, 4_000)  # hardly ever two at once
    assert (found.p50, found.p99) == pytest.approx((0.002, 0.011))
    assert found.mean == pytest.approx(0.00245, rel=0.05)


def test_each_of_many_replicas_gets_enough_requests_to_fill_its_queue() -> None:
    found = size(40, 8, ServiceTimes(np.array([0.01]), NONE), 0, 0.7, 1.0, 1_000)
    assert found is not None
    assert found.prediction.mean == pytest.approx(0.01 + 0.01 * 0.7 / 0.6, rel=0.08)
