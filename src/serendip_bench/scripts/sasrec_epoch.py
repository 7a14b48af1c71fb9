"""CPU seconds of one epoch of a SASRec of 64 dimensions and two blocks on one thread.

python src/serendip_bench/scripts/sasrec_epoch.py ../shared/data/amazon-beauty

Prints one JSON line: an epoch with sampled softmax, one with the whole catalogue, and how many
users a second of CPU scores. The first epoch warms up and is not counted.
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
    """Measure and print."""
    trial = build_sequential_split(read_sequences(folder))
    result = {
        "benchmark": "sasrec_epoch",
        "sampled_cpu_s": epoch_seconds(trial, num_negatives=1_024),
        "full_cpu_s": epoch_seconds(trial, num_negatives=trial.train.num_items),
        "scored_users_per_cpu_s": scored_per_second(trial),
    }
    print(json.dumps(result))


def epoch_seconds(trial: BenchSplit, num_negatives: int) -> float:
    """CPU seconds of the second epoch."""
    config = SASRecConfig.model_validate(SIZES | {"num_negatives": num_negatives})
    size = trial.train.num_items
    training = SequenceTraining(lambda past: SASRecNetwork(size, config), trial.train, config, 0)
    training.epoch(0)
    started = time.process_time()
    training.epoch(1)
    return round(time.process_time() - started, 1)


def scored_per_second(trial: BenchSplit) -> int:
    """Histories that become scores of all items, per CPU second."""
    config = SASRecConfig.model_validate(SIZES | {"epochs": 1})
    model = SASRec(config).train(trial.train)
    started = time.process_time()
    for start in range(0, len(trial.test.queries), 1_000):
        model.score_all(trial.test.queries[start : start + 1_000])
    return round(len(trial.test.queries) / (time.process_time() - started))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
