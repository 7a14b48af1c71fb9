"""Predicts p99 and cost of 1 to 200 machines, after a check of the model on this one.

Usage: python src/serendip_bench/scripts/cluster.py --request-ms 2 6 [--shard-ms 2.5 5 --shards 4]
    [--hop-ms .5] [--load .5] [--cores 8] [--price .4] [--stretch 10] [--busy] [--seconds 12]

``--request-ms`` and ``--shard-ms`` are the mean and the 99th percentile of measured times, from
which times are drawn (log-normal). First 1, 2 and 4 processes of this machine serve requests that
arrive at random, each for a drawn time, ``--stretch`` times as long, so that the noise of a busy
machine counts less; they wait for that time, or with ``--busy`` compute, which needs a free core
each. Their median and p99 are compared with what the model says of the same requests. One JSON
document has the errors of the model and its predictions.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip_bench.cluster_model import WARM_SHARE, Cluster, ServiceTimes, Times, run, size

_MACHINES = (1, 2, 5, 10, 20, 50, 100, 200)
_PROCESSES = (1, 2, 4)
_NORMAL_99 = 2.3263
_MESSAGE = struct.Struct("<id")


def draw(mean_ms: float, p99_ms: float, count: int = 20_000) -> Times:
    """Seconds (count,) with a mean and a 99th percentile, log-normal."""
    ratio = math.log(p99_ms / mean_ms)
    # p99 = mean exp(-s^2 / 2 + 2.33 s): the smaller root; a larger ratio than e^2.7 has none.
    spread = _NORMAL_99 - math.sqrt(max(0.0, _NORMAL_99**2 - 2 * ratio))
    normal = np.random.default_rng(7).normal(size=count)
    times: Times = np.exp(math.log(mean_ms) - spread**2 / 2 + spread * normal) / 1e3
    return times


def serve(connection: socket.socket, is_busy: bool) -> None:
    """What a process does: one request after another, in order."""
    with connection.makefile("rb") as stream:
        while message := stream.read(_MESSAGE.size):
            number, seconds = _MESSAGE.unpack(message)
            if is_busy:
                end = time.process_time() + seconds
                while time.process_time() < end:
                    pass
            else:
                time.sleep(seconds)
            connection.sendall(_MESSAGE.pack(number, seconds))


def start(count: int, is_busy: bool) -> list[socket.socket]:
    """Fork processes that serve; each ends when its connection is closed."""
    ours: list[socket.socket] = []
    for _ in range(count):
        mine, theirs = socket.socketpair()
        if not os.fork():
            mine.close()
            for other in ours:
                other.close()
            serve(theirs, is_busy)
            os._exit(0)
        theirs.close()
        ours.append(mine)
    return ours


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Requests that arrive at random.

    Args:
        moments: (R,) seconds from the beginning.
        needed: (R,) seconds that each one computes.
        chosen: (R,) process that gets it.
    """

    moments: Times
    needed: Times
    chosen: NDArray[np.int64]

    @classmethod
    def draw(cls, processes: int, times: Times, rate: float, seconds: float) -> Arrivals:
        """Draw them."""
        random, count = np.random.default_rng(3), int(rate * seconds)
        moments = np.cumsum(random.exponential(1 / rate, count))
        chosen = random.integers(0, processes, count)
        return cls(moments, random.choice(times, count), chosen)


def measure(connections: list[socket.socket], arrivals: Arrivals) -> Times:
    """Moments (R,) at which processes answer, in seconds."""
    needed, chosen = arrivals.needed, arrivals.chosen
    answered = np.zeros(len(chosen))
    begin = time.monotonic() + 0.1

    def receive(connection: socket.socket, expected: int) -> None:
        with connection.makefile("rb") as stream:
            for _ in range(expected):
                number, _ = _MESSAGE.unpack(stream.read(_MESSAGE.size))
                answered[number] = time.monotonic() - begin

    expected = np.bincount(chosen, minlength=len(connections)).tolist()
    threads = [
        threading.Thread(target=receive, args=pair)
        for pair in zip(connections, expected, strict=True)
    ]
    for thread in threads:
        thread.start()
    for number, moment in enumerate(arrivals.moments.tolist()):
        time.sleep(max(0.0, begin + moment - time.monotonic()))
        connections[chosen[number]].sendall(_MESSAGE.pack(number, needed[number]))
    for thread in threads:
        thread.join()
    return answered


def percentiles(arrivals: Arrivals, answered: Times) -> Times:
    """Median and 99th percentile of the latencies, without the first requests."""
    latencies = (answered - arrivals.moments)[int(WARM_SHARE * len(answered)) :]
    return np.asarray(np.percentile(latencies, (50, 99)), np.float64)


def check(times: Times, load: float, seconds: float, is_busy: bool) -> list[dict[str, Any]]:
    """What processes of this machine measure, what the model says, and its error."""
    rows = []
    for count in _PROCESSES:
        rate = load * count / float(times.mean())
        arrivals = Arrivals.draw(count, times, rate, seconds)
        connections = start(count, is_busy)
        try:
            measured = percentiles(arrivals, measure(connections, arrivals))
        finally:
            for connection in connections:
                connection.close()
            for _ in connections:
                os.wait()
        answered = run(
            Cluster(count),
            ServiceTimes(times, np.empty(0)),
            *(arrivals.moments, arrivals.needed, arrivals.chosen),
            np.random.default_rng(0),
        )
        said = percentiles(arrivals, answered)
        rows.append(
            {
                "processes": count,
                "measured_ms": np.round(measured * 1e3, 1).tolist(),
                "predicted_ms": np.round(said * 1e3, 1).tolist(),
                "error": np.round(said / measured - 1, 3).tolist(),
            }
        )
    return rows


def main() -> None:
    """Read the command line and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--request-ms", type=float, nargs=2, required=True)
    parser.add_argument("--shard-ms", type=float, nargs=2, default=(1.0, 2.0))
    parser.add_argument("--shards", type=int, default=0)
    parser.add_argument("--hop-ms", type=float, default=0.5)
    parser.add_argument("--load", type=float, default=0.5)
    parser.add_argument("--cores", type=int, default=8)
    parser.add_argument("--price", type=float, default=0.4)
    parser.add_argument("--stretch", type=float, default=10.0)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--seconds", type=float, default=12.0)
    options = parser.parse_args()
    request_s = draw(*options.request_ms)
    checked = check(options.stretch * request_s, options.load, options.seconds, options.busy)
    times = ServiceTimes(request_s, draw(*options.shard_ms), options.hop_ms / 1e3)
    sizes = [
        size(machines, options.cores, times, options.shards, options.load, options.price)
        for machines in _MACHINES
    ]
    document = {
        "model_against_processes": checked,
        "load": options.load,
        "predictions": [one.as_dict() for one in sizes if one is not None],
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
