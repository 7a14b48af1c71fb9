"""The model of a cluster agrees with what queueing theory knows exactly."""

from __future__ import annotations

import numpy as np
import pytest

from serendip_bench.cluster_model import Cluster, ServiceTimes, capacity, predict, size

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
