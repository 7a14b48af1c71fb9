"""``serendip bench suggest``: is a user's true next tag among the first ten suggestions?

Requests have no typed letters, or the first one, two or three letters of the tag. Generations are
published over time, each built from everything before its first request; baselines (most popular
queries, co-occurring queries) are updated before every request. Baselines may show queries of a
single user, which suggestions may not. Both comparisons are therefore made on equal terms, too:
baselines with the privacy threshold of the suggestions, and suggestions without it (``min_users`` =
1; the tags are public). Means over users, with paired intervals.

Retrievability after Azzopardi and Vinay 2008, "Retrievability: An Evaluation Measure for Higher
Order Information Access Tasks": r(item) = number of queries with the item in their top ten.

Shapes: Q queries, U users.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.encoders.text import TextEncoderConfig
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.numeric import unit
from serendip.data.search_log import Search
from serendip.data.text import normalise
from serendip.engine.query_suggestions import QuerySuggester
from serendip.errors import ConfigError
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.intervals import estimate
from serendip.evaluate.metrics.gini import Gini
from serendip.evaluate.runs import Values
from serendip.runtime.atomic_files import hash_files, write_json
from serendip.runtime.progress import TrainOptions
from serendip.search.searcher import Searcher
from serendip.search.suggestions.checks import TOP
from serendip.search.suggestions.config import SOURCES, QueriesConfig
from serendip_bench.datasets.movielens import (
    FILM_FIELDS,
    FILMS_FILE,
    RATINGS_FILE,
    USER_TAGS_FILE,
    Target,
    read_movielens,
    read_tags,
    select_targets,
    with_choices,
)
from serendip_bench.sequential.models import ENCODER
from serendip_bench.suggest_replay import TagReplay, Variant, list_suggestions
from serendip_bench.work_folder import open_bench_encoder, open_work_folder


def measure_retrievability(searcher: Searcher, queries: Sequence[str]) -> dict[str, Any]:
    """Retrievability of the items by some queries."""
    results = np.full((len(queries), TOP), -1, np.int32)
    for row, text in enumerate(queries):
        items = searcher.search(text, TOP).item_nums
        results[row, : len(items)] = items
    return {"queries": len(queries), **measure_reach(results, searcher.num_items)}


def measure_reach(results: IntArray, num_items: int) -> dict[str, float | None]:
    """Share of the items with r > 0, and the Gini index of r over all items.

    Args:
        results: (Q, 10) items, -1 = empty position.
        num_items: of the catalogue.
    """
    reached = np.unique(results[results >= 0])
    gini = Gini(TOP).of_exposure(results, np.arange(len(results)), num_items)[0]
    return {"share": len(reached) / max(1, num_items), "gini": gini if len(reached) else None}


RECENT_ITEMS = 20


def filter_public(before: Sequence[Search], min_users: int) -> list[Search]:
    """Searches of queries with at least ``min_users`` distinct users."""
    users: dict[str, set[str]] = {}
    for search in before:
        users.setdefault(search.key, set()).add(search.user_id)
    return [search for search in before if len(users[search.key]) >= min_users]


def rank_by_popularity(before: Sequence[Search]) -> list[str]:
    """Queries ordered by number of users, then number of searches, then alphabetically."""
    num_users = Counter(key for _, key in {(search.user_id, search.key) for search in before})
    num_searches = Counter(search.key for search in before)
    return sorted(num_users, key=lambda key: (-num_users[key], -num_searches[key], key))


def rank_by_cooccurrence(before: Sequence[Search], user_id: str, history: IntArray) -> list[str]:
    """Queries ordered by co-occurrence with the user's queries and items, ties by popularity.

    The score of a query sums, over other users who searched it, the queries shared with the user,
    plus one for each search of it after which one of the user's last 20 items was chosen.
    """
    user_keys = {search.key for search in before if search.user_id == user_id}
    by_user: dict[str, set[str]] = {}
    for search in before:
        if search.user_id != user_id:
            by_user.setdefault(search.user_id, set()).add(search.key)
    score: Counter[str] = Counter()
    for keys in by_user.values():
        shared = len(user_keys & keys)
        if shared:
            score.update(dict.fromkeys(keys, shared))
    recent = set(history[-RECENT_ITEMS:].tolist())
    for search in before:
        if search.user_id != user_id and recent & set(search.chosen.tolist()):
            score[search.key] += 1
    popularity_rank = {key: row for row, key in enumerate(rank_by_popularity(before))}
    return sorted(popularity_rank, key=lambda key: (-score[key], popularity_rank[key]))


def complete(keys: Iterable[str], typed: str, without: frozenset[str], k: int) -> list[str]:
    """The first k keys with the typed letters at the beginning of a word, except ``without``."""
    completions: list[str] = []
    for key in keys:
        if len(completions) == k:
            break
        is_match = key.startswith(typed) or f" {typed}" in key
        if is_match and key not in without:
            completions.append(key)
    return completions


K = 10
TYPED = (0, 1, 2, 3)
NUM_GENERATIONS = 8
POPULAR, COOCCURRENCE, SERVED = "most-popular", "co-occurrence", "serendip"
BASELINES = (POPULAR, COOCCURRENCE)
PUBLIC_ONLY = ", by enough people"
"""Suffix of baselines restricted to queries of at least ``min_users`` users."""
UNRESTRICTED = "serendip with everybody's tags"
"""The served suggestions without the privacy threshold."""

Ranks = dict[int, list[float]]
"""Number of typed letters -> rank of the tag per target; infinity if it is not shown."""


@dataclass(frozen=True, slots=True)
class SuggestBench:
    """Settings of a run.

    Args:
        data: folder with ``items.jsonl``, ``ratings.csv`` and ``tags.csv``.
        file: the results.
        name: set of targets, of ``movielens.SETS``.
        cache: folder of text vectors; None = in the work folder.
        models: names of variants; empty = all.
        config: of the suggestions.
        encoder: of the films.
    """

    data: Path
    file: Path
    name: str = "new"
    cache: Path | None = None
    models: tuple[str, ...] = ()
    config: QueriesConfig = field(default_factory=QueriesConfig)
    encoder: TextEncoderConfig = ENCODER


@dataclass(slots=True)
class _Measurements:
    """Measurements of one system.

    Args:
        users: of the targets.
        ranks: of the true tags.
        milliseconds: CPU time of each request.
        shown: the lists of requests without typed letters.
        unanswered: number of shown suggestions without search results.
        count: number of shown suggestions.
        reach: retrievability by the queries of the last generation.
    """

    users: list[str] = field(default_factory=list)
    ranks: Ranks = field(default_factory=lambda: {typed: [] for typed in TYPED})
    milliseconds: Ranks = field(default_factory=lambda: {typed: [] for typed in TYPED})
    shown: list[list[str]] = field(default_factory=list)
    unanswered: int = 0
    count: int = 0
    reach: Mapping[str, Any] = field(default_factory=dict)


def run_suggest(
    bench: SuggestBench,
    options: TrainOptions,
    on_row: Callable[[Mapping[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """Evaluate every system on every target, and overwrite the results file.

    Returns:
        the document of the file.

    Raises:
        DataError: the data is missing or invalid.
        StorageError: another process uses the same file.
    """
    with open_work_folder(bench.file), tempfile.TemporaryDirectory() as scratch:
        films = read_movielens(bench.data)
        searches = read_tags(bench.data, films.catalogue.vocabulary)
        dataset = with_choices(films, searches)
        vectors = _encode_films(bench, dataset, options)
        replay = TagReplay(dataset, searches, vectors, Path(scratch) / "search")
        targets = select_targets(searches, bench.name)
        files = [bench.data / name for name in (FILMS_FILE, RATINGS_FILE, USER_TAGS_FILE)]
        document: dict[str, Any] = {
            "dataset": bench.data.resolve().name,
            "data": hash_files(files),
            "set": bench.name,
            "users": len({target.user_id for target in targets}),
            "targets": len(targets),
            "seed": options.seed,
            "config": bench.config.model_dump(mode="json"),
            "rows": [],
        }
        measured = {name: _measure_baseline(name, replay, targets, 1) for name in BASELINES}
        min_users = bench.config.min_users
        measured |= {
            f"{baseline}{PUBLIC_ONLY}": _measure_baseline(baseline, replay, targets, min_users)
            for baseline in BASELINES
        }
        for name, measurements in measured.items():
            _add_rows(document, name, measurements, on_row)
        for variant in options.progress.track(
            select_variants(bench), "suggestions", len(select_variants(bench))
        ):
            measured[variant.name] = _measure_variant(variant, replay, targets, options.seed)
            _add_rows(document, variant.name, measured[variant.name], on_row)
            document["comparisons"] = compare_all(measured)
            write_json(bench.file, document)
    return document


def select_variants(bench: SuggestBench) -> list[Variant]:
    """The served suggestions, and ablations: without privacy threshold and without each part.

    Raises:
        ConfigError: a name is unknown.
    """
    config = bench.config
    parts = [name for name in SOURCES if name in config.sources and name != "llm"]
    all_variants = [
        Variant(SERVED, config),
        Variant(UNRESTRICTED, config.model_copy(update={"min_users": 1})),
    ]
    for part in parts:
        sources = tuple(source for source in config.sources if source != part)
        all_variants.append(
            Variant(f"without {part}", config.model_copy(update={"sources": sources}))
        )
    all_variants.append(Variant("without ranker", config, learns=False))
    all_variants.append(Variant("without user", config, knows_users=False))
    unknown = set(bench.models) - {variant.name for variant in all_variants}
    if unknown:
        names = ", ".join(variant.name for variant in all_variants)
        raise ConfigError(f"--models {min(unknown)!r}.", f"Known: {names}.")
    return [variant for variant in all_variants if not bench.models or variant.name in bench.models]


def compare_all(measured: Mapping[str, _Measurements]) -> list[dict[str, Any]]:
    """The served suggestions against all others; without threshold, against plain baselines."""
    pairs = [(SERVED, other) for other in measured if other != SERVED]
    pairs += [(UNRESTRICTED, other) for other in BASELINES]
    return [
        comparison
        for system, base in pairs
        if system in measured and base in measured
        for comparison in _compare(system, measured[system], base, measured[base])
    ]


def _compare(
    system: str, measurements: _Measurements, base: str, base_measurements: _Measurements
) -> Iterator[dict[str, Any]]:
    """Comparisons by number of typed letters, and of the mean over these."""
    success_of = {
        f"{n} letters typed": (
            _measure_success(measurements, n),
            _measure_success(base_measurements, n),
        )
        for n in TYPED
    }
    means = [np.mean(pair, axis=0) for pair in zip(*success_of.values(), strict=True)]
    success_of["mean of 0 to 3 letters typed"] = means[0], means[1]
    for description, (values, base_values) in success_of.items():
        names = (system, base, f"Success@{K}, {description}")
        yield compare_values(names, values, base_values).as_dict()


def _measure_success(measurements: _Measurements, typed: int) -> Values:
    """(U,) share of each user's targets in the top ten."""
    return _mean_by_user(
        measurements, (np.array(measurements.ranks[typed]) <= K).astype(np.float64)
    )


