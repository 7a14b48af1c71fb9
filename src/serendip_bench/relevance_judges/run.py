"""``serendip bench judge``: the ladder of judges on human gold.

Pairs of a fold are judged by rungs that learned from all other folds; answers are pooled over the
folds and told with intervals over whole queries or occupations. Bad is the positive class.

Effect of a filter by a judge's probabilities on lists: half of them choose its threshold, the other
half measure.

A list is what a query would be shown, the likest first. There are two thresholds: the loosest that
is safe (at most 5 % of what is shown is bad, at a confidence of 95 %), and the strictest that
replaces no more than a tenth of what is shown.

Which gold a folder holds, told by its files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.encoders.text import TextEncoderConfig
from serendip.data.arrays import BoolArray, FloatArray
from serendip.errors import ConfigError, DataError, ExtraMissing
from serendip.evaluate.classification import BinaryPredictions, calibration_error, calibration_floor
from serendip.evaluate.risk_control import LabelledSlates, safe_threshold, threshold_replacing
from serendip.models.relevance.features import ItemTexts, QueryTexts
from serendip.runtime.atomic_files import hash_files, write_json
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock
from serendip_bench.relevance_judges.gold import Gold, GoldPairs, GoldTexts, ListedGold, Lists
from serendip_bench.relevance_judges.judges import Answers, Judge, JudgeQueries, RelevanceJudge
from serendip_bench.relevance_judges.onet import ONET_FILES, onet_lists, onet_pairs, read_onet
from serendip_bench.relevance_judges.products import (
    PRODUCTS_FILES,
    judged_products_lists,
    read_judged_products,
)
from serendip_bench.sequential.models import ENCODER
from serendip_bench.work_folder import open_bench_encoder, open_work_folder, require_seeds

SHOWN = 10
ALLOWED, CONFIDENCE, REPLACED = 0.05, 0.95, 0.1


def filtered(listed: Lists, probabilities: FloatArray) -> dict[str, Any] | None:
    """Effect of both thresholds on the lists that chose neither; None for a single unit.

    Args:
        listed: all lists; units are kept together where lists are parted.
        probabilities: (P,) that their pairs are bad.
    """
    pairs = listed.pairs
    if len(np.unique(pairs.units)) < 2:
        return None
    judged = LabelledSlates(probabilities, pairs.is_bad, pairs.queries, pairs.units, SHOWN)
    calibration, told = judged.in_order(listed.likeness).halves()
    safe = safe_threshold(calibration, ALLOWED, CONFIDENCE)
    tenth = threshold_replacing(calibration, REPLACED)
    return {
        "size": SHOWN,
        "lists": len(np.unique(told.lists)),
        "allowed": ALLOWED,
        "confidence": CONFIDENCE,
        "best_after": told.best_after(REPLACED),
        "safe": None if safe is None else _told(told, safe),
        "tenth": _told(told, tenth),
    }


def _told(judged: LabelledSlates, threshold: float) -> dict[str, Any]:
    return {**judged.effect(threshold), "ci95": judged.ends(threshold)}


Draw = Callable[[QueryTexts, ItemTexts], GoldPairs]


@dataclass(frozen=True, slots=True)
class GoldSet:
    """Gold before anything is encoded.

    Args:
        texts: of queries and items.
        pairs: texts with their vectors -> judged pairs.
        lists: gold -> lists to filter.
        files: everything that was read.
    """

    texts: GoldTexts
    pairs: Draw
    lists: Callable[[Gold], ListedGold]
    files: tuple[Path, ...]


def gold_set(folder: Path, test: Path | None) -> GoldSet:
    """The gold of a folder.

    Args:
        folder: of products and judgements, or of O*NET.
        test: a second file of judgements, which is only ever judged on; None = there is none.

    Raises:
        ConfigError: the folder has no use for ``test``.
        DataError: the folder holds no gold, or a file is broken.
    """
    if _holds(folder, ONET_FILES):
        if test is not None:
            raise ConfigError(f"--test {test} beside O*NET.", "Its judged part is its own.")
        onet = read_onet(folder)
        files = tuple(folder / name for name in ONET_FILES)
        return GoldSet(
            onet.texts,
            lambda queries, items: onet_pairs(onet, queries, items),
            lambda gold: onet_lists(onet, gold),
            files,
        )
    if _holds(folder, PRODUCTS_FILES):
        texts, pairs = read_judged_products(folder, test)
        files = (*(folder / name for name in PRODUCTS_FILES), *([test] if test else []))
        return GoldSet(texts, lambda queries, items: pairs, judged_products_lists, files)
    kinds = " or ".join(" and ".join(names) for names in (PRODUCTS_FILES, ONET_FILES))
    raise DataError(f"{folder} holds no judged pairs.", f"Known are folders with {kinds}.")


def _holds(folder: Path, names: tuple[str, ...]) -> bool:
    return all((folder / name).exists() for name in names)


CANDIDATES = 200
"""Of one query, whose time is told."""

REQUESTS = 100_000
"""Of ``CANDIDATES`` each: the traffic of which ``calls_avoided`` tells."""

_TIMED = 9


@dataclass(frozen=True, slots=True)
class JudgeBench:
    """What to run.

    Args:
        data: folder of products and judgements, or of O*NET.
        file: the results.
        rungs: who judges.
        test: a second file of judgements, which is only ever judged on.
        seeds: of rungs that use chance.
        cache: folder of text vectors; None = beside the results.
        encoder: of all texts.
    """

    data: Path
    file: Path
    rungs: Sequence[RelevanceJudge]
    test: Path | None = None
    seeds: int = 3
    cache: Path | None = None
    encoder: TextEncoderConfig = ENCODER


def run_judge(
    bench: JudgeBench,
    options: TrainOptions,
    on_row: Callable[[Mapping[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """Judge, and write the results file anew.

    Returns:
        the document that the file holds.

    Raises:
        ConfigError: seeds < 1, or an option has no use here.
        DataError: the data is not as it should be.
        StorageError: another process is at work on the same file.
    """
    require_seeds(bench.seeds)
    found = gold_set(bench.data, bench.test)
    with open_work_folder(bench.file):
        encode = open_bench_encoder(bench.encoder, bench.cache, bench.file, options.progress)
        queries, items = found.texts.encoded(encode)
        pairs = found.pairs(queries, items).checked(str(bench.data))
        gold = Gold.of(found.texts, queries, items, pairs)
        board = JudgeInputs.of(gold, found.lists(gold))
        document = {**_head(bench, found.files, gold.pairs), "rows": []}
        runs = [(rung, seed) for rung in bench.rungs for seed in range(_seeds(rung, bench.seeds))]
        for rung, seed in options.progress.track(runs, "judges", len(runs)):
            row = _row_or_reason(rung, board, replace(options, seed=seed))
            document["rows"].append(row)
            write_json(bench.file, document)
            on_row(row)
    return document


def _head(bench: JudgeBench, files: Sequence[Path], pairs: GoldPairs) -> dict[str, Any]:
    judged = pairs.where(pairs.judged)
    return {
        "dataset": bench.data.resolve().name,
        "data": hash_files(list(files)),
        "encoder": bench.encoder.name,
        "positive": "bad",
        "pairs": {"learned_only": len(pairs) - len(judged), "judged": len(judged)},
        "bad_share": float(judged.is_bad.mean()),
        "units": len(np.unique(judged.units)),
    }


@dataclass(frozen=True, slots=True, eq=False)
class JudgeInputs:
    """What rungs are asked about.

    Args:
        gold: judged pairs.
        asked: the same without labels.
        lists: to filter, by the name of their kind.
        listed: their pairs without labels.
        lessons: what filters learn from, with labels and without; None = the gold.
    """

    gold: Gold
    asked: JudgeQueries
    lists: Mapping[str, Lists]
    listed: Mapping[str, JudgeQueries]
    lessons: tuple[GoldPairs, JudgeQueries] | None = None

    @classmethod
    def of(cls, gold: Gold, lists: ListedGold) -> JudgeInputs:
        """With all features."""
        listed = {name: _asked(gold, one.pairs) for name, one in lists.kinds.items()}
        pairs = lists.lessons
        lessons = None if pairs is None else (pairs, _asked(gold, pairs))
        return cls(gold, _asked(gold, gold.pairs), lists.kinds, listed, lessons)

    def sampled(self, rung: RelevanceJudge) -> JudgeInputs:
        """What a rung is asked about: a sample where that is too much for it."""
        pairs = self.gold.pairs
        mask = _some(pairs.judged, rung.most_judged) | _some(~pairs.judged, rung.most_learned)
        gold = replace(self.gold, pairs=pairs.where(mask))
        asked = self.asked.where(mask)
        if not rung.filters:
            return JudgeInputs(gold, asked, {}, {})
        return JudgeInputs(gold, asked, self.lists, self.listed, self.lessons)


def _some(mask: BoolArray, most: int | None) -> BoolArray:
    """(P,) the mask with ``most`` of its pairs at most, always the same."""
    some = np.zeros_like(mask)
    some[np.random.default_rng(0).permutation(np.flatnonzero(mask))[:most]] = True
    return some


def _asked(gold: Gold, pairs: GoldPairs) -> JudgeQueries:
    return JudgeQueries(gold.features(pairs), pairs.queries, pairs.items)


def _seeds(rung: RelevanceJudge, asked: int) -> int:
    """How often a rung is taught."""
    return min(asked, rung.most_seeds or asked) if rung.uses_chance else 1


def _row_or_reason(
    rung: RelevanceJudge, whole: JudgeInputs, options: TrainOptions
) -> dict[str, Any]:
    """A rung whose packages are not installed says so in its row; the others go on."""
    try:
        return _row(rung, whole, options)
    except ExtraMissing as error:
        return {"model": rung.name, "seed": options.seed, "reason": str(error)}


def _row(rung: RelevanceJudge, whole: JudgeInputs, options: TrainOptions) -> dict[str, Any]:
    """One rung: a judge for each fold, taught by all others."""
    board, clock = whole.sampled(rung), StageClock()
    gold, pairs = board.gold, board.gold.pairs
    with clock.stage("judge"):
        asked = rung.looked_at(gold, board.asked, options)
        said, listed, judge, learned = _judged(rung, board, asked, options)
    own = pairs.judged
    units = np.unique(pairs.units[own], return_inverse=True)[1].astype(np.int32)
    is_bad, probabilities, decided = pairs.is_bad[own], said.probabilities[own], said.decided[own]
    found = BinaryPredictions(is_bad, said.scores[own], decided, units).estimates()
    spent = _milliseconds(gold, rung, judge, options)
    of_lists = 0 if board.lessons is None else len(board.lessons[0])
    return {
        "model": rung.name,
        "seed": options.seed,
        "pairs": int(own.sum()),
        **{name: one.value for name, one in found.items()},
        "ci95": {name: [one.low, one.high] for name, one in found.items()},
        "ece": calibration_error(is_bad, probabilities),
        "ece_floor": calibration_floor(probabilities),
        "removed": float(decided.mean()),
        "ms_per_200": spent,
        "cpu_s_per_1000": spent / CANDIDATES,
        "price_per_1000": 0.0,
        "cpu_s": clock.stages[0].cpu_s,
        "labels": learned,
        "filter_labels": of_lists,
        "calls_avoided": _avoided(learned + of_lists) if rung.filters else 0.0,
        "filter": {name: filtered(one, listed[name]) for name, one in board.lists.items()},
    }


def _avoided(labels: int) -> float:
    """Share of the calls for labels that so many of them save."""
    return 1 - labels / (REQUESTS * CANDIDATES)


def _judged(
    rung: RelevanceJudge, board: JudgeInputs, asked: JudgeQueries, options: TrainOptions
) -> tuple[Answers, dict[str, FloatArray], Judge, int]:
    """What judges say of all pairs, their probabilities for lists, the last judge, its labels."""
    pairs, judge, learned = board.gold.pairs, None, 0
    scores, probabilities = np.zeros((2, len(pairs)), np.float32)
    decided = np.zeros(len(pairs), np.bool_)
    listed = {name: np.zeros(len(one.queries), np.float32) for name, one in board.listed.items()}
    for fold in np.unique(pairs.fold[pairs.judged]).tolist():
        own = pairs.fold == fold
        judge = rung.taught(board.gold, asked.where(~own), pairs.where(~own), options)
        learned = int((~own).sum())
        said = judge(asked.where(own))
        scores[own], probabilities[own], decided[own] = (
            said.scores,
            said.probabilities,
            said.decided,
        )
        filters = _filter_of(rung, board, options) or judge
        for name, lists in board.lists.items():
            part = lists.pairs.fold == fold
            listed[name][part] = filters(board.listed[name].where(part)).probabilities
    assert judge is not None, "GoldPairs.checked leaves no gold without a fold"
    return Answers(scores, probabilities, decided), listed, judge, learned


def _filter_of(rung: RelevanceJudge, board: JudgeInputs, options: TrainOptions) -> Judge | None:
    """Who has learned from lists; None where there are none to learn from."""
    if board.lessons is None:
        return None
    pairs, asked = board.lessons
    return rung.taught(board.gold, asked, pairs, options)


def _milliseconds(gold: Gold, rung: RelevanceJudge, judge: Judge, options: TrainOptions) -> float:
    """CPU milliseconds for 200 candidates of one query, features included; median of nine.

    Of a rung that is too slow to filter a tenth of the candidates is timed, once.
    """
    random, spent = np.random.default_rng(0), []
    count, parts = (CANDIDATES, 1) if rung.filters else (CANDIDATES // 10, 10)
    for _ in range(_TIMED if rung.filters else 1):
        row = np.full(count, random.integers(len(gold.queries.words)), np.int32)
        items = random.integers(0, len(gold.items), count).astype(np.int32)
        before = time.process_time()
        asked = JudgeQueries(gold.crowd.of(gold.queries, gold.items, row, items), row, items)
        judge(rung.looked_at(gold, asked, options))
        spent.append(parts * (time.process_time() - before))
    return 1000 * float(np.median(spent))
