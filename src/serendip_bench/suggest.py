"""``serendip bench suggest``: is a user's true next tag among the first ten suggestions?

Asked with nothing typed and with the first one, two and three letters. Generations are published
in time, each of everything before the first moment that it answers; the baselines know everything
before each moment. They may show what one person alone has searched, which no suggestion may. So
like is compared with like both ways: the same baselines under the rule of the suggestions, and
suggestions without the rule (``min_users`` = 1, of tags that are public). Means over users, with
paired intervals.

Which items suggested queries lead to: retrievability, in the sense of Azzopardi and Vinay 2008.

An item is reached by a query that has it among its first ten results; r = number of queries that
reach it.

What suggestions have to beat: the most popular queries, and those that go along.

Both know every search before the moment of asking, by however few people, and nothing else.
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
from serendip_bench.suggest_replay import Variant, World, suggested
from serendip_bench.work_folder import open_bench_encoder, open_work_folder


def retrievability(searcher: Searcher, queries: Sequence[str]) -> dict[str, Any]:
    """What some queries reach."""
    results = np.full((len(queries), TOP), -1, np.int32)
    for row, text in enumerate(queries):
        found = searcher.search(text, TOP).item_nums
        results[row, : len(found)] = found
    return {"queries": len(queries), **reached_by(results, searcher.num_items)}


def reached_by(results: IntArray, num_items: int) -> dict[str, float | None]:
    """Share of the items that are reached, and the Gini index of r over all of them.

    Args:
        results: (Q, 10) items, -1 where there are fewer.
        num_items: of the catalogue.
    """
    reached = np.unique(results[results >= 0])
    gini = Gini(TOP).of_exposure(results, np.arange(len(results)), num_items)[0]
    return {"share": len(reached) / max(1, num_items), "gini": gini if len(reached) else None}


RECENT_ITEMS = 20


def by_enough(before: Sequence[Search], min_users: int) -> list[Search]:
    """Searches whose words at least ``min_users`` different people have searched."""
    users: dict[str, set[str]] = {}
    for one in before:
        users.setdefault(one.key, set()).add(one.user_id)
    return [one for one in before if len(users[one.key]) >= min_users]


def most_popular(before: Sequence[Search]) -> list[str]:
    """Queries by the number of people who searched them, then by searches, then by letters."""
    people = Counter(key for _, key in {(one.user_id, one.key) for one in before})
    searches = Counter(one.key for one in before)
    return sorted(people, key=lambda key: (-people[key], -searches[key], key))


def cooccurring(before: Sequence[Search], user_id: str, history: IntArray) -> list[str]:
    """Queries of people who searched what the user did, and of those who chose the same items.

    Each shared query counts one, and each of the user's last 20 items that was chosen after the
    query; the more popular first where both say nothing.
    """
    own = {one.key for one in before if one.user_id == user_id}
    by_user: dict[str, set[str]] = {}
    for one in before:
        if one.user_id != user_id:
            by_user.setdefault(one.user_id, set()).add(one.key)
    score: Counter[str] = Counter()
    for theirs in by_user.values():
        shared = len(own & theirs)
        if shared:
            score.update(dict.fromkeys(theirs, shared))
    recent = set(history[-RECENT_ITEMS:].tolist())
    for one in before:
        if one.user_id != user_id and recent & set(one.chosen.tolist()):
            score[one.key] += 1
    place = {key: row for row, key in enumerate(most_popular(before))}
    return sorted(place, key=lambda key: (-score[key], place[key]))


def going_on(keys: Iterable[str], typed: str, without: frozenset[str], k: int) -> list[str]:
    """The first k that have a word from which on they go on from what was typed."""
    found: list[str] = []
    for key in keys:
        if len(found) == k:
            break
        is_match = key.startswith(typed) or f" {typed}" in key
        if is_match and key not in without:
            found.append(key)
    return found


K = 10
TYPED = (0, 1, 2, 3)
NUM_GENERATIONS = 8
POPULAR, COOCCURRENCE, SERVED = "most-popular", "co-occurrence", "serendip"
BASELINES = (POPULAR, COOCCURRENCE)
RULED = ", by enough people"
"""Ends the name of a baseline that shows nothing which fewer than ``min_users`` have searched."""
OPEN = "serendip with everybody's tags"
"""What would be served where a query of one person alone may be suggested to others."""

Ranks = dict[int, list[float]]
"""Letters typed -> per target the 1-based place of the tag; infinity where it is not shown."""


@dataclass(frozen=True, slots=True)
class SuggestBench:
    """What to run.

    Args:
        data: folder with ``items.jsonl``, ``ratings.csv`` and ``tags.csv``.
        file: the results.
        name: set of targets, of ``tags.SETS``.
        cache: folder of text vectors; None = beside the results.
        models: ways to suggest, by name; empty = all of ``variants``.
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
class _Told:
    """What was suggested by one system.

    Args:
        users: of the targets.
        ranks: of the true tags.
        milliseconds: CPU time of each request.
        shown: every list with nothing typed.
        unanswered: suggestions without a result, of all that were shown.
        count: suggestions that were shown.
        reach: what the last generation reaches.
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
    """Ask every system about every target, and write the results file anew.

    Returns:
        the document that the file holds.

    Raises:
        DataError: the data is not as it should be.
        StorageError: another process is at work on the same file.
    """
    with open_work_folder(bench.file), tempfile.TemporaryDirectory() as scratch:
        films = read_movielens(bench.data)
        searches = read_tags(bench.data, films.catalogue.vocabulary)
        dataset = with_choices(films, searches)
        vectors = _vectors(bench, dataset, options)
        world = World(dataset, searches, vectors, Path(scratch) / "search")
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
        told = {name: _of_baseline(name, world, targets, 1) for name in BASELINES}
        fewest = bench.config.min_users
        told |= {f"{n}{RULED}": _of_baseline(n, world, targets, fewest) for n in BASELINES}
        for name, one in told.items():
            _add(document, name, one, on_row)
        for variant in options.progress.track(variants(bench), "suggestions", len(variants(bench))):
            told[variant.name] = _of_variant(variant, world, targets, options.seed)
            _add(document, variant.name, told[variant.name], on_row)
            document["comparisons"] = comparisons(told)
            write_json(bench.file, document)
    return document


def variants(bench: SuggestBench) -> list[Variant]:
    """What is served, without its rule of privacy, and without each of its parts.

    Raises:
        ConfigError: a name is not known.
    """
    config = bench.config
    parts = [name for name in SOURCES if name in config.sources and name != "llm"]
    found = [Variant(SERVED, config), Variant(OPEN, config.model_copy(update={"min_users": 1}))]
    for part in parts:
        left = tuple(one for one in config.sources if one != part)
        found.append(Variant(f"without {part}", config.model_copy(update={"sources": left})))
    found.append(Variant("without ranker", config, learns=False))
    found.append(Variant("without user", config, knows_users=False))
    unknown = set(bench.models) - {one.name for one in found}
    if unknown:
        known = ", ".join(one.name for one in found)
        raise ConfigError(f"--models {min(unknown)!r}.", f"Known: {known}.")
    return [one for one in found if not bench.models or one.name in bench.models]


def comparisons(told: Mapping[str, _Told]) -> list[dict[str, Any]]:
    """What is served against all others; without its rule, against the baselines without it."""
    pairs = [(SERVED, other) for other in told if other != SERVED]
    pairs += [(OPEN, other) for other in BASELINES]
    return [
        one
        for system, base in pairs
        if system in told and base in told
        for one in _compared(system, told[system], base, told[base])
    ]


def _compared(system: str, own: _Told, base: str, theirs: _Told) -> Iterator[dict[str, Any]]:
    """By letters typed, and the mean of all of them."""
    found = {f"{n} letters typed": (_success(own, n), _success(theirs, n)) for n in TYPED}
    means = [np.mean(both, axis=0) for both in zip(*found.values(), strict=True)]
    found["mean of 0 to 3 letters typed"] = means[0], means[1]
    for said, (one, other) in found.items():
        names = (system, base, f"Success@{K}, {said}")
        yield compare_values(names, one, other).as_dict()


def _success(told: _Told, typed: int) -> Values:
    """(U,) share of each user's targets that are among the first ten."""
    return _by_user(told, (np.array(told.ranks[typed]) <= K).astype(np.float64))