def _mean_by_user(measurements: _Measurements, values: Values) -> Values:
    user_nums = np.unique(measurements.users, return_inverse=True)[1]  # (targets,)
    return np.bincount(user_nums, values) / np.bincount(user_nums)  # (U,)


def _measure_baseline(
    name: str, replay: TagReplay, targets: Sequence[Target], min_users: int
) -> _Measurements:
    measurements = _Measurements()
    for target in targets:
        dataset, before = replay.before(target.timestamp)
        user_keys = frozenset(search.key for search in before if search.user_id == target.user_id)
        history = dataset.history(dataset.users.number(target.user_id)).item_nums
        before, popular = filter_public(before, min_users), name == POPULAR
        keys = (
            rank_by_popularity(before)
            if popular
            else rank_by_cooccurrence(before, target.user_id, history)
        )
        without = user_keys if target.is_new else frozenset()
        for typed in TYPED:
            suggestions = complete(keys, target.key[:typed], without, K)
            _add_list(measurements, replay, target, typed, suggestions)
    last_time = max(target.timestamp for target in targets)
    public_searches = filter_public(replay.before(last_time)[1], min_users)
    queries = list(dict.fromkeys(search.text for search in public_searches))
    measurements.reach = measure_retrievability(replay.searcher, queries)
    return measurements


