"""``serendip bench judge``: relevance judges compared on gold labels.

The pairs of a fold are predicted by judges trained on all other pairs; predictions of all folds are
pooled, and metrics have intervals over whole queries or occupations. Irrelevant is the positive
class.

Figures are about one part of the gold labels: ``test``, which nothing was chosen on, or ``dev``.

A filter by a judge's probabilities is measured on slates, the first items by similarity, and what
it removes is replaced by the surest items behind these. The threshold is the strictest that
replaces at most a tenth of the shown items of half of the slates (where all queries are folds, of
the part that figures are about), which takes no labels.

The kind of gold labels is recognised by the names of the files in a folder.

Shapes: P pairs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.encoders.text import TextEncoderConfig
from serendip.data.arrays import FloatArray
from serendip.errors import ConfigError, DataError
from serendip.evaluate.classification import BinaryPredictions, calibration_error, calibration_floor
from serendip.evaluate.labelled_slates import LabelledSlates, replacement_threshold
from serendip.models.relevance.features import ItemTexts, QueryTexts
from serendip.runtime.atomic_files import hash_files, write_json
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock
from serendip_bench.relevance_judges.gold import (
    Gold,
    GoldPairs,
    GoldSlates,
    GoldTexts,
    Part,
    RankedSlates,
)
from serendip_bench.relevance_judges.judges import (
    Predict,
    Predictions,
    RelevanceJudge,
    UnlabelledPairs,
)
from serendip_bench.relevance_judges.onet import (
    ONET_FILES,
    draw_onet_pairs,
    rank_onet_slates,
    read_onet,
)
from serendip_bench.relevance_judges.products import (
    PRODUCTS_FILES,
    rank_judged_products,
    read_judged_products,
)
from serendip_bench.sequential.models import ENCODER
from serendip_bench.work_folder import open_bench_encoder, open_work_folder, require_seeds

SLATE_SIZE = 10
MAX_REPLACED = 0.1


def measure_filter(slates: RankedSlates, probabilities: FloatArray) -> dict[str, Any] | None:
    """Effect of the threshold on half of the slates; None for one group.

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
    is_first = None if pairs.in_part is None else ~pairs.in_part
    if is_first is None:  # half of the groups
        groups, group_of = np.unique(pairs.groups, return_inverse=True)
        is_first = np.random.default_rng(0).permutation(len(groups))[group_of] % 2 == 0
    test = labelled.split(is_first, slates.similarity)[1]
    tenth = replacement_threshold(test, MAX_REPLACED)
    return {
        "size": SLATE_SIZE,
        "lists": len(np.unique(test.slates)),
        "tenth": _effect(test, tenth),
    }


def _effect(slates: LabelledSlates, threshold: float) -> dict[str, Any]:
    return {**slates.effect(threshold), "ci95": slates.intervals(threshold)}


DrawPairs = Callable[[QueryTexts, ItemTexts], GoldPairs]


@dataclass(frozen=True, slots=True)
class GoldSet:
    """Gold labels before texts are encoded.

    Args:
        texts: of queries and items.
        pairs: texts with their vectors -> labelled pairs.
        slates: gold labels -> slates to filter.
        files: all files that were read.
    """

    texts: GoldTexts
    pairs: DrawPairs
    slates: Callable[[Gold], GoldSlates]
    files: tuple[Path, ...]


def read_gold_set(folder: Path, test: Path | None, part: Part = "test") -> GoldSet:
    """The gold labels of a folder.

    Args:
        folder: of products and judgements, or of O*NET.
        test: a second file of judgements, for testing only; None = none.
        part: that figures are about.

    Raises:
        ConfigError: ``test`` is given for O*NET.
        DataError: the folder holds no gold labels, or a file is damaged.
    """
    if _has_files(folder, ONET_FILES):
        if test is not None:
            raise ConfigError(
                f"--test {test} cannot be used with O*NET.", "O*NET has a test side: leave it out."
            )
        onet = read_onet(folder)
        files = tuple(folder / name for name in ONET_FILES)
        return GoldSet(
            onet.texts,
            lambda queries, items: draw_onet_pairs(onet, queries, items, part=part),
            lambda gold: rank_onet_slates(onet, gold, part=part),
            files,
        )
    if _has_files(folder, PRODUCTS_FILES):
        texts, pairs = read_judged_products(folder, test, part)
        files = (*(folder / name for name in PRODUCTS_FILES), *([test] if test else []))
        return GoldSet(
            texts,
            lambda queries, items: pairs,
            lambda gold: rank_judged_products(gold, part),
            files,
        )
    kinds = " or ".join(" and ".join(names) for names in (PRODUCTS_FILES, ONET_FILES))
    raise DataError(f"{folder} holds no judged pairs.", f"Name a folder with {kinds}.")


