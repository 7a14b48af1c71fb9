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

from serendip.data.arrays import IntArray
from serendip.data.numeric import unit
from serendip.data.text import normalise
from serendip.errors import ConfigError
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.intervals import estimate, per_user
from serendip.evaluate.metrics import gini
from serendip.evaluate.runs import Values
from serendip.runtime.atomic_files import hash_files, write_json
from serendip.runtime.progress import TrainOptions
from serendip.search.config import QueriesConfig
from serendip.search.suggestions.checks import TOP
from serendip_bench.results import TextVectors, find_cache, open_work_folder
from serendip_bench.suggest_replay import SuggestReplay, list_suggestions
from serendip_bench.suggest_sets import Target, filter_public, read_suggest_data

K, RECENT_ITEMS = 10, 20
TYPED = (0, 1, 2, 3)
NUM_GENERATIONS = 8
BASELINES = ("most-popular", "co-occurrence")
PUBLIC_ONLY = ", by enough people"
"""Suffix of baselines restricted to queries of at least ``min_users`` users."""

SERVED, UNRESTRICTED = "serendip", "serendip with everybody's tags"
"""The suggestions as they are served, and without the privacy threshold."""


@dataclass(frozen=True, slots=True)
class SuggestBench:
    """Settings of a run.

    Args:
        data: folder of films with tags, or of sequences.
        name: set of targets, of ``list_sets``.
        models: ``SERVED``, ``UNRESTRICTED``; empty = both.
        users: most held-out users that are asked.
    """

    data: Path
    file: Path
    name: str = "new"
    cache: Path | None = None
    models: tuple[str, ...] = ()
    config: QueriesConfig = field(default_factory=QueriesConfig)
    encoder: str = "universal-sentence-encoder"
    users: int = 1_000

    def variants(self) -> dict[str, QueriesConfig]:
        """Name -> config of the suggestions.

        Raises:
            ConfigError: a name is unknown.
        """
        known = {SERVED: self.config, UNRESTRICTED: self.config.model_copy(update={"min_users": 1})}
        if unknown := set(self.models) - set(known):
            raise ConfigError(f"--models {min(unknown)!r}.", f"Known: {', '.join(known)}.")
        return {name: one for name, one in known.items() if not self.models or name in self.models}


@dataclass(slots=True)
class _Measurements:
    """Measurements of one system.

    Args:
        users: of the targets.
        ranks: number of typed letters -> rank of each true query; infinity if it is not shown.
        milliseconds: CPU time of each request.
        shown: the lists of requests without typed letters.
        unanswered: number of shown suggestions without search results.
        count: number of shown suggestions.
        reach: retrievability by the queries of the last generation.
    """

    users: list[str] = field(default_factory=list)
    ranks: dict[int, list[float]] = field(default_factory=lambda: {n: [] for n in TYPED})
    milliseconds: dict[int, list[float]] = field(default_factory=lambda: {n: [] for n in TYPED})
    shown: list[list[str]] = field(default_factory=list)
    unanswered: int = 0
    count: int = 0
    reach: Mapping[str, Any] = field(default_factory=dict)

    def add(self, replay: SuggestReplay, target: Target, typed: int, texts: Sequence[str]) -> None:
        keys = [normalise(text) for text in texts]
        rank = keys.index(target.key) + 1.0 if target.key in keys else np.inf
        self.ranks[typed].append(rank)
        self.count += len(texts)
        self.unanswered += sum(not replay.has_results(text) for text in texts)
        if not typed:
            self.users.append(target.user_id)
            self.shown.append(list(texts))

    def success(self, typed: int) -> Values:
        """(U,) share of each user's targets in the top ten."""
        return self._by_user((np.array(self.ranks[typed]) <= K).astype(np.float64))

    def row(self, typed: int) -> dict[str, Any]:
        success, ranks = estimate(self.success(typed)), np.array(self.ranks[typed])
        times = self.milliseconds[typed]
        return {
            "typed": typed,
            f"success@{K}": success.value,
            f"mrr@{K}": float(self._by_user(np.where(ranks <= K, 1.0 / ranks, 0.0)).mean()),
            "ci95": {f"success@{K}": [success.low, success.high]},
            "cpu_ms": float(np.median(times)) if times else None,
        }

    def _by_user(self, values: Values) -> Values:
        groups = np.unique(self.users, return_inverse=True)[1]  # (targets,)
        return per_user(values[:, None], groups)[:, 0]


