"""``serendip bench judge``: the ladder of judges on human gold.

Pairs of a fold are judged by rungs that learned from all other folds; answers are pooled over the
folds and told with intervals over whole queries or occupations. Bad is the positive class.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.cache import VectorCache
from serendip.content.text import TextEncoderConfig, open_encoder
from serendip.data.arrays import FloatArray
from serendip.data.durable import alone
from serendip.errors import ConfigError, ExtraMissing
from serendip.evaluate.binary import Verdicts, calibration_error, calibration_floor
from serendip.scale.options import TrainOptions
from serendip.scale.stages import StageClock
from serendip.workflow.bench.files import digest_of_files, write_whole
from serendip.workflow.bench.opened import work_folder
from serendip.workflow.bench.table import ENCODER
from serendip.workflow.bench.trees import MISSING_TREES, has_trees
from serendip.workflow.judge.filtering import filtered
from serendip.workflow.judge.gold import Encode, Gold, GoldPairs
from serendip.workflow.judge.rungs import Asked, Judge, Rung, likeness
from serendip.workflow.judge.sets import gold_set

CANDIDATES = 200
"""Of one query, whose time is told."""

_TIMED = 9
_TEXTS_AT_ONCE = 1_024


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
    rungs: Sequence[Rung]
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
        ExtraMissing: a rung needs a package that is not installed.
        DataError: the data is not as it should be.
        StorageError: another process is at work on the same file.
    """
    if bench.seeds < 1:
        raise ConfigError(f"--seeds {bench.seeds}.", "Ask for 1 seed or more.")
    if any(rung.needs_trees for rung in bench.rungs) and not has_trees():
        raise ExtraMissing(MISSING_TREES, "Or leave the student out with --models.")
    found, work = gold_set(bench.data, bench.test), work_folder(bench.file)
    work.mkdir(parents=True, exist_ok=True)
    with alone(work):
        queries, items = found.texts.encoded(_encoder(bench, options))
        pairs = found.pairs(queries, items).checked(str(bench.data))
        gold = Gold.of(queries, items, pairs)
        board = Board.of(gold, found.lists(queries, items, pairs))
        document = {**_head(bench, found.files, gold.pairs), "rows": []}
        runs = [
            (rung, seed)
            for rung in bench.rungs
            for seed in range(bench.seeds if rung.uses_chance else 1)
        ]
        for rung, seed in options.progress.track(runs, "judges", len(runs)):
            row = _row(rung, seed, board)
            document["rows"].append(row)
            write_whole(bench.file, json.dumps(document, indent=1, allow_nan=False) + "\n")
            on_row(row)
    return document


def _encoder(bench: JudgeBench, options: TrainOptions) -> Encode:
    """Texts to vectors, each different text once, kept in a folder."""
    folder = bench.cache or work_folder(bench.file) / "cache"
    cache, encoder = VectorCache(folder, _TEXTS_AT_ONCE), open_encoder(bench.encoder)

    def encode(texts: Sequence[str]) -> FloatArray:
        different = list(dict.fromkeys(texts))
        starts = range(0, len(different), _TEXTS_AT_ONCE)
        parts = [np.empty((0, encoder.size), np.float32)]
        for begin in options.progress.track(starts, "Encoding texts", len(starts)):
            parts.append(cache.encode(encoder, different[begin : begin + _TEXTS_AT_ONCE]))
        place = {text: row for row, text in enumerate(different)}
        rows = np.array([place[text] for text in texts], np.intp)
        vectors: FloatArray = np.concatenate(parts)[rows]
        return vectors

    return encode


def _head(bench: JudgeBench, files: Sequence[Path], pairs: GoldPairs) -> dict[str, Any]:
    judged = pairs.where(pairs.judged)
    return {
        "dataset": bench.data.resolve().name,
        "data": digest_of_files(list(files)),
        "encoder": bench.encoder.name,
        "positive": "bad",
        "pairs": {"learned_only": len(pairs) - len(judged), "judged": len(judged)},
        "bad_share": float(judged.is_bad.mean()),
        "units": len(np.unique(judged.units)),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Board:
    """What rungs are asked about.

    Args:
        gold: judged pairs.
        asked: the same without labels.
        lists: pairs of whole lists.
        listed: the same without labels.
    """

    gold: Gold
    asked: Asked
    lists: GoldPairs
    listed: Asked

    @classmethod
    def of(cls, gold: Gold, lists: GoldPairs) -> Board:
        """With all features."""
        asked, listed = (
            Asked(gold.features(pairs), pairs.queries, pairs.items) for pairs in (gold.pairs, lists)
        )
        return cls(gold, asked, lists, listed)


def _row(rung: Rung, seed: int, board: Board) -> dict[str, Any]:
    """One rung: a judge for each fold, taught by all others."""
    gold, pairs, clock = board.gold, board.gold.pairs, StageClock()
    scores, chances = np.zeros((2, len(pairs)), np.float32)
    decided, listed, judges = np.zeros(len(pairs), np.bool_), np.zeros(len(board.lists)), []
    with clock.stage("judge"):
        for fold in np.unique(pairs.fold[pairs.judged]).tolist():
            own = pairs.fold == fold
            judges.append(rung.taught(gold, board.asked.where(~own), pairs.where(~own), seed))
            said = judges[-1](board.asked.where(own))
            scores[own], chances[own], decided[own] = said.scores, said.chances, said.decided
            part = board.lists.fold == fold
            listed[part] = judges[-1](board.listed.where(part)).chances
    own = pairs.judged
    units = np.unique(pairs.units[own], return_inverse=True)[1].astype(np.int32)
    found = Verdicts(pairs.is_bad[own], scores[own], decided[own], units).estimates()
    return {
        "model": rung.name,
        "seed": seed,
        **{name: one.value for name, one in found.items()},
        "ci95": {name: [one.low, one.high] for name, one in found.items()},
        "ece": calibration_error(pairs.is_bad[own], chances[own]),
        "ece_floor": calibration_floor(chances[own]),
        "removed": float(decided[own].mean()),
        "ms_per_200": _milliseconds(gold, judges[-1]),
        "price_per_1000": 0.0,
        "cpu_s": clock.stages[0].cpu_s,
        "filter": filtered(board.lists, likeness(board.listed.features), listed.astype(np.float32)),
    }


def _milliseconds(gold: Gold, judge: Judge) -> float:
    """CPU milliseconds for 200 candidates of one query, features included; median of nine."""
    random, spent = np.random.default_rng(0), []
    for _ in range(_TIMED):
        row = np.full(CANDIDATES, random.integers(len(gold.queries.words)), np.int32)
        items = random.integers(0, len(gold.items), CANDIDATES).astype(np.int32)
        before = time.process_time()
        judge(Asked(gold.crowd.of(gold.queries, gold.items, row, items), row, items))
        spent.append(time.process_time() - before)
    return 1000 * float(np.median(spent))
