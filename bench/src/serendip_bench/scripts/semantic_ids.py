"""Speed of semantic IDs, compared with plain faiss calls for the same work, interleaved.

python -m serendip_bench.scripts.semantic_ids [--vectors 200000] [--size 384] [--rounds 3]
        [--json]

Fit: ``faiss.Kmeans.train`` with the same settings and an exact index that assigns every vector,
level by level. Assign: the exact index alone. A ratio of 1 means the vectors/s of faiss.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from serendip.runtime.threads import limit_threads

limit_threads()

import faiss
import numpy as np

from serendip.content.semantic_ids.kmeans import (
    ResidualKMeansConfig,
    choose_codebook_size,
    fit_codebooks,
)
from serendip.data.arrays import FloatArray, IntArray
from serendip.runtime.threads import num_threads

CASES = {
    "residual-k-means 256 x 3": ResidualKMeansConfig(codebook_size=256, num_levels=3),
    "k-means 1000 x 1": ResidualKMeansConfig(num_levels=1, codebook_size=1_000),
}


def draw_clustered(count: int, size: int, seed: int = 0) -> FloatArray:
    """Unit vectors (count, size) around 2,000 centres."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(2_000, size)).astype(np.float32)
    vectors = centres[rng.integers(0, len(centres), count)]
    vectors += 0.7 * rng.standard_normal((count, size), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors, dtype=np.float32)


def fit_with_faiss(
    vectors: FloatArray, num_levels: int, size: int, iterations: int
) -> list[FloatArray]:
    """Plain faiss: train, assign, subtract residuals; centroids (K, D) per level."""
    residual, levels = vectors.copy(), []
    for level in range(num_levels):
        kmeans = faiss.Kmeans(
            vectors.shape[1], size, niter=iterations, seed=level + 1, min_points_per_centroid=1
        )
        kmeans.train(residual)
        levels.append(np.asarray(kmeans.centroids))
        residual -= levels[-1][kmeans.index.search(residual, 1)[1][:, 0]]
    return levels


def assign_with_faiss(vectors: FloatArray, levels: list[FloatArray]) -> IntArray:
    """Codes (N, L) by exact search, level by level."""
    residual, codes = vectors.copy(), []
    for centroids in levels:
        index = faiss.IndexFlatL2(vectors.shape[1])
        index.add(centroids)
        codes.append(index.search(residual, 1)[1][:, 0])
        residual -= centroids[codes[-1]]
    return np.stack(codes, axis=1).astype(np.int32)


def measure(vectors: FloatArray, config: ResidualKMeansConfig, rounds: int) -> dict[str, Any]:
    """Vectors/s of the fastest of several interleaved rounds."""
    size = choose_codebook_size(config, len(vectors))
    codebooks, _ = fit_codebooks(vectors[: 2 * size], config)
    levels = fit_with_faiss(vectors[: 2 * size], codebooks.num_levels, size, config.iterations)
    calls: dict[str, Callable[[], object]] = {
        "fit": lambda: fit_codebooks(vectors, config),
        "raw fit": lambda: fit_with_faiss(vectors, codebooks.num_levels, size, config.iterations),
        "assign": lambda: codebooks.assign(vectors),
        "raw assign": lambda: assign_with_faiss(vectors, levels),
    }
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    rates = {name: round(len(vectors) / seconds) for name, seconds in best.items()}
    return {
        "vectors_per_s": rates,
        "fit_ratio": round(best["raw fit"] / best["fit"], 3),
        "assign_ratio": round(best["raw assign"] / best["assign"], 3),
    }


def main() -> None:
    """Print one table, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=200_000)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    threads = num_threads()
    faiss.omp_set_num_threads(threads)
    vectors = draw_clustered(options.vectors, options.size)
    rows = {name: measure(vectors, config, options.rounds) for name, config in CASES.items()}
    if options.json:
        facts = {"vectors": options.vectors, "size": options.size, "threads": threads}
        print(json.dumps({"benchmark": "semantic_ids", **facts, "cases": rows}, indent=1))
        return
    print(f"{options.vectors:,} vectors of size {options.size}, {threads} thread(s), vectors/s")
    for name, row in rows.items():
        rates = row["vectors_per_s"]
        for verb in ("fit", "assign"):
            print(
                f"  {name:<26} {verb:<7} {rates[verb]:>9,}   faiss {rates[f'raw {verb}']:>9,}"
                f"   ratio {row[f'{verb}_ratio']:.2f}"
            )


if __name__ == "__main__":
    main()
