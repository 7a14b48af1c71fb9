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
from serendip.search.rewrites import FEW, RewriteTable
from serendip.search.suggestions.candidates import catalogue_candidates
from serendip.search.suggestions.config import QueriesConfig
from serendip_bench.results import open_work_folder
from serendip_bench.spelling import SpellingQueries, open_spelling_queries

FOLDS = 2
MEASURED = 1_000


@dataclass(frozen=True, slots=True)
class RewritesBench:
    """Settings of a run.

    Args:
        data: folder of films with tags, or of products with judgements.
        file: the results.
        cache: folder of word vectors.
    """

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
        own: nDCG@10 and recall@10 of the query.
        best: those of its best rewrite; of the query if there is none.
        ms: CPU time of rewriting.
    """

    matches: int
    is_few: bool
    confidence: float
    original: tuple[float, float]
    rewritten: tuple[float, float]
    ms: float


def run_rewrites(bench: RewritesBench, options: TrainOptions) -> dict[str, Any]:
    """Measure, and overwrite the results file.

    Returns:
        the document of the file.

    Raises:
        ConfigError: the file cannot be written.
        StorageError: another process uses the same file.
        DataError: the kind of folder is unknown, or its data invalid.
    """
    queries, files = open_spelling_queries(bench.data)
    with open_work_folder(bench.file):
        document = _measure(queries, files, bench, options)
        write_json(bench.file, document)
    return document


def _measure(
    queries: SpellingQueries, files: Sequence[Path], bench: RewritesBench, options: TrainOptions
) -> dict[str, Any]:
    build = _open_builder(queries, bench, options)
    students = {}
    for name, logs in (
        ("without a log", [[]] * FOLDS),
        ("with a log", [_build_log(queries, fold) for fold in range(FOLDS)]),
    ):
        trained = [build(log) for log in logs]
        facts = _evaluate(queries, [table for table, _ in trained], options)
        students[name] = {"tables": [table_facts for _, table_facts in trained], **facts}
    return {
        "dataset": bench.data.resolve().name,
        "data": hash_files(files),
        "protocol": {
            "about": __doc__,
            "few": FEW,
            "offer_from": queries.searcher.config.offer_from,
        },
        "queries": len(queries.texts),
        "items": queries.searcher.num_items,
        "students": students,
    }


def _open_builder(
    queries: SpellingQueries, bench: RewritesBench, options: TrainOptions
) -> Callable[[Sequence[Search]], tuple[RewriteTable, dict[str, Any]]]:
    """Builds a table for a log; its candidate queries come from the catalogue, not from a log."""
    config, searcher, catalogue = QueriesConfig(), queries.searcher, queries.dataset.catalogue
    counts = queries.dataset.item_counts()
    candidates = catalogue_candidates(catalogue, counts.astype(np.float32), config)
    table, _ = build_table(catalogue, candidates, searcher, config, counts, [], options.progress)
    encoder, cache = open_encoder(TextEncoderConfig()), VectorCache(bench.cache)
    near = find_near_words(searcher.speller.counts, (), encoder, cache, options)
    return lambda log: build_rewrite_table(searcher, table, near, log, config, options)


def _evaluate(
    queries: SpellingQueries, tables: Sequence[RewriteTable], options: TrainOptions
) -> dict[str, Any]:
    """Evaluate the tables of all folds."""
    evaluations = _evaluate_queries(queries, tables, options)
    few = [evaluation for evaluation in evaluations if evaluation.is_few]
    groups = {
        "no item has all words": [evaluation for evaluation in few if not evaluation.matches],
        f"fewer than {FEW} have": [evaluation for evaluation in few if evaluation.matches],
        "both": few,
    }
    threshold = queries.searcher.config.offer_from
    return {
        "rows": [_summarise_group(name, group, threshold) for name, group in groups.items()],
        "others": sum(
            evaluation.matches > 0 or not evaluation.is_few for evaluation in evaluations
        ),
        "confidence": _measure_calibration(few),
        "ms": {
            "unseen": _round_mean([evaluation.ms for evaluation in few]),
            "seen": _time_table(queries, tables[0]),
        },
    }


def _build_log(queries: SpellingQueries, fold: int) -> list[Search]:
    """A log of searches for the queries of the other folds; relevant items are the chosen ones."""
    searches = []
    for number, (text, gains, query_fold) in enumerate(
        zip(queries.texts, queries.gains, _assign_folds(queries), strict=True)
    ):
        if query_fold != fold:
            key = queries.searcher.read(text, literal=True).key
            searches.append(
                Search(f"u{number}", float(number), text, key, np.array(sorted(gains), np.int32))
            )
    return searches


def _assign_folds(queries: SpellingQueries) -> list[int]:
    """The fold of each query; texts with the same normal form are in the same fold."""
    keys = [queries.searcher.read(text, literal=True).key for text in queries.texts]
    index_of = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    return [index_of[key] % FOLDS for key in keys]


def _evaluate_queries(
    queries: SpellingQueries, tables: Sequence[RewriteTable], options: TrainOptions
) -> list[_Evaluation]:
    """Evaluate each query by the table not trained on it; rewrites of any confidence count."""
    plain = queries.searcher
    matcher = plain.matcher
    config = plain.config.model_copy(update={"offer_from": 0.0})
    unseen = [replace(plain, rewrites=replace(table, head={}), config=config) for table in tables]
    numbers, folds, evaluations = range(len(queries.texts)), _assign_folds(queries), []
    for number in options.progress.track(numbers, "queries", len(numbers)):
        text = queries.texts[number]
        key = plain.read(text).corrected_key
        start = time.process_time()
        rewrites = unseen[folds[number]].find_rewrites(text)
        ms = 1000 * (time.process_time() - start)
        matches, original = matcher.matches(key), queries.measure(number, text)
        rewritten = (
            queries.measure(number, rewrites[0].text, literal=True) if rewrites else original
        )
        is_few = not matcher.is_answered(key)
        confidence = rewrites[0].confidence if rewrites else 0.0
        evaluations.append(_Evaluation(matches, is_few, confidence, original, rewritten, ms))
    return evaluations


def _summarise_group(
    name: str, evaluations: Sequence[_Evaluation], threshold: float
) -> dict[str, Any]:
    """Metrics of the queries of a group with a rewrite: of the query and of the rewrite."""
    offered = [evaluation for evaluation in evaluations if evaluation.confidence >= threshold]
    original, rewritten = (
        [getattr(evaluation, field) for evaluation in offered]
        for field in ("original", "rewritten")
    )
    return {
        "queries": name,
        "of all": len(evaluations),
        "offered": len(offered),
        **_compare_metrics(original, rewritten),
    }


def _compare_metrics(
    original: Sequence[tuple[float, float]], rewritten: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    """Means of queries and rewrites, and of their differences with intervals."""
    metrics: dict[str, Any] = {}
    for column, name in enumerate(("N@10", "R@10")):
        before = np.array([pair[column] for pair in original])
        after = np.array([pair[column] for pair in rewritten])
        if len(before):
            difference = asdict(estimate(after - before))
            metrics[name] = {
                "as typed": _round_mean(before),
                "rewritten": _round_mean(after),
                "difference": difference,
            }
    return metrics


def _measure_calibration(evaluations: Sequence[_Evaluation]) -> dict[str, float]:
    """Calibration of the best rewrites: mean confidence, success rate, calibration error.

    A rewrite succeeds if its top ten have any relevant item, and no fewer than those of the query.
    """
    rewritten = [evaluation for evaluation in evaluations if evaluation.confidence > 0]
    if not rewritten:
        return {"rewrites": 0}
    confidences = np.array([evaluation.confidence for evaluation in rewritten], np.float32)
    succeeds = np.array(
        [
            evaluation.rewritten[1] > 0 and evaluation.rewritten[1] >= evaluation.original[1]
            for evaluation in rewritten
        ]
    )
    return {
        "rewrites": len(rewritten),
        "mean": _round_mean(confidences),
        "serve": _round_mean(succeeds),
        "calibration error": float(calibration_error(succeeds, confidences)),
    }


def _time_table(queries: SpellingQueries, table: RewriteTable) -> float:
    """Mean CPU time for the first texts of the table, without a result cache."""
    plain = queries.searcher
    matcher, keys = plain.matcher, list(table.head)[:MEASURED]
    start = time.process_time()
    for key in keys:
        table.find(key, matcher, plain.synonyms, plain.config.offer_from)
    return 1000 * (time.process_time() - start) / max(1, len(keys))


def _round_mean(values: Any) -> float:
    return round(float(np.mean(values)), 4) if len(values) else 0.0
