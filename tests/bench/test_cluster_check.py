"""The check of the model of a cluster against a real service."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest

from serendip.runtime.executor import count_cores
from serendip_bench.cluster_model import Cluster, ServiceTimes, Times, simulate, size
from serendip_bench.scripts.cluster import (
    ClusterReport,
    MeasuredRequests,
    ModelCheck,
    RunningShards,
    check_model,
    measure_requests,
)
from serendip_bench.scripts.random_load import Arrivals, find_process

NO_SHARDS = RunningShards([], [])


def test_a_service_and_the_model_get_the_same_requests(shop: Path) -> None:
    measured = measure_requests(shop, NO_SHARDS, requests=12)
    paths, request_s = measured.paths, measured.times.request_s
    assert len(paths) == len(request_s) == 36 and len(set(paths)) == 12
    assert {path.partition("?")[0].split("/")[2] for path in paths} == {
        "recommend",
        "search",
        "items",
    }
    assert (request_s > 0).all() and not len(measured.times.shard_s)

    check = check_model(shop, NO_SHARDS, measured, 1, load=0.3, seconds=1.0)
    arrivals = check.arrivals
    drawn = Arrivals.draw(1, 36, check.rate, 1.0)
    assert check.rate == pytest.approx(0.3 / request_s.mean())
    assert arrivals.requests.tolist() == drawn.requests.tolist()
    assert (arrivals.moments > drawn.moments - 1e-6).all()  # a client is late, never early
    assert len(check.measured) == len(arrivals.moments) and (check.measured > 0).all()
    answered = simulate(
        Cluster(1),
        measured.times,
        arrivals.moments,
        request_s[arrivals.requests],
        arrivals.processes,
        np.random.default_rng(0),
        count_cores(),
    )
    assert check.predicted.tolist() == (answered - arrivals.moments).tolist()
    assert (check.predicted >= request_s[arrivals.requests] - 1e-9).all()


def test_arrivals_are_random_and_each_request_and_process_comes_as_often() -> None:
    arrivals = Arrivals.draw(4, 10, 200.0, 50.0)
    gaps = np.diff(arrivals.moments)
    assert gaps.mean() == pytest.approx(1 / 200, rel=0.03)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # exponential
    assert np.bincount(arrivals.requests) == pytest.approx(np.full(10, 1_000), rel=0.15)
    assert np.bincount(arrivals.processes) == pytest.approx(np.full(4, 2_500), rel=0.1)


def test_the_process_that_accepted_a_connection_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            client_port = client.getsockname()[1]
            with pytest.raises(SystemExit, match="None of the processes"):
                find_process([os.getpid()], port, client_port)
            with server.accept()[0]:
                assert find_process([os.getpid()], port, client_port) == 0


def check(processes: int, measured: Times, predicted: Times) -> ModelCheck:
    return ModelCheck(processes, 100.0, Arrivals.draw(1, 1, 100.0, 1.0), measured, predicted)


def test_errors_of_the_check_are_beside_the_predictions() -> None:
    times = ServiceTimes(np.array([0.01]), np.empty(0))
    measured = MeasuredRequests(["/"], times)
    real = np.full(100, 0.02)
    sizing = size(1, 8, times, 0, 0.5, 0.4, 1_000)
    assert sizing is not None
    report = ClusterReport(
        2, 0.5, measured, [check(1, real, 0.8 * real), check(2, real, 1.25 * real)], [sizing]
    )
    found = report.as_dict()
    assert [row["errors"] for row in found["checks"]] == [[-0.2, -0.2], [0.25, 0.25]]
    assert found["service_times"]["request"]["mean_ms"] == 10.0
    p99 = sizing.prediction.p99
    assert report.find_range(p99, 1) == pytest.approx((p99 / 1.25, p99 / 0.8))
    row = found["predictions"][0]
    assert row["p99_ms_range"] == pytest.approx([p99 * 800, p99 * 1_250], abs=0.06)
    text = report.to_markdown()
    assert "| 1 | 100, 100 | 20.0, 16.0 | 20.0, 16.0 | -20%, -20% |" in text
    low, high = row["p99_ms_range"]
    assert "| 1 | 8, none | 400 | " in text and f"({low:.1f} to {high:.1f}) | 0.28 |" in text