def run_suggest(
    bench: SuggestBench,
    options: TrainOptions,
    on_row: Callable[[Mapping[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """Evaluate every system on every target, and overwrite the results file.

    Raises:
        ConfigError: a model or the set is unknown.
        DataError: the data is missing or invalid.
        StorageError: another process uses the same file.
    """
    variants = bench.variants()
    with open_work_folder(bench.file), tempfile.TemporaryDirectory() as scratch:
        data = read_suggest_data(bench.data, bench.name, options.seed, bench.users)
        cache = find_cache(bench.file, bench.cache)
        encode = TextVectors(bench.encoder, cache, options.progress).encode
        vectors = unit(encode(data.dataset.catalogue.texts(data.fields)), shortest=1e-9)
        replay = SuggestReplay(data, vectors, Path(scratch) / "search")
        measured = {name: _measure_baseline(name, replay, 1) for name in BASELINES}
        for name in BASELINES:
            least = bench.config.min_users
            measured[f"{name}{PUBLIC_ONLY}"] = _measure_baseline(name, replay, least)
        document: dict[str, Any] = {
            "dataset": bench.data.resolve().name,
            "data": hash_files(data.files),
            "set": bench.name,
            "users": len({target.user_id for target in data.targets}),
            "targets": len(data.targets),
            "seed": options.seed,
            "config": bench.config.model_dump(mode="json"),
        }
        for name in options.progress.track(variants, "suggestions", len(variants)):
            measured[name] = _measure_variant(variants[name], replay, options.seed)
        document["rows"] = [
            {"model": name, "seed": options.seed, **measurements.row(typed)}
            for name, measurements in measured.items()
            for typed in TYPED
        ]
        for row in document["rows"]:
            on_row(row)
        document["shown"] = {
            name: {
                "suggestions": one.count,
                "with_results": 1.0 - one.unanswered / max(1, one.count),
                "distinct_untyped": len({text for texts in one.shown for text in texts}),
            }
            for name, one in measured.items()
        }
        document["reach"] = {name: dict(one.reach) for name, one in measured.items()}
        document["comparisons"] = list(_compare_all(measured))
        write_json(bench.file, document)
    return document


def _compare_all(measured: Mapping[str, _Measurements]) -> Iterator[dict[str, Any]]:
    """The served suggestions against all others; without threshold, against plain baselines."""
    pairs = [(SERVED, other) for other in measured if other != SERVED]
    pairs += [(UNRESTRICTED, other) for other in BASELINES]
    for names in pairs:
        if not measured.keys() >= set(names):
            continue
        parts = {f"{n} letters typed": [measured[name].success(n) for name in names] for n in TYPED}
        means = np.mean(list(parts.values()), axis=0)  # (2, U)
        for what, (values, others) in {**parts, "mean of 0 to 3 letters typed": means}.items():
            yield asdict(compare_values((*names, f"Success@{K}, {what}"), values, others))


def _measure_baseline(name: str, replay: SuggestReplay, min_users: int) -> _Measurements:
    measurements = _Measurements()
    for target in replay.data.targets:
        own = frozenset(search.key for search in replay.find_own(target))
        recent = replay.find_history(target).item_nums[-RECENT_ITEMS:]
        counts = replay.count_queries(target, min_users)
        keys = counts.keys if name == BASELINES[0] else counts.rank_by_cooccurrence(own, recent)
        for typed in TYPED:
            measurements.add(replay, target, typed, complete(keys, target.key[:typed], own, K))
    last_time = max(target.timestamp for target in replay.data.targets)
    public = filter_public(replay.before(last_time)[1], min_users)
    texts = list(dict.fromkeys(search.text for search in public))
    results = np.full((len(texts), TOP), -1, np.int32)
    for row, text in enumerate(texts):
        items = replay.searcher.search(text, TOP).item_nums
        results[row, : len(items)] = items
    measurements.reach = measure_reach(results, replay.searcher.num_items)
    return measurements


def _measure_variant(config: QueriesConfig, replay: SuggestReplay, seed: int) -> _Measurements:
    measurements, state = _Measurements(), None
    targets = replay.data.targets
    build = replay.open_builder(config, targets[0].timestamp)
    generations = NUM_GENERATIONS if np.isinf(replay.data.held_out_from) else 1
    starts = {int(start) for start in np.linspace(0, len(targets), generations, endpoint=False)}
    for index, target in enumerate(targets):
        if index in starts or state is None:
            state = replay.build_generation(build, target.timestamp, seed)
        user = replay.build_user_features(target, state)
        without = frozenset(user.searched)
        for typed in TYPED:
            letters, most = target.key[:typed].strip(), K + min(len(without), 10 * K)
            begin = time.process_time()
            texts = list_suggestions(state, config, user, letters, most)
            measurements.milliseconds[typed].append(1000 * (time.process_time() - begin))
            new = [text for text in texts if normalise(text) not in without]
            measurements.add(replay, target, typed, new[:K])
    assert state is not None
    measurements.reach = measure_reach(state.queries.results, replay.dataset.num_items)
    return measurements


def complete(keys: Iterable[str], typed: str, without: frozenset[str], k: int) -> list[str]:
    """The first k keys with the typed letters at the beginning of a word, except ``without``."""
    completions: list[str] = []
    for key in keys:
        if len(completions) == k:
            break
        if (key.startswith(typed) or f" {typed}" in key) and key not in without:
            completions.append(key)
    return completions


def measure_reach(results: IntArray, num_items: int) -> dict[str, float | None]:
    """Number of queries, share of the items with r > 0, and the Gini index of r over all items.

    Args:
        results: (Q, 10) items, -1 = empty position.
        num_items: of the catalogue.
    """
    reached = np.unique(results[results >= 0])
    index = gini(results, np.arange(len(results)), num_items, TOP)[0]
    return {
        "queries": len(results),
        "share": len(reached) / max(1, num_items),
        "gini": index if len(reached) else None,
    }
