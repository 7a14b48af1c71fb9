"""``serendip bench judge``: relevance judges compared on gold labels.

The pairs of a fold are predicted by judges trained on all other pairs; predictions of all folds are
pooled, and metrics have intervals over whole queries or occupations. Irrelevant is the positive
class. Figures are about one part of the gold labels: ``test``, which nothing was chosen on, or
``dev``.

A filter by a judge's probabilities is measured on slates, the first items by similarity, and what
it removes is replaced by the surest items behind these. The threshold is the strictest that
replaces at most a tenth of the shown items, which takes no labels.

Shapes: P pairs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.errors import DataError
from serendip.evaluate.classification import BinaryPredictions, calibration_error, calibration_floor
from serendip.evaluate.labelled_slates import LabelledSlates, replacement_threshold
from serendip.runtime.atomic_files import hash_files, write_json
from serendip.runtime.progress import TrainOptions
from serendip_bench.datasets.products import PRODUCT_FILES
from serendip_bench.judges.gold import Gold, GoldPairs, GoldSource, Part, RankedSlates
from serendip_bench.judges.judges import Predict, Predictions, RelevanceJudge
from serendip_bench.judges.onet import ONET_FILES, Onet
from serendip_bench.judges.products import JudgedProducts
from serendip_bench.results import TextVectors, find_cache, open_work_folder, require_seeds

SLATE_SIZE = 10
MAX_REPLACED = 0.1

CANDIDATES = 200
"""Candidates of one query whose prediction is timed."""

_TIMED_RUNS = 9


def read_gold(folder: Path, part: Part = "test") -> GoldSource:
    """The gold labels of a folder, whose kind is recognised by the names of the files.

    Raises:
        DataError: the folder holds no gold labels, or a file is damaged.
    """
    if all((folder / name).exists() for name in ONET_FILES):
        return Onet.read(folder, part)
    if all((folder / name).exists() for name in PRODUCT_FILES):
        return JudgedProducts.read(folder, part)
    kinds = " or ".join(" and ".join(names) for names in (PRODUCT_FILES, ONET_FILES))
    raise DataError(f"{folder} holds no judged pairs.", f"Name a folder with {kinds}.")


@dataclass(frozen=True, slots=True)
class JudgeBench:
    """Data, judges and files of one run.

    Args:
        data: folder of products and judgements, or of O*NET.
        cache: folder of text vectors; None = beside the results.
    """

    data: Path
    file: Path
    judges: Sequence[RelevanceJudge]
    seeds: int = 3
    cache: Path | None = None
    encoder: str = "minilm"
    part: Part = "test"


def run_judge(
    bench: JudgeBench,
    options: TrainOptions,
    on_row: Callable[[Mapping[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """Compare judges, and write the results file after each row.

    Raises:
        ConfigError: seeds < 1.
        DataError: the data is missing or damaged.
        StorageError: another process writes the same file.
    """
    require_seeds(bench.seeds)
    source = read_gold(bench.data, bench.part)
    with open_work_folder(bench.file):
        cache = find_cache(bench.file, bench.cache)
        texts = source.texts.encode(TextVectors(bench.encoder, cache, options.progress).encode)
        gold = Gold.of(*texts, source.draw_pairs(*texts).check(str(bench.data)))
        kinds, examples = source.rank_slates(gold)
        slates = {
            name: replace(kind, pairs=gold.with_features(kind.pairs))
            for name, kind in kinds.items()
        }
        trial = JudgeTrial(gold, slates, examples and gold.with_features(examples))
        tested = gold.pairs.where(gold.pairs.is_counted)
        document: dict[str, Any] = {
            "dataset": bench.data.resolve().name,
            "part": bench.part,
            "data": hash_files(source.files),
            "encoder": bench.encoder,
            "positive": "bad",
            "pairs": {"learned_only": int((~gold.pairs.is_test).sum()), "judged": len(tested)},
            "bad_share": float(tested.is_irrelevant.mean()),
            "units": len(np.unique(tested.groups)),
            "rows": [],
        }
        runs = [
            (judge, seed)
            for judge in bench.judges
            for seed in range(bench.seeds if judge.is_random else 1)
        ]
        for judge, seed in options.progress.track(runs, "judges", len(runs)):
            row = trial.measure(judge, seed)
            document["rows"].append(row)
            write_json(bench.file, document)
            on_row(row)
    return document


@dataclass(frozen=True, slots=True, eq=False)
class JudgeTrial:
    """What judges are trained and tested on; all pairs have features.

    Args:
        slates: to filter, by the name of their kind.
        examples: training pairs of filters; None = filters are the judges of the gold labels.
    """

    gold: Gold
    slates: Mapping[str, RankedSlates]
    examples: GoldPairs | None = None

    def measure(self, judge: RelevanceJudge, seed: int) -> dict[str, Any]:
        """Train a judge for each fold on all others, and measure its pooled predictions."""
        began = time.process_time()
        predictions, slates, predict = self._predict_folds(judge, seed)
        cpu_s, is_test = time.process_time() - began, self.gold.pairs.is_counted
        pairs = self.gold.pairs.where(is_test)
        groups = np.unique(pairs.groups, return_inverse=True)[1].astype(np.int32)
        probabilities, is_filtered = (
            predictions.probabilities[is_test],
            predictions.is_filtered[is_test],
        )
        scores = predictions.scores[is_test]
        binary = BinaryPredictions(pairs.is_irrelevant, scores, is_filtered, groups)
        estimates = binary.estimates()
        return {
            "model": judge.name,
            "seed": seed,
            "pairs": len(pairs),
            **{name: estimate.value for name, estimate in estimates.items()},
            "ci95": {name: [estimate.low, estimate.high] for name, estimate in estimates.items()},
            "ece": calibration_error(pairs.is_irrelevant, probabilities),
            "ece_floor": calibration_floor(probabilities),
            "removed": float(is_filtered.mean()),
            "ms_per_200": self._time(predict),
            "cpu_s": round(cpu_s, 3),
            "filter": {
                name: measure_filter(kind, slates[name]) for name, kind in self.slates.items()
            },
        }

    def _predict_folds(
        self, judge: RelevanceJudge, seed: int
    ) -> tuple[Predictions, dict[str, FloatArray], Predict]:
        """Predictions for all pairs, probabilities for slates, and the last judge."""
        pairs, predict = self.gold.pairs, None
        scores, probabilities = np.zeros((2, len(pairs)), np.float32)
        is_filtered = np.zeros(len(pairs), np.bool_)
        slates = {name: np.zeros(len(kind.pairs), np.float32) for name, kind in self.slates.items()}
        for fold in np.unique(pairs.fold[pairs.is_test]).tolist():
            is_fold = pairs.fold == fold
            predict = judge.train(self.gold, pairs.where(~is_fold), seed)
            found = predict(pairs.where(is_fold))
            scores[is_fold], probabilities[is_fold] = found.scores, found.probabilities
            is_filtered[is_fold] = found.is_filtered
            filters = predict
            if self.examples is not None:
                filters = judge.train(self.gold, self.examples, seed)
            for name, kind in self.slates.items():
                part = kind.pairs.fold == fold
                slates[name][part] = filters(kind.pairs.where(part)).probabilities
        assert predict is not None, "GoldPairs.check leaves no gold labels without a fold"
        return Predictions(scores, probabilities, is_filtered), slates, predict

    def _time(self, predict: Predict) -> float:
        """CPU milliseconds for 200 candidates of one query, features included; median of nine."""
        random, seconds = np.random.default_rng(0), []
        for _ in range(_TIMED_RUNS):
            row = np.full(CANDIDATES, random.integers(len(self.gold.queries.words)), np.int32)
            items = random.integers(0, len(self.gold.items), CANDIDATES).astype(np.int32)
            no_labels = np.zeros(CANDIDATES, np.bool_)
            before = time.process_time()
            pairs = GoldPairs(row, items, no_labels, row, row, no_labels)
            predict(self.gold.with_features(pairs))
            seconds.append(time.process_time() - before)
        return 1000 * float(np.median(seconds))


def measure_filter(slates: RankedSlates, probabilities: FloatArray) -> dict[str, Any] | None:
    """Effect of the threshold on the slates that measure; None for one group.

    Args:
        slates: all of a kind; slates of one group stay in one half.
        probabilities: (P,) P(irrelevant) of their pairs.
    """
    pairs = slates.pairs
    if len(np.unique(pairs.groups)) < 2:
        return None
    labelled = LabelledSlates(
        probabilities, pairs.is_irrelevant, pairs.queries, pairs.groups, SLATE_SIZE
    )
    _, test = labelled.split(slates.chooses, slates.similarity)
    tenth = replacement_threshold(test, MAX_REPLACED)
    return {
        "size": SLATE_SIZE,
        "lists": len(np.unique(test.slates)),
        "tenth": {**test.effect(tenth), "ci95": test.intervals(tenth)},
    }
