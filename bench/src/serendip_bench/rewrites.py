"""``serendip bench rewrites``: query rewriting for queries with few matching items.

Search is lexical. ``without a log`` the rewrite model is trained on synthetic data of the
catalogue; ``with a log`` also on the choices after half of the queries, while the other half is
evaluated, and vice versa. No evaluated query is training data. ``offered`` are queries with a
rewrite of confidence ``offer_from`` or more; the rows compare the results of the most confident
rewrite with those of the query. ``others`` is the number of queries that are not rewritten.
Differences are means over queries with 95 % bootstrap intervals.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.cache import VectorCache
from serendip.content.encoders.text import TextEncoderConfig, open_encoder
from serendip.data.events.search_log import Search
from serendip.evaluate.classification import calibration_error
from serendip.evaluate.intervals import estimate
from serendip.jobs.rewrites import build_rewrite_table, find_near_words
from serendip.jobs.suggestions.build import build_table
from serendip.runtime.atomic_files import hash_files, write_json
from serendip.runtime.progress import TrainOptions
from serendip.search.rewrites import FEW, OFFER_FROM, RewriteTable
from serendip.search.suggestions.candidates import catalogue_candidates
from serendip.search.suggestions.config import QueriesConfig
from serendip_bench.results import open_work_folder
from serendip_bench.spelling import JudgedQueries

FOLDS = 2
_TIMED = 1_000


@dataclass(frozen=True, slots=True)
class RewritesBench:
    """Settings of a run."""

    data: Path
    file: Path
    cache: Path


@dataclass(frozen=True, slots=True, eq=False)
class _Evaluation:
    """Evaluation of one query by a model not trained on it.

    Args:
        matches: number of items with all words of the query.
        is_few: True if the query is rewritten.
        confidence: of the best rewrite; 0 = there is none.
        original: nDCG@10 and recall@10 of the query.
        rewritten: those of its best rewrite; of the query if there is none.
        ms: CPU time of rewriting.
    """

    matches: int
    is_few: bool
    confidence: float
    original: tuple[float, float]
    rewritten: tuple[float, float]
    ms: float

    @property
    def is_success(self) -> bool:
        """The rewrite finds anything relevant in its top ten, and no less than the query."""
        return self.rewritten[1] > 0 and self.rewritten[1] >= self.original[1]


def run_rewrites(bench: RewritesBench, options: TrainOptions) -> dict[str, Any]:
    """Measure, and overwrite the results file.

    Raises:
        ConfigError: the file cannot be written.
        StorageError: another process uses the same file.
        DataError: the kind of folder is unknown, or its data invalid.
    """
    queries = JudgedQueries.read(bench.data)
    with open_work_folder(bench.file):
        build = _open_builder(queries, bench.cache, options)
        folds, students = _assign_folds(queries), {}
        for name, has_log in (("without a log", False), ("with a log", True)):
            logs = [_build_log(queries, folds, fold) if has_log else [] for fold in range(FOLDS)]
            trained = [build(log) for log in logs]
            tables = [table for table, _ in trained]
            facts = _summarise(queries, _evaluate(queries, folds, tables, options), tables[0])
            students[name] = {"tables": [table_facts for _, table_facts in trained], **facts}
        document = {
            "dataset": bench.data.resolve().name,
            "data": hash_files(queries.files),
            "protocol": {"about": __doc__, "few": FEW, "offer_from": OFFER_FROM},
            "queries": len(queries.texts),
            "items": queries.searcher.num_items,
            "students": students,
        }
        write_json(bench.file, document)
    return document


def _open_builder(
    queries: JudgedQueries, folder: Path, options: TrainOptions
) -> Callable[[Sequence[Search]], tuple[RewriteTable, dict[str, Any]]]:
    """Builds a table for a log; its candidate queries come from the catalogue, not from a log."""
    config, searcher, catalogue = QueriesConfig(), queries.searcher, queries.dataset.catalogue
    counts = queries.dataset.item_counts()
    candidates = catalogue_candidates(catalogue, counts.astype(np.float32), config)
    table, _ = build_table(catalogue, candidates, searcher, config, counts, [], options.progress)
    encoder, cache = open_encoder(TextEncoderConfig()), VectorCache(folder)
    near = find_near_words(searcher.speller.counts, (), encoder, cache, options)
    return lambda log: build_rewrite_table(searcher, table, near, log, config, options)


def _assign_folds(queries: JudgedQueries) -> list[int]:
    """The fold of each query; texts with the same normal form are in the same fold."""
    keys = [queries.searcher.read(text, literal=True).key for text in queries.texts]
    index_of = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    return [index_of[key] % FOLDS for key in keys]


def _build_log(queries: JudgedQueries, folds: Sequence[int], fold: int) -> list[Search]:
    """A log of searches for the queries of the other folds; relevant items are the chosen ones."""
    searches = []
    rows = zip(queries.texts, queries.gains, folds, strict=True)
    for number, (text, gains, query_fold) in enumerate(rows):
        if query_fold != fold:
            key = queries.searcher.read(text, literal=True).key
            chosen = np.sort(np.array(list(gains), np.int32))
            searches.append(Search(f"u{number}", float(number), text, key, chosen))
    return searches


def _evaluate(
    queries: JudgedQueries,
    folds: Sequence[int],
    tables: Sequence[RewriteTable],
    options: TrainOptions,
) -> list[_Evaluation]:
    """Evaluate each query by the table not trained on it; rewrites of any confidence count."""
    plain, evaluations = queries.searcher, []
    unseen = [replace(table, head={}) for table in tables]
    texts = options.progress.track(queries.texts, "queries", len(queries.texts))
    for number, text in enumerate(texts):
        key, start = plain.read(text).corrected_key, time.process_time()
        rewrites = unseen[folds[number]].find(key, plain.matcher, plain.synonyms, 0.0)
        ms = 1000 * (time.process_time() - start)
        original = rewritten = queries.measure(number, text)
        if rewrites:
            rewritten = queries.measure(number, rewrites[0].text, literal=True)
        evaluations.append(
            _Evaluation(
                plain.matcher.matches(key),
                not plain.matcher.is_answered(key),
                rewrites[0].confidence if rewrites else 0.0,
                original,
                rewritten,
                ms,
            )
        )
    return evaluations


def _summarise(
    queries: JudgedQueries, evaluations: Sequence[_Evaluation], table: RewriteTable
) -> dict[str, Any]:
    few = [evaluation for evaluation in evaluations if evaluation.is_few]
    groups = {
        "no item has all words": [evaluation for evaluation in few if not evaluation.matches],
        f"fewer than {FEW} have": [evaluation for evaluation in few if evaluation.matches],
        "both": few,
    }
    threshold, rows = OFFER_FROM, []
    for name, group in groups.items():
        offered = [evaluation for evaluation in group if evaluation.confidence >= threshold]
        row = {"queries": name, "of all": len(group), "offered": len(offered)}
        rows.append({**row, **_compare_metrics(offered)})
    found = [evaluation for evaluation in few if evaluation.confidence > 0]
    confidences = np.array([evaluation.confidence for evaluation in found], np.float32)
    successes = np.array([evaluation.is_success for evaluation in found])
    confidence: dict[str, float] = {"rewrites": len(found)}
    if found:
        confidence |= {
            "mean": _round_mean(confidences),
            "serve": _round_mean(successes),
            "calibration error": float(calibration_error(successes, confidences)),
        }
    return {
        "rows": rows,
        "others": sum(one.matches > 0 or not one.is_few for one in evaluations),
        "confidence": confidence,
        "ms": {
            "unseen": _round_mean([evaluation.ms for evaluation in few]),
            "seen": _time_table(queries, table),
        },
    }


def _compare_metrics(offered: Sequence[_Evaluation]) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    for column, name in enumerate(("N@10", "R@10") if offered else ()):
        before = np.array([evaluation.original[column] for evaluation in offered])
        after = np.array([evaluation.rewritten[column] for evaluation in offered])
        metrics[name] = {
            "as typed": _round_mean(before),
            "rewritten": _round_mean(after),
            "difference": asdict(estimate(after - before)),
        }
    return metrics


def _time_table(queries: JudgedQueries, table: RewriteTable) -> float:
    """Mean CPU milliseconds for the first texts of the table, without a result cache."""
    plain, keys = queries.searcher, list(table.head)[:_TIMED]
    start = time.process_time()
    for key in keys:
        table.find(key, plain.matcher, plain.synonyms)
    return 1000 * (time.process_time() - start) / max(1, len(keys))


def _round_mean(values: Any) -> float:
    return round(float(np.mean(values)), 4) if len(values) else 0.0
