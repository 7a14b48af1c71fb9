"""Recall and CPU time of ``ApproximateIndex``, with and without filters, on one thread.

python -m serendip_bench.scripts.approximate_index [--items 1000000] [--size 64]
        [--queries 500] [--json]

Vectors resemble trained ones: a mixture of 3,000 correlated clusters with a decaying spectrum,
scaled to length sqrt(D). Queries are noisy means of a few items. CPU time is that of ``search``
with one query at a time; filters are prepared before.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from serendip.runtime.threads import limit_threads

limit_threads()

import numpy as np

from serendip.data import AllowedItems, FloatArray, ItemSet
from serendip.models.index.ann_index import ApproximateIndex

K = 100
SHARES = (0.5, 0.1, 0.02, 0.001)


def draw_item_vectors(count: int, size: int, seed: int = 0) -> FloatArray:
    """(count, size) float32 item vectors of length sqrt(size)."""
    rng = np.random.default_rng(seed)
    spectrum = (np.arange(1, size + 1) ** -0.35).astype(np.float32)
    roots = rng.normal(size=(60, size)).astype(np.float32)
    centres = roots[rng.integers(0, 60, 3_000)] + 0.8 * rng.normal(size=(3_000, size))
    popular = (np.arange(1, 3_001) ** -0.7) / np.sum(np.arange(1, 3_001) ** -0.7)
    vectors = centres[rng.choice(3_000, count, p=popular)].astype(np.float32)
    vectors += 0.6 * rng.standard_normal((count, size), dtype=np.float32)
    return _scale(vectors * spectrum)


def draw_query_vectors(items: FloatArray, count: int, seed: int = 1) -> FloatArray:
    """(count, size) query vectors: noisy means of one to three items."""
    rng = np.random.default_rng(seed)
    means = [items[rng.integers(0, len(items), rng.integers(1, 4))].mean(0) for _ in range(count)]
    noise = 0.3 * items.std(0) * rng.standard_normal((count, items.shape[1]), dtype=np.float32)
    return _scale(np.stack(means).astype(np.float32) + noise)


def _scale(vectors: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True) / np.sqrt(vectors.shape[1])
    return np.asarray(vectors / lengths, np.float32)


def measure(
    index: ApproximateIndex, queries: FloatArray, allowed: AllowedItems | None
) -> dict[str, Any]:
    """Recall@100 against exact search, CPU ms per query, and mean number of results."""
    numbers = np.arange(len(index)) if allowed is None else allowed.shared.numbers
    vectors = index.vectors if allowed is None else index.vectors[numbers]
    for query in queries[:5]:
        index.search(query, K, allowed)
    begin = time.process_time()
    answers = [index.search(query, K, allowed)[0] for query in queries]
    seconds = time.process_time() - begin
    hits = 0
    for query, answer in zip(queries, answers, strict=True):
        scores = vectors @ query
        exact = numbers[np.argpartition(-scores, min(K, len(scores)) - 1)[:K]]
        hits += len(set(exact.tolist()) & set(answer.tolist()))
    possible = min(K, len(numbers)) * len(queries)
    return {
        "allowed": len(numbers),
        "recall@100": hits / possible,
        "returned": sum(len(answer) for answer in answers) / len(queries),
        "cpu_ms": 1_000 * seconds / len(queries),
    }


def main() -> None:
    """Build the index, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    items = draw_item_vectors(options.items, options.size)
    begin = time.process_time()
    # Index tuning and measurement use different queries.
    index = ApproximateIndex.build(items, draw_query_vectors(items, 200, seed=2))
    build = time.process_time() - begin
    queries, rng = draw_query_vectors(items, options.queries), np.random.default_rng(3)
    rows = {"all": measure(index, queries, None)}
    for share in SHARES:
        allowed = AllowedItems(ItemSet(rng.random(len(items)) < share))
        rows[f"{share:.1%}"] = measure(index, queries, allowed)
    document = {"items": options.items, "size": options.size, "build_cpu_s": build}
    document |= {"num_probes": index.num_probes, "rows": rows}
    if options.json:
        print(json.dumps(document, indent=1))
        return
    print(
        f"{options.items:,} x {options.size}: built in {build:.0f} CPU-s, {index.num_probes} probes"
    )
    for name, row in rows.items():
        print(
            f"  {name:>6} allowed   recall@100 {row['recall@100']:.4f}"
            f"   returned {row['returned']:.1f}   {row['cpu_ms']:.2f} CPU-ms"
        )


if __name__ == "__main__":
    main()
