"""``serendip bench rewrites``: what other texts do for queries that few items answer.

Queries are searched as words alone. ``without a log`` the student learns from what is made of the
catalogue; ``with a log`` also from what people chose after every other query, while the rest is
asked, and the other way round. A query that is asked has never been seen. ``offered`` are queries
with a rewrite of at least ``offer_from``; the rows tell what the surest one finds beside what the
query itself does. ``others`` is the number of queries that get no rewrites. Differences are means
over queries with 95 % bootstrap intervals.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.cache import VectorCache
from serendip.content.encoders.text import TextEncoderConfig, open_encoder
from serendip.data.search_log import Search
from serendip.evaluate.classification import calibration_error
from serendip.evaluate.intervals import estimate
from serendip.jobs.rewrites.build import RewriteBuilder, find_near_words
from serendip.jobs.suggestions.build import SuggestionBuilder
from serendip.runtime.atomic_files import hash_files, write_json
from serendip.runtime.progress import TrainOptions
from serendip.search.rewrites.candidates import FEW
from serendip.search.rewrites.table import RewriteTable, rewrites_of
from serendip.search.suggestions.config import QueriesConfig
from serendip_bench.spelling import SpellingQueries, spelling_queries
from serendip_bench.work_folder import open_work_folder

FOLDS = 2
MEASURED = 1_000


@dataclass(frozen=True, slots=True)
class RewritesBench:
    """What to run.

    Args:
        data: folder of films with tags, or of products with judgements.
        file: the results.
        cache: folder of vectors of words.
    """

    data: Path
    file: Path
    cache: Path


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """One query, by a student that has not seen it.

    Args:
        matches: items that have all words of what is searched.
        is_few: whether it gets rewrites.
        confidence: of the surest one; 0 = there is none.
        own: nDCG@10 and recall@10 of the query.
        best: the same of its surest rewrite, or of itself where there is none.
        ms: CPU time that rewriting took.
    """

    matches: int
    is_few: bool
    confidence: float
    own: tuple[float, float]
    best: tuple[float, float]
    ms: float


def run_rewrites(bench: RewritesBench, options: TrainOptions) -> dict[str, Any]:
    """Measure, and write the results file anew.

    Returns:
        the document that the file holds.

    Raises:
        ConfigError: the file cannot be written.
        StorageError: another process is at work on the same file.
        DataError: the folder is of no kind that is known, or not as it should be.
    """
    asking, files = spelling_queries(bench.data)
    with open_work_folder(bench.file):
        document = _measured(asking, files, bench, options)
        write_json(bench.file, document)
    return document


def _measured(
    asking: SpellingQueries, files: Sequence[Path], bench: RewritesBench, options: TrainOptions
) -> dict[str, Any]:
    builder = _builder(asking, bench, options)
    students = {}
    for name, logs in (
        ("without a log", [[]] * FOLDS),
        ("with a log", [_log(asking, fold) for fold in range(FOLDS)]),
    ):
        built = [builder.build(log, options.seed) for log in logs]
        facts = _judged(asking, [table for table, _ in built], options)
        students[name] = {"tables": [told for _, told in built], **facts}
    return {
        "dataset": bench.data.resolve().name,
        "data": hash_files(files),
        "protocol": {
            "about": __doc__,
            "few": FEW,
            "offer_from": asking.searcher.config.offer_from,
        },
        "queries": len(asking.texts),
        "items": asking.searcher.num_items,
        "students": students,
    }


def _builder(
    asking: SpellingQueries, bench: RewritesBench, options: TrainOptions
) -> RewriteBuilder:
    """Over verified queries of the catalogue alone, which no log has a part in."""
    config, catalogue = QueriesConfig(), asking.dataset.catalogue
    counts = asking.dataset.item_counts()
    queries = SuggestionBuilder(catalogue, counts, asking.searcher, config).build(
        [], options.progress
    )
    encoder, cache = open_encoder(TextEncoderConfig()), VectorCache(bench.cache)
    near = find_near_words(asking.searcher.speller.counts, (), encoder, cache, options)
    return RewriteBuilder(asking.searcher, queries.table, near, config)


def _judged(
    asking: SpellingQueries, tables: Sequence[RewriteTable], options: TrainOptions
) -> dict[str, Any]:
    """Figures of the tables of all folds."""
    asked = _asked(asking, tables, options)
    few = [one for one in asked if one.is_few]
    groups = {
        "no item has all words": [one for one in few if not one.matches],
        f"fewer than {FEW} have": [one for one in few if one.matches],
        "both": few,
    }
    floor = asking.searcher.config.offer_from
    return {
        "rows": [_row(name, own, floor) for name, own in groups.items()],
        "others": sum(one.matches > 0 or not one.is_few for one in asked),
        "confidence": _calibration(few),
        "ms": {"unseen": _mean([one.ms for one in few]), "seen": _seen_ms(asking, tables[0])},
    }


def _log(asking: SpellingQueries, fold: int) -> list[Search]:
    """Searches for the queries of the other folds; what is relevant was chosen."""
    found = []
    for row, (text, gains, own) in enumerate(
        zip(asking.texts, asking.gains, _folds(asking), strict=True)
    ):
        if own != fold:
            key = asking.searcher.read(text, literal=True).key
            found.append(
                Search(f"u{row}", float(row), text, key, np.array(sorted(gains), np.int32))
            )
    return found


def _folds(asking: SpellingQueries) -> list[int]:
    """The part of each query; texts that are read alike are in the same one."""
    keys = [asking.searcher.read(text, literal=True).key for text in asking.texts]
    place = {key: row for row, key in enumerate(dict.fromkeys(keys))}
    return [place[key] % FOLDS for key in keys]


def _asked(
    asking: SpellingQueries, tables: Sequence[RewriteTable], options: TrainOptions
) -> list[_Asked]:
    """All queries, each to the table that has not seen it; whatever is found is offered."""
    plain = asking.searcher
    matcher = plain.matcher
    config = plain.config.model_copy(update={"offer_from": 0.0})
    unseen = [replace(plain, rewrites=replace(one, head={}), config=config) for one in tables]
    numbers, folds, found = range(len(asking.texts)), _folds(asking), []
    for number in options.progress.track(numbers, "queries", len(numbers)):
        text = asking.texts[number]
        key = plain.read(text).corrected_key
        before = time.process_time()
        rewrites = unseen[folds[number]].instead_of(text)
        spent = 1000 * (time.process_time() - before)
        matches, own = matcher.matches(key), asking.found(number, text)
        best = asking.found(number, rewrites[0].text, literal=True) if rewrites else own
        is_few = not matcher.is_answered(key)
        confidence = rewrites[0].confidence if rewrites else 0.0
        found.append(_Asked(matches, is_few, confidence, own, best, spent))
    return found


def _row(name: str, asked: Sequence[_Asked], floor: float) -> dict[str, Any]:
    """Of the queries of a group that are offered something, what it finds beside the query."""
    offered = [one for one in asked if one.confidence >= floor]
    own, best = ([getattr(one, part) for one in offered] for part in ("own", "best"))
    return {"queries": name, "of all": len(asked), "offered": len(offered), **_both(own, best)}


def _both(
    own: Sequence[tuple[float, float]], other: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    """Means of both, and of their differences with intervals."""
    found: dict[str, Any] = {}
    for place, name in enumerate(("N@10", "R@10")):
        before = np.array([one[place] for one in own])
        after = np.array([one[place] for one in other])
        if len(before):
            told = estimate(after - before).as_dict()
            found[name] = {"as typed": _mean(before), "rewritten": _mean(after), "difference": told}
    return found


def _calibration(asked: Sequence[_Asked]) -> dict[str, float]:
    """Of surest rewrites: mean confidence, share that serve, and what that is apart in bins.

    One serves whose first ten hold something relevant, and no less of it than the query's.
    """
    told = [one for one in asked if one.confidence > 0]
    if not told:
        return {"rewrites": 0}
    chances = np.array([one.confidence for one in told], np.float32)
    serves = np.array([one.best[1] > 0 and one.best[1] >= one.own[1] for one in told])
    return {
        "rewrites": len(told),
        "mean": _mean(chances),
        "serve": _mean(serves),
        "calibration error": float(calibration_error(serves, chances)),
    }


def _seen_ms(asking: SpellingQueries, table: RewriteTable) -> float:
    """CPU time for a text of the table, mean of its first ones; nothing is remembered of before."""
    plain = asking.searcher
    matcher, keys = plain.matcher, list(table.head)[:MEASURED]
    before = time.process_time()
    for key in keys:
        rewrites_of(key, table, matcher, plain.synonyms, plain.config.offer_from)
    return 1000 * (time.process_time() - before) / max(1, len(keys))


def _mean(values: Any) -> float:
    return round(float(np.mean(values)), 4) if len(values) else 0.0
