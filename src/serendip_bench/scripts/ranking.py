"""What it costs to put candidates in order: the exported ranker on prepared features, one thread.

python src/serendip_bench/scripts/ranking.py [--candidates 300] [--rounds 2000] [--json]

The network has the default config and the features that the engine serves with; it is trained on
random rows for one pass, since what it says costs what anything else would.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from serendip.runtime.threads import limit_threads

limit_threads()

from serendip.engine.feature_names import feature_names
from serendip.engine.models_config import ModelsConfig
from serendip.models.ranker.config import RankerConfig, RankerRows
from serendip.models.ranker.model import Ranker
from serendip.models.retriever.config import UnifiedConfig

FEATURES = feature_names(ModelsConfig().build(UnifiedConfig()))


def random_ranker(random: np.random.Generator) -> Ranker:
    """Trained on noise."""
    rows = RankerRows(
        features=random.normal(size=(4_000, len(FEATURES))).astype(np.float32),
        task=random.integers(0, 3, 4_000),
        labels=(random.random((4_000, 2)) < 0.1).astype(np.float32),
        weights=np.ones(4_000, np.float32),
        group=np.repeat(np.arange(100), 40),
    )
    return Ranker(RankerConfig(epochs=1)).train(rows, FEATURES)


def main() -> None:
    """Rank the same candidates many times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    random = np.random.default_rng(0)
    ranker = random_ranker(random)
    features = random.normal(size=(asked.candidates, len(FEATURES))).astype(np.float32)
    task, weights = np.zeros(asked.candidates, np.int64), {"interact": 1.0, "like": 1.0}
    spent = []
    for _ in range(asked.rounds):
        begin = time.process_time()
        np.argsort(-ranker.value(ranker.predict(features, task), weights))
        spent.append(1_000 * (time.process_time() - begin))
    found = {"p50": float(np.median(spent)), "p95": float(np.quantile(spent, 0.95))}
    if asked.json:
        print(json.dumps({"candidates": asked.candidates, "cpu_ms": found}))
        return
    print(f"{asked.candidates} candidates: {found['p50']:.3f} CPU-ms, p95 {found['p95']:.3f}")


if __name__ == "__main__":
    main()