def _by_user(told: _Told, values: Values) -> Values:
    users = np.unique(told.users, return_inverse=True)[1]
    return np.bincount(users, values) / np.bincount(users)


def _of_baseline(name: str, world: World, targets: Sequence[Target], min_users: int) -> _Told:
    told = _Told()
    for target in targets:
        dataset, before = world.before(target.timestamp)
        own = frozenset(one.key for one in before if one.user_id == target.user_id)
        history = dataset.history(dataset.users.number(target.user_id)).item_nums
        before, popular = by_enough(before, min_users), name == POPULAR
        keys = most_popular(before) if popular else cooccurring(before, target.user_id, history)
        without = own if target.is_new else frozenset()
        for typed in TYPED:
            found = going_on(keys, target.key[:typed], without, K)
            _note(told, world, target, typed, found)
    last = max(target.timestamp for target in targets)
    known = by_enough(world.before(last)[1], min_users)
    queries = list(dict.fromkeys(one.text for one in known))
    told.reach = retrievability(world.searcher, queries)
    return told


def _of_variant(variant: Variant, world: World, targets: Sequence[Target], seed: int) -> _Told:
    told, suggester, state = _Told(), None, None
    builder = world.builder(variant.config, targets[0].timestamp)
    starts = {int(at) for at in np.linspace(0, len(targets), NUM_GENERATIONS, endpoint=False)}
    for place, target in enumerate(targets):
        if place in starts or state is None or suggester is None:
            state = world.generation(variant, builder, target.timestamp, seed)
            suggester = QuerySuggester(state, variant.config)
        asker, past = world.asker(target, state)
        without = asker.searched if target.is_new else frozenset()
        asked = (asker, past) if variant.knows_users else (type(asker)(), type(past)())
        for typed in TYPED:
            letters = target.key[:typed].strip()
            begin = time.process_time()
            texts = suggested(suggester, state, asked, letters, K + min(len(without), 10 * K))
            told.milliseconds[typed].append(1000 * (time.process_time() - begin))
            found = [text for text in texts if normalise(text) not in without][:K]
            _note(told, world, target, typed, found)
    assert state is not None
    told.reach = {
        "queries": len(state.queries),
        **reached_by(state.queries.results, world.dataset.num_items),
    }
    return told


