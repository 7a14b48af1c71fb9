"""What a search costs in shards, against one index, and whether it finds the same items.

Usage: python src/serendip_bench/scripts/shard_cost.py WORKSPACE [--parts 4] [--queries 100]

Searches the retriever of the generation in force for the 100 best items of typical requests: by one
index, by shards in this process, and by as many processes of `serendip shard` on this machine. The
ways take turns in blocks of 10 queries. One JSON line has CPU milliseconds per search (of all
processes; the median and the least of the blocks), the wall time, the share of queries whose 100
items are those of one index, and recall
against all items scored exactly. The workspace is read only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from serendip.runtime.threads import limit_threads

limit_threads(1)

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.engine.artefacts.generations import open_current
from serendip.engine.artefacts.shards import ShardGroup
from serendip.engine.state import EngineState
from serendip.models.index.sharded_index import LocalShard, ShardedIndex
from serendip.models.index.vector_index import VectorIndex
from serendip.models.retriever.model import Retriever

_K, _BLOCK, _ROWS = 100, 10, 16_384
_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def shard_processes(workspace: Path, parts: int) -> Iterator[tuple[list[str], list[int]]]:
    """Addresses and process ids of as many shards as there are parts."""
    processes, addresses = [], []
    try:
        for part in range(1, parts + 1):
            command = [sys.executable, "-m", "serendip", "shard", "-w", str(workspace)]
            command += ["--part", f"{part}/{parts}", "--port", "0"]
            processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        for process in processes:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"127\.0\.0\.1:\d+", line)
            if found is None:
                raise SystemExit(f"a shard does not start: {line}")
            addresses.append(found[0])
        yield addresses, [process.pid for process in processes]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def cpu_s(processes: list[int]) -> float:
    """CPU seconds of this process and others so far."""
    total = time.process_time()
    for number in processes:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


def resident_mib(processes: list[int]) -> list[float]:
    """Resident memory that is no mapped file, of each process."""
    texts = [Path(f"/proc/{number}/status").read_text() for number in processes]
    return [int(text.partition("RssAnon:")[2].split()[0]) / 1024 for text in texts]


def exact_top(model: Retriever, queries: FloatArray) -> list[set[int]]:
    """The best items of each query (V,), all items scored."""
    best: list[list[tuple[float, int]]] = [[] for _ in queries]
    for begin in range(0, model.num_items, _ROWS):
        block = np.arange(begin, min(begin + _ROWS, model.num_items), dtype=np.int32)
        scores = queries @ model.vectors_of(block).T  # (B, M)
        top = np.argpartition(-scores, min(_K, len(block) - 1), axis=1)[:, :_K]
        for row, columns in enumerate(top):
            pairs = zip(scores[row, columns].tolist(), block[columns].tolist(), strict=True)
            best[row] = sorted([*best[row], *pairs], reverse=True)[:_K]
    return [{item for _, item in pairs} for pairs in best]


def measure(workspace: Path, parts: int, num_queries: int) -> dict[str, object]:
    """Run all ways on the same queries."""
    generation = open_current(workspace / "generations", verify=False)
    model = EngineState.open(generation.folder).models["retriever"]
    assert isinstance(model, Retriever)
    folder = generation.folder / "models" / "retriever" / "index"
    items = np.random.default_rng(1).integers(0, model.num_items, num_queries).astype(np.int32)
    queries = model.encode_queries(
        model.typical_queries([items[row : row + 1] for row in range(num_queries)])
    )
    whole = VectorIndex.open(folder)
    shards = [LocalShard.open(folder, part, parts) for part in range(parts)]
    here = VectorIndex(
        whole.item_map,
        whole.query_map,
        ShardedIndex(whole.base.config, whole.base.vectors, shards, 60.0),
        whole.late_items,
        whole.late_rows,
        whole.late_vectors,
    )
    with shard_processes(workspace, parts) as (addresses, processes):
        sharded = ShardGroup(addresses, 60.0, generation).open_index(folder)
        assert sharded is not None
        there = VectorIndex(
            whole.item_map,
            whole.query_map,
            sharded,
            whole.late_items,
            whole.late_rows,
            whole.late_vectors,
        )

        def best(index: VectorIndex, query: FloatArray) -> IntArray:
            found = index.search(index.reduce(query[None])[0], _K, None)
            scores = model.vectors_of(found) @ query
            top: IntArray = found[np.argsort(-scores, kind="stable")[:_K]]
            return top

        ways: dict[str, Callable[[FloatArray], IntArray]] = {
            "one index": lambda query: best(whole, query),
            "shards here": lambda query: best(here, query),
            "shards in processes": lambda query: best(there, query),
        }
        cpu: dict[str, list[float]] = {name: [] for name in ways}
        wall: dict[str, list[float]] = {name: [] for name in ways}
        found: dict[str, list[set[int]]] = {name: [] for name in ways}
        for way in ways.values():
            way(queries[0])
        for begin in range(0, len(queries), _BLOCK):
            block = queries[begin : begin + _BLOCK]
            for name, way in ways.items():
                before, start = cpu_s(processes), time.perf_counter()
                tops = [way(query) for query in block]
                wall[name].append((time.perf_counter() - start) / len(block) * 1e3)
                cpu[name].append((cpu_s(processes) - before) / len(block) * 1e3)
                found[name] += [set(top.tolist()) for top in tops]
        memory = resident_mib(processes)
    exact = exact_top(model, queries)
    one = found["one index"]
    return {
        "items": model.num_items,
        "parts": parts,
        "queries": len(queries),
        "cpu_ms": {name: round(statistics.median(values), 3) for name, values in cpu.items()},
        "least_cpu_ms": {name: round(min(values), 3) for name, values in cpu.items()},
        "wall_ms": {name: round(statistics.median(values), 3) for name, values in wall.items()},
        "same_100": {
            name: round(statistics.mean(a == b for a, b in zip(tops, one, strict=True)), 3)
            for name, tops in found.items()
        },
        "recall_100": {
            name: round(
                statistics.mean(len(a & b) / _K for a, b in zip(tops, exact, strict=True)), 5
            )
            for name, tops in found.items()
        },
        "shard_mib": [round(value) for value in memory],
        "python": platform.python_version(),
    }


def main() -> None:
    """Read the command line and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--queries", type=int, default=100)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.workspace, arguments.parts, arguments.queries)))


if __name__ == "__main__":
    main()