def _has_files(folder: Path, names: tuple[str, ...]) -> bool:
    return all((folder / name).exists() for name in names)


CANDIDATES = 200
"""Candidates of one query whose prediction is timed."""

REQUESTS = 100_000
"""Requests of ``CANDIDATES`` each that ``calls_avoided`` is computed for."""

_TIMED_RUNS = 9


@dataclass(frozen=True, slots=True)
class JudgeBench:
    """Data, judges and files of one run.

    Args:
        data: folder of products and judgements, or of O*NET.
        file: the results.
        judges: to compare.
        test: a second file of judgements, for testing only.
        seeds: number of seeds of random judges.
        cache: folder of text vectors; None = beside the results.
        encoder: of all texts.
        part: of the gold labels that figures are about.
    """

    data: Path
    file: Path
    judges: Sequence[RelevanceJudge]
    test: Path | None = None
    seeds: int = 3
    cache: Path | None = None
    encoder: TextEncoderConfig = ENCODER
    part: Part = "test"


def run_judge(
    bench: JudgeBench,
    options: TrainOptions,
    on_row: Callable[[Mapping[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """Compare judges, and write the results file after each row.

    Returns:
        the document in the file.

    Raises:
        ConfigError: seeds < 1, or ``test`` is given for O*NET.
        DataError: the data is missing or damaged.
        StorageError: another process writes the same file.
    """
    require_seeds(bench.seeds)
    gold_set = read_gold_set(bench.data, bench.test, bench.part)
    with open_work_folder(bench.file):
        encode = open_bench_encoder(bench.encoder, bench.cache, bench.file, options.progress)
        queries, items = gold_set.texts.encode(encode)
        pairs = gold_set.pairs(queries, items).check(str(bench.data))
        gold = Gold.of(gold_set.texts, queries, items, pairs)
        inputs = JudgeInputs.of(gold, gold_set.slates(gold))
        document = {**_head(bench, gold_set.files, gold.pairs), "rows": []}
        runs = [
            (judge, seed) for judge in bench.judges for seed in range(_seeds(judge, bench.seeds))
        ]
        for judge, seed in options.progress.track(runs, "judges", len(runs)):
            row = _row(judge, inputs, replace(options, seed=seed))
            document["rows"].append(row)
            write_json(bench.file, document)
            on_row(row)
    return document


def _head(bench: JudgeBench, files: Sequence[Path], pairs: GoldPairs) -> dict[str, Any]:
    test = pairs.where(pairs.is_counted)
    return {
        "dataset": bench.data.resolve().name,
        "part": bench.part,
        "data": hash_files(list(files)),
        "encoder": bench.encoder.name,
        "positive": "bad",
        "pairs": {"learned_only": int((~pairs.is_test).sum()), "judged": len(test)},
        "bad_share": float(test.is_irrelevant.mean()),
        "units": len(np.unique(test.groups)),
    }


@dataclass(frozen=True, slots=True, eq=False)
class JudgeInputs:
    """Pairs that a judge is trained and tested on.

    Args:
        gold: labelled pairs.
        pairs: the same without labels.
        slates: to filter, by the name of their kind.
        slate_pairs: their pairs without labels.
        examples: training pairs of filters, with and without labels; None = the gold labels.
    """

    gold: Gold
    pairs: UnlabelledPairs
    slates: Mapping[str, RankedSlates]
    slate_pairs: Mapping[str, UnlabelledPairs]
    examples: tuple[GoldPairs, UnlabelledPairs] | None = None

    @classmethod
    def of(cls, gold: Gold, slates: GoldSlates) -> JudgeInputs:
        """With all features."""
        slate_pairs = {name: _unlabelled(gold, kind.pairs) for name, kind in slates.kinds.items()}
        pairs = slates.examples
        examples = None if pairs is None else (pairs, _unlabelled(gold, pairs))
        return cls(gold, _unlabelled(gold, gold.pairs), slates.kinds, slate_pairs, examples)


def _unlabelled(gold: Gold, pairs: GoldPairs) -> UnlabelledPairs:
    return UnlabelledPairs(gold.compute_features(pairs), pairs.queries, pairs.items)


def _seeds(judge: RelevanceJudge, count: int) -> int:
    """Number of seeds that a judge is trained with."""
    return count if judge.is_random else 1


def _row(judge: RelevanceJudge, inputs: JudgeInputs, options: TrainOptions) -> dict[str, Any]:
    """Train a judge for each fold on all others, and measure its pooled predictions."""
    clock, gold, pairs = StageClock(), inputs.gold, inputs.gold.pairs
    with clock.stage("judge"):
        predictions, slates, predict, num_labels = _predict_folds(judge, inputs, options)
    is_test = pairs.is_counted
    groups = np.unique(pairs.groups[is_test], return_inverse=True)[1].astype(np.int32)
    is_irrelevant, probabilities, is_filtered = (
        pairs.is_irrelevant[is_test],
        predictions.probabilities[is_test],
        predictions.is_filtered[is_test],
    )
    estimates = BinaryPredictions(
        is_irrelevant, predictions.scores[is_test], is_filtered, groups
    ).estimates()
    milliseconds = _milliseconds(gold, predict)
    filter_labels = 0 if inputs.examples is None else len(inputs.examples[0])
    return {
        "model": judge.name,
        "seed": options.seed,
        "pairs": int(is_test.sum()),
        **{name: estimate.value for name, estimate in estimates.items()},
        "ci95": {name: [estimate.low, estimate.high] for name, estimate in estimates.items()},
        "ece": calibration_error(is_irrelevant, probabilities),
        "ece_floor": calibration_floor(probabilities),
        "removed": float(is_filtered.mean()),
        "ms_per_200": milliseconds,
        "cpu_s_per_1000": milliseconds / CANDIDATES,
        "price_per_1000": 0.0,
        "cpu_s": clock.stages[0].cpu_s,
        "labels": num_labels,
        "filter_labels": filter_labels,
        "calls_avoided": _calls_avoided(num_labels + filter_labels),
        "filter": {
            name: measure_filter(kind, slates[name]) for name, kind in inputs.slates.items()
        },
    }


def _calls_avoided(labels: int) -> float:
    """Share of LLM calls that a judge trained on a number of labels avoids."""
    return 1 - labels / (REQUESTS * CANDIDATES)


def _predict_folds(
    judge: RelevanceJudge, inputs: JudgeInputs, options: TrainOptions
) -> tuple[Predictions, dict[str, FloatArray], Predict, int]:
    """Predictions for all pairs, probabilities for slates, the last judge, its number of labels."""
    pairs, predict, num_labels = inputs.gold.pairs, None, 0
    scores, probabilities = np.zeros((2, len(pairs)), np.float32)
    is_filtered = np.zeros(len(pairs), np.bool_)
    slates = {
        name: np.zeros(len(kind.queries), np.float32) for name, kind in inputs.slate_pairs.items()
    }
    for fold in np.unique(pairs.fold[pairs.is_test]).tolist():
        is_fold = pairs.fold == fold
        learned = inputs.pairs.where(~is_fold), pairs.where(~is_fold)
        predict = judge.train(inputs.gold, *learned, options)
        num_labels = int((~is_fold).sum())
        predictions = predict(inputs.pairs.where(is_fold))
        scores[is_fold], probabilities[is_fold], is_filtered[is_fold] = (
            predictions.scores,
            predictions.probabilities,
            predictions.is_filtered,
        )
        predict_slates = _train_filter(judge, inputs, options) or predict
        for name, kind in inputs.slates.items():
            part = kind.pairs.fold == fold
            slates[name][part] = predict_slates(inputs.slate_pairs[name].where(part)).probabilities
    assert predict is not None, "GoldPairs.check leaves no gold labels without a fold"
    return Predictions(scores, probabilities, is_filtered), slates, predict, num_labels


def _train_filter(
    judge: RelevanceJudge, inputs: JudgeInputs, options: TrainOptions
) -> Predict | None:
    """A judge trained on slates; None if there are no training slates."""
    if inputs.examples is None:
        return None
    pairs, unlabelled = inputs.examples
    return judge.train(inputs.gold, unlabelled, pairs, options)


def _milliseconds(gold: Gold, predict: Predict) -> float:
    """CPU milliseconds for 200 candidates of one query, features included; median of nine."""
    random, seconds = np.random.default_rng(0), []
    for _ in range(_TIMED_RUNS):
        row = np.full(CANDIDATES, random.integers(len(gold.queries.words)), np.int32)
        items = random.integers(0, len(gold.items), CANDIDATES).astype(np.int32)
        before = time.process_time()
        features = gold.pair_features.compute(gold.queries, gold.items, row, items)
        predict(UnlabelledPairs(features, row, items))
        seconds.append(time.process_time() - before)
    return 1000 * float(np.median(seconds))
