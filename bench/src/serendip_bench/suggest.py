"""``serendip bench suggest``: is a user's true next query among the first ten suggestions?

Requests have no typed letters, or the first one, two or three letters of the query. Of tags,
generations are published over time, each built from everything before its first request; baselines
(most popular queries, co-occurring queries) are updated before every request. Of the sets with
held-out users, all systems are built once from the other users (``suggest_sets``).

Baselines may show queries of a single user, which suggestions may not. Both comparisons are
therefore made on equal terms, too: baselines with the privacy threshold of the suggestions, and
suggestions without it (``min_users`` = 1; these searches are public). Means over users, with paired
intervals.

Retrievability after Azzopardi and Vinay 2008, "Retrievability: An Evaluation Measure for Higher
Order Information Access Tasks": r(item) = number of queries with the item in their top ten.

Shapes: Q queries, U users.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.encoders.text import TextEncoderConfig
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.numeric import unit
from serendip.data.text import normalise
from serendip.engine.query_suggestions import QuerySuggester
from serendip.errors import ConfigError
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.intervals import estimate
from serendip.evaluate.metrics import Gini
from serendip.evaluate.runs import Values
from serendip.runtime.atomic_files import hash_files, write_json
from serendip.runtime.progress import TrainOptions
from serendip.search.searcher import Searcher
from serendip.search.suggestions.checks import TOP
from serendip.search.suggestions.config import SOURCES, QueriesConfig
from serendip.search.suggestions.ranker import SuggestionUser
from serendip_bench.results import TextVectors, find_cache, open_work_folder
from serendip_bench.suggest_replay import SuggestReplay, Variant, list_suggestions
from serendip_bench.suggest_sets import SuggestData, filter_public, read_suggest_data
from serendip_bench.tags import Target


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
        name: set of targets, of ``list_sets``.
        cache: folder of text vectors; None = in the work folder.
        models: names of variants; empty = all.
        config: of the suggestions.
        encoder: of the films, by default that of a workspace.
        users: most held-out users that are asked.
    """

    data: Path
    file: Path
    name: str = "new"
    cache: Path | None = None
    models: tuple[str, ...] = ()
    config: QueriesConfig = field(default_factory=QueriesConfig)
    encoder: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    users: int = 1_000


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
        data = read_suggest_data(bench.data, bench.name, options.seed, bench.users)
        vectors = _encode_items(bench, data, options)
        replay, targets = SuggestReplay(data, vectors, Path(scratch) / "search"), data.targets
        document: dict[str, Any] = {
            "dataset": bench.data.resolve().name,
            "data": hash_files(data.files),
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
        yield asdict(compare_values(names, values, base_values))


def _measure_success(measurements: _Measurements, typed: int) -> Values:
    """(U,) share of each user's targets in the top ten."""
    return _mean_by_user(
        measurements, (np.array(measurements.ranks[typed]) <= K).astype(np.float64)
    )


def _mean_by_user(measurements: _Measurements, values: Values) -> Values:
    user_nums = np.unique(measurements.users, return_inverse=True)[1]  # (targets,)
    return np.bincount(user_nums, values) / np.bincount(user_nums)  # (U,)


def _measure_baseline(
    name: str, replay: SuggestReplay, targets: Sequence[Target], min_users: int
) -> _Measurements:
    measurements = _Measurements()
    for target in targets:
        user_keys = frozenset(search.key for search in replay.find_own(target))
        recent = replay.find_history(target).item_nums[-RECENT_ITEMS:]
        counts = replay.count_queries(target, min_users)
        keys = counts.keys if name == POPULAR else counts.rank_by_cooccurrence(user_keys, recent)
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
    variant: Variant, replay: SuggestReplay, targets: Sequence[Target], seed: int
) -> _Measurements:
    measurements, suggester, state = _Measurements(), None, None
    builder = replay.open_builder(variant.config, targets[0].timestamp)
    generations = NUM_GENERATIONS if np.isinf(replay.data.held_out_from) else 1
    starts = {int(start) for start in np.linspace(0, len(targets), generations, endpoint=False)}
    for index, target in enumerate(targets):
        if index in starts or state is None or suggester is None:
            state = replay.build_generation(variant, builder, target.timestamp, seed)
            suggester = QuerySuggester(state, variant.config)
        known = replay.build_user_features(target, state)
        without = frozenset(known.searched) if target.is_new else frozenset()
        user = known if variant.knows_users else SuggestionUser()
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
    replay: SuggestReplay,
    target: Target,
    typed: int,
    suggestions: Sequence[str],
) -> None:
    keys = [normalise(text) for text in suggestions]
    rank = keys.index(target.key) + 1 if target.key in keys else np.inf
    measurements.ranks[typed].append(float(rank))
    measurements.count += len(suggestions)
    measurements.unanswered += sum(not replay.has_results(text) for text in suggestions)
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


def _encode_items(bench: SuggestBench, data: SuggestData, options: TrainOptions) -> FloatArray:
    cache = find_cache(bench.file, bench.cache)
    texts = TextVectors(bench.encoder.name, cache, options.progress)
    vectors = texts.encode(data.dataset.catalogue.texts(data.fields))
    return unit(vectors, shortest=1e-9)
