"""CPU time of ranking: the exported ranker on prepared features, on one thread.

python -m serendip_bench.scripts.ranking [--candidates 300] [--rounds 2000] [--json]

The network has the default config and the engine's features; it is trained on random rows for one
epoch, since the cost does not depend on the weights.
"""

from __future__ import annotations

import argparse
import json
import time

from serendip.runtime.threads import limit_threads

limit_threads()

import numpy as np

from serendip.engine.config.models import ModelsConfig
from serendip.engine.feature_names import feature_names
from serendip.models.ranker.config import RankerConfig, RankerRows
from serendip.models.ranker.model import Ranker
from serendip.models.retriever.config import UnifiedConfig

FEATURES = feature_names(ModelsConfig().build(UnifiedConfig()))


def train_random_ranker(random: np.random.Generator) -> Ranker:
    """A ranker trained on noise."""
    rows = RankerRows(
        features=random.normal(size=(4_000, len(FEATURES))).astype(np.float32),
        task=random.integers(0, 3, 4_000),
        labels=(random.random((4_000, 2)) < 0.1).astype(np.float32),
        weights=np.ones(4_000, np.float32),
        group=np.repeat(np.arange(100), 40),
    )
    return Ranker(RankerConfig(epochs=1)).train(rows, FEATURES)


def main() -> None:
    """Rank the same candidates many times, print CPU times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    random = np.random.default_rng(0)
    ranker = train_random_ranker(random)
    features = random.normal(size=(options.candidates, len(FEATURES))).astype(np.float32)
    task, weights = np.zeros(options.candidates, np.int64), {"interact": 1.0, "like": 1.0}
    times = []
    for _ in range(options.rounds):
        begin = time.process_time()
        np.argsort(-ranker.value(ranker.predict(features, task), weights))
        times.append(1_000 * (time.process_time() - begin))
    percentiles = {"p50": float(np.median(times)), "p95": float(np.quantile(times, 0.95))}
    if options.json:
        print(json.dumps({"candidates": options.candidates, "cpu_ms": percentiles}))
        return
    print(
        f"{options.candidates} candidates: {percentiles['p50']:.3f} CPU-ms, "
        f"p95 {percentiles['p95']:.3f}"
    )


if __name__ == "__main__":
    main()