def _measure_variant(
    variant: Variant, replay: TagReplay, targets: Sequence[Target], seed: int
) -> _Measurements:
    measurements, suggester, state = _Measurements(), None, None
    builder = replay.open_builder(variant.config, targets[0].timestamp)
    starts = {int(start) for start in np.linspace(0, len(targets), NUM_GENERATIONS, endpoint=False)}
    for index, target in enumerate(targets):
        if index in starts or state is None or suggester is None:
            state = replay.build_generation(variant, builder, target.timestamp, seed)
            suggester = QuerySuggester(state, variant.config)
        features, context = replay.build_user_features(target, state)
        without = features.searched if target.is_new else frozenset()
        user = (features, context) if variant.knows_users else (type(features)(), type(context)())
        for typed in TYPED:
            letters = target.key[:typed].strip()
            begin = time.process_time()
            texts = list_suggestions(suggester, state, user, letters, K + min(len(without), 10 * K))
            measurements.milliseconds[typed].append(1000 * (time.process_time() - begin))
            suggestions = [text for text in texts if normalise(text) not in without][:K]
            _add_list(measurements, replay, target, typed, suggestions)
    assert state is not None
    measurements.reach = {
        "queries": len(state.queries),
        **measure_reach(state.queries.results, replay.dataset.num_items),
    }
    return measurements


