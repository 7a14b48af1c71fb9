"""CPU seconds of one epoch of SASRec with 64 dimensions and two blocks, on one thread.

python src/serendip_bench/scripts/sasrec_epoch.py ../shared/data/amazon-beauty

Prints one JSON line: CPU seconds of an epoch with sampled softmax and with full softmax, and users
scored per CPU second. The first epoch is a warm-up.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from serendip.runtime.threads import limit_threads

limit_threads(1)

from serendip.models.sequence.config import SASRecConfig
from serendip.models.sequence.model import SASRec
from serendip.models.sequence.network import SASRecNetwork
from serendip.models.sequence.train import SequenceTraining
from serendip_bench.datasets.sequences import read_sequences
from serendip_bench.splits import BenchSplit, build_sequential_split

SIZES = {"embedding_size": 64, "num_layers": 2, "num_heads": 2}


def main(folder: Path) -> None:
    """Measure, print one JSON line."""
    split = build_sequential_split(read_sequences(folder))
    result = {
        "benchmark": "sasrec_epoch",
        "sampled_cpu_s": time_epoch(split, num_negatives=1_024),
        "full_cpu_s": time_epoch(split, num_negatives=split.train.num_items),
        "scored_users_per_cpu_s": measure_scoring(split),
    }
    print(json.dumps(result))


def time_epoch(split: BenchSplit, num_negatives: int) -> float:
    """CPU seconds of the second epoch."""
    config = SASRecConfig.model_validate(SIZES | {"num_negatives": num_negatives})
    size = split.train.num_items
    training = SequenceTraining(lambda context: SASRecNetwork(size, config), split.train, config, 0)
    training.epoch(0)
    start = time.process_time()
    training.epoch(1)
    return round(time.process_time() - start, 1)


def measure_scoring(split: BenchSplit) -> int:
    """Users scored over all items per CPU second."""
    config = SASRecConfig.model_validate(SIZES | {"epochs": 1})
    model = SASRec(config).train(split.train)
    start = time.process_time()
    for first in range(0, len(split.test.queries), 1_000):
        model.score_all(split.test.queries[first : first + 1_000])
    return round(len(split.test.queries) / (time.process_time() - start))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
