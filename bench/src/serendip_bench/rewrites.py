"""``serendip bench rewrites``: broader texts for queries with few matching items.

Search is lexical, and nothing is learned from a log. ``offered`` are queries with a rewrite of
confidence ``least_kept`` or more; the rows compare the results of the most confident rewrite with
those of the query. ``others`` is the number of queries that are not rewritten. Differences are
means over queries with 95 % bootstrap intervals.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serendip.evaluate.classification import calibration_error
from serendip.evaluate.intervals import estimate
from serendip.runtime.atomic_files import hash_files, write_json
from serendip.runtime.progress import TrainOptions
from serendip.search.rewrites import FEW, LEAST_KEPT, RewriteTable
from serendip_bench.results import open_work_folder
from serendip_bench.spelling import JudgedQueries


@dataclass(frozen=True, slots=True, eq=False)
class _Evaluation:
    """Evaluation of one query.

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


def run_rewrites(data: Path, file: Path, options: TrainOptions) -> dict[str, Any]:
    """Measure, and overwrite the results file.

    Raises:
        ConfigError: the file cannot be written.
        StorageError: another process uses the same file.
        DataError: the kind of folder is unknown, or its data invalid.
    """
    queries = JudgedQueries.read(data)
    with open_work_folder(file):
        document = {
            "dataset": data.resolve().name,
            "data": hash_files(queries.files),
            "protocol": {"about": __doc__, "few": FEW, "least_kept": LEAST_KEPT},
            "queries": len(queries.texts),
            "items": queries.searcher.num_items,
            **_summarise(_evaluate(queries, options)),
        }
        write_json(file, document)
    return document


def _evaluate(queries: JudgedQueries, options: TrainOptions) -> list[_Evaluation]:
    """Evaluate each query; rewrites of any confidence count."""
    plain, evaluations = queries.searcher, []
    texts = options.progress.track(queries.texts, "queries", len(queries.texts))
    for number, text in enumerate(texts):
        key, start = plain.read(text).corrected_key, time.process_time()
        rewrites = RewriteTable().find(key, plain.matcher, 0.0)
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


def _summarise(evaluations: Sequence[_Evaluation]) -> dict[str, Any]:
    few = [evaluation for evaluation in evaluations if evaluation.is_few]
    groups = {
        "no item has all words": [evaluation for evaluation in few if not evaluation.matches],
        f"fewer than {FEW} have": [evaluation for evaluation in few if evaluation.matches],
        "both": few,
    }
    threshold, rows = LEAST_KEPT, []
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
        "ms": _round_mean([evaluation.ms for evaluation in few]),
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


def _round_mean(values: Any) -> float:
    return round(float(np.mean(values)), 4) if len(values) else 0.0
