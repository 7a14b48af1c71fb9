"""Retrieval from many vectors: recall, CPU time and filters of ``ApproximateIndex``, one thread.

python src/serendip_bench/scripts/approximate_index.py [--items 1000000] [--size 64]
        [--queries 500] [--json]

Vectors like trained ones: a mixture of 3,000 tastes that are themselves near one another, with a
spectrum that falls, at a length of sqrt(D). Queries are means of a few items with noise. CPU time
is of ``search`` with one query at a time, filters prepared before.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

from serendip.runtime.threads import limit_threads

limit_threads()

from serendip.data.arrays import FloatArray
from serendip.models.ann_index import ApproximateIndex, PreparedFilter

K = 100
SHARES = (0.5, 0.1, 0.02, 0.001)


def like_trained(count: int, size: int, seed: int = 0) -> FloatArray:
    """(count, size) float32 item vectors of length sqrt(size)."""
    rng = np.random.default_rng(seed)
    spectrum = (np.arange(1, size + 1) ** -0.35).astype(np.float32)
    roots = rng.normal(size=(60, size)).astype(np.float32)
    centres = roots[rng.integers(0, 60, 3_000)] + 0.8 * rng.normal(size=(3_000, size))
    popular = (np.arange(1, 3_001) ** -0.7) / np.sum(np.arange(1, 3_001) ** -0.7)
    vectors = centres[rng.choice(3_000, count, p=popular)].astype(np.float32)
    vectors += 0.6 * rng.standard_normal((count, size), dtype=np.float32)
    return _scaled(vectors * spectrum)


def like_asked(items: FloatArray, count: int, seed: int = 1) -> FloatArray:
    """(count, size) request vectors: means of one to three items, with noise."""
    rng = np.random.default_rng(seed)
    means = [items[rng.integers(0, len(items), rng.integers(1, 4))].mean(0) for _ in range(count)]
    noise = 0.3 * items.std(0) * rng.standard_normal((count, items.shape[1]), dtype=np.float32)
    return _scaled(np.stack(means).astype(np.float32) + noise)


def _scaled(vectors: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True) / np.sqrt(vectors.shape[1])
    return np.asarray(vectors / lengths, np.float32)


def measured(
    index: ApproximateIndex, queries: FloatArray, allowed: PreparedFilter | None
) -> dict[str, Any]:
    """Recall of the true first 100, CPU ms per query, and how many of 100 came back."""
    numbers = np.arange(len(index)) if allowed is None else allowed.numbers
    vectors = index.vectors if allowed is None else index.vectors[numbers]
    index.search(queries[:5], K, allowed)
    begin = time.process_time()
    answers = [index.search(query[None], K, allowed)[0] for query in queries]
    spent = time.process_time() - begin
    hits = 0
    for query, answer in zip(queries, answers, strict=True):
        scores = vectors @ query
        true = numbers[np.argpartition(-scores, min(K, len(scores)) - 1)[:K]]
        hits += len(set(true.tolist()) & set(answer.item_nums.tolist()))
    wanted = min(K, len(numbers)) * len(queries)
    return {
        "allowed": len(numbers),
        "recall@100": hits / wanted,
        "returned": sum(len(answer) for answer in answers) / len(queries),
        "cpu_ms": 1_000 * spent / len(queries),
    }


def main() -> None:
    """Build, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    items = like_trained(asked.items, asked.size)
    begin = time.process_time()
    # Built with some requests, judged on others.
    index = ApproximateIndex.build(items, like_asked(items, 200, seed=2))
    build = time.process_time() - begin
    queries, rng = like_asked(items, asked.queries), np.random.default_rng(3)
    rows = {"all": measured(index, queries, None)}
    for share in SHARES:
        allowed = index.prepare(rng.random(len(items)) < share)
        rows[f"{share:.1%}"] = measured(index, queries, allowed)
    document = {"items": asked.items, "size": asked.size, "build_cpu_s": build}
    document |= {"num_probes": index.num_probes, "rows": rows}
    if asked.json:
        print(json.dumps(document, indent=1))
        return
    print(f"{asked.items:,} x {asked.size}: built in {build:.0f} CPU-s, {index.num_probes} probes")
    for name, row in rows.items():
        print(
            f"  {name:>6} allowed   recall@100 {row['recall@100']:.4f}"
            f"   returned {row['returned']:.1f}   {row['cpu_ms']:.2f} CPU-ms"
        )


if __name__ == "__main__":
    main()