def _note(told: _Told, world: World, target: Target, typed: int, found: Sequence[str]) -> None:
    keys = [normalise(text) for text in found]
    place = keys.index(target.key) + 1 if target.key in keys else np.inf
    told.ranks[typed].append(float(place))
    told.count += len(found)
    told.unanswered += sum(not len(world.searcher.search(text, 1)) for text in found)
    if not typed:
        told.users.append(target.user_id)
        told.shown.append(list(found))


def _add(
    document: dict[str, Any],
    name: str,
    told: _Told,
    on_row: Callable[[Mapping[str, Any]], None],
) -> None:
    for typed in TYPED:
        success = estimate(_success(told, typed))
        ranks = np.array(told.ranks[typed])
        reciprocal = _by_user(told, np.where(ranks <= K, 1.0 / ranks, 0.0))
        spent = told.milliseconds[typed]
        row = {
            "model": name,
            "typed": typed,
            "seed": document["seed"],
            f"success@{K}": success.value,
            f"mrr@{K}": float(reciprocal.mean()),
            "ci95": {f"success@{K}": [success.low, success.high]},
            "cpu_ms": float(np.median(spent)) if spent else None,
        }
        document["rows"].append(row)
        on_row(row)
    document.setdefault("shown", {})[name] = {
        "suggestions": told.count,
        "with_results": 1.0 - told.unanswered / max(1, told.count),
        "distinct_untyped": len({text for found in told.shown for text in found}),
    }
    document.setdefault("reach", {})[name] = dict(told.reach)


def _vectors(bench: SuggestBench, dataset: Dataset, options: TrainOptions) -> FloatArray:
    encode = open_bench_encoder(bench.encoder, bench.cache, bench.file, options.progress)
    vectors = encode(dataset.catalogue.texts(FILM_FIELDS))
    return unit(vectors, shortest=1e-9)