def _add_list(
    measurements: _Measurements,
    replay: TagReplay,
    target: Target,
    typed: int,
    suggestions: Sequence[str],
) -> None:
    keys = [normalise(text) for text in suggestions]
    rank = keys.index(target.key) + 1 if target.key in keys else np.inf
    measurements.ranks[typed].append(float(rank))
    measurements.count += len(suggestions)
    measurements.unanswered += sum(not len(replay.searcher.search(text, 1)) for text in suggestions)
    if not typed:
        measurements.users.append(target.user_id)
        measurements.shown.append(list(suggestions))


def _add_rows(
    document: dict[str, Any],
    name: str,
    measurements: _Measurements,
    on_row: Callable[[Mapping[str, Any]], None],
) -> None:
    for typed in TYPED:
        success = estimate(_measure_success(measurements, typed))
        ranks = np.array(measurements.ranks[typed])
        reciprocal = _mean_by_user(measurements, np.where(ranks <= K, 1.0 / ranks, 0.0))
        milliseconds = measurements.milliseconds[typed]
        row = {
            "model": name,
            "typed": typed,
            "seed": document["seed"],
            f"success@{K}": success.value,
            f"mrr@{K}": float(reciprocal.mean()),
            "ci95": {f"success@{K}": [success.low, success.high]},
            "cpu_ms": float(np.median(milliseconds)) if milliseconds else None,
        }
        document["rows"].append(row)
        on_row(row)
    document.setdefault("shown", {})[name] = {
        "suggestions": measurements.count,
        "with_results": 1.0 - measurements.unanswered / max(1, measurements.count),
        "distinct_untyped": len({text for texts in measurements.shown for text in texts}),
    }
    document.setdefault("reach", {})[name] = dict(measurements.reach)


def _encode_films(bench: SuggestBench, dataset: Dataset, options: TrainOptions) -> FloatArray:
    encode = open_bench_encoder(bench.encoder, bench.cache, bench.file, options.progress)
    vectors = encode(dataset.catalogue.texts(FILM_FIELDS))
    return unit(vectors, shortest=1e-9)
