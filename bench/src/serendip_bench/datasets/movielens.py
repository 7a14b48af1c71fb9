"""MovieLens: films, ratings and tags, with a temporal split for home, similar items and search.

Models are trained on the oldest 70 % of the ratings. The next 10 % validate the split of tasks into
models, the newest 20 % are the test. All films of ``items.jsonl`` are ranked, including those
without a training rating, which models know by their content alone.

- ``home``: the target is a rated film, the history what the user rated strictly before; up to 100
  per user after the cut, averaged per user.
- ``similar``: the source is a film that a user liked, the target the film that the user liked next
  in the same period; averaged per user. There is one target rather than all co-liked films: a
  popular film has hundreds of those, so that any popular film would be right.
- ``search``: queries are the tags of users (``tag_queries.jsonl``), with the tagged films as
  targets, and sentences of conversations (``queries.jsonl`` of a folder ``redial`` beside this
  one), with the films that were suggested next as targets. Neither occurs in item texts or
  training: training and validation queries are synthetic, from titles, years, genres, directors
  and casts.

For query suggestions a tag is a search and its film the chosen result. Targets of each user are the
first use of the newest tag that the user had not used before (``new``), first uses of the ten
newest tags (``recent``), or the last tagging (``next``). The tag before the newest is for tuning
(``validation``), and is in none of the other sets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.synthetic_queries import write_examples
from serendip.data.arrays import FloatArray
from serendip.data.dataset import Dataset, EventLog
from serendip.data.events.event import ActionRules, EventColumns
from serendip.data.events.feedback import Feedback
from serendip.data.events.search_log import Search
from serendip.data.items.catalogue import Catalogue
from serendip.data.query import Query
from serendip.data.splits import Split
from serendip.data.text import normalise
from serendip.data.vocabulary import MISSING, Vocabulary
from serendip.errors import DataError
from serendip.files.config import EventsConfig, ItemsConfig
from serendip.files.events import read_events
from serendip.files.items import read_items
from serendip_bench.qrels import Relevance
from serendip_bench.query_vectors import collect_texts, with_vectors, without_vectors
from serendip_bench.splits import BenchSplit, RequestSet
from serendip_bench.time_splits import TimedSplit
from serendip_bench.unified.tasks import UnifiedSplit

FILMS_FILE, RATINGS_FILE = "items.jsonl", "ratings.csv"


def read_rated_films(folder: Path, attributes: tuple[str, ...] = ("genres",)) -> Dataset:
    """Read films in the order of their file, and all ratings by time.

    Every rating is an event; 4 of 5 or more is a like.

    Args:
        folder: with both files.
        attributes: columns of ``items.jsonl`` to read beside title, year and overview; ``tags``
            only if it is named here.

    Raises:
        DataError: a file is missing or invalid.
    """
    config = ItemsConfig(path=FILMS_FILE, title_style="library", attributes=attributes)
    catalogue = Catalogue(read_items(config, folder))
    log = EventColumns.of_events(read_events(EventsConfig(path=RATINGS_FILE), folder))
    users = Vocabulary(dict.fromkeys(log.user_ids))
    events = EventLog(
        users.numbers(log.user_ids),
        catalogue.vocabulary.numbers(log.item_ids),
        log.timestamps,
        Feedback.of(log, ActionRules()).liked,
        log.values.astype(np.float32),
    )
    return Dataset(catalogue, users, events.rows(events.items >= 0))


TAGS_FILE = "tag_queries.jsonl"
REQUESTS_FILE = Path("redial") / "queries.jsonl"
"""Relative to the parent of the films' folder."""

SYNTHETIC_QUERY_FIELDS = ("title", "year", "genres", "director", "cast")
FILM_FIELDS = (*SYNTHETIC_QUERY_FIELDS, "description")
"""Fields that are encoded; not the tags, which are queries here."""

NUM_TRAINING_QUERIES, NUM_VALIDATION_QUERIES = 10_000, 1_000


@dataclass(frozen=True, slots=True)
class TagQueries:
    """Queries with their relevant films.

    Args:
        texts: one per query.
        films: ids of the relevant films of each query; some may not be in the catalogue.
        units: unit of statistics of each query, such as its conversation.
        names: number of named films, in the catalogue or not.
    """

    texts: list[str]
    films: list[list[str]]
    units: list[str]
    names: int


def read_movielens(folder: Path) -> Dataset:
    """Read films and ratings with all encoded fields.

    Raises:
        DataError: a file is missing or invalid.
    """
    return read_rated_films(folder, ("genres", "director", "cast"))


def read_search_sets(folder: Path) -> dict[str, TagQueries]:
    """Read the query sets: ``tags``, and ``redial`` if it is beside the folder.

    Raises:
        DataError: a line is not a JSON object or lacks a field.
    """
    tags = list(_read_objects(folder / TAGS_FILE, ("tag", "items")))
    texts = [str(row["tag"]) for row in tags]
    films = [_to_ids(row["items"]) for row in tags]
    query_sets = {"tags": TagQueries(texts, films, texts, sum(map(len, films)))}
    requests = folder.resolve().parent / REQUESTS_FILE
    if requests.exists():
        rows = list(_read_objects(requests, ("query", "targets", "dialog_id")))
        query_sets["redial"] = TagQueries(
            [str(row["query"]) for row in rows],
            [_to_ids(row["targets"]) for row in rows],
            [str(row["dialog_id"]) for row in rows],
            sum(len(row.get("target_names", row["targets"])) for row in rows),
        )
    return query_sets


def count_movielens_queries(folder: Path) -> dict[str, Any]:
    """Counts of queries and films of each search set, for the results file."""
    vocabulary = read_movielens(folder).catalogue.vocabulary
    facts: dict[str, Any] = {}
    for name, queries in read_search_sets(folder).items():
        matched_films = [vocabulary.numbers(films) != MISSING for films in queries.films]
        facts[name] = {
            "queries": len(queries.texts),
            "asked": sum(bool(is_matched.any()) for is_matched in matched_films),
            "units": len(set(queries.units)),
            "named": queries.names,
            "matched": int(sum(is_matched.sum() for is_matched in matched_films)),
        }
    return {"searches": facts}


def list_movielens_queries(folder: Path) -> list[str]:
    """All query texts, for encoding."""
    return collect_texts(_build_split_without_vectors(folder))


def build_movielens_split(folder: Path, words: FloatArray) -> UnifiedSplit:
    """The split with its requests; ``words`` (W, C) are vectors of ``list_movielens_queries``."""
    return with_vectors(_build_split_without_vectors(folder), words)


def _build_split_without_vectors(folder: Path) -> UnifiedSplit:
    dataset = read_movielens(folder)
    temporal_split = TimedSplit.of(dataset)
    split, counts = temporal_split.split, temporal_split.split.train.item_counts()
    examples = write_examples(
        split.train.catalogue, counts, SYNTHETIC_QUERY_FIELDS, 0, NUM_TRAINING_QUERIES
    )
    train = split.train.with_queries(without_vectors(*_drop_empty_texts(examples)))
    test = {"home": temporal_split.home.test, "similar": temporal_split.similar.test}
    validation = {
        "home": temporal_split.home.validation,
        "similar": temporal_split.similar.validation,
    }
    search_validation = _write_validation_requests(split)
    for name, queries in read_search_sets(folder).items():
        test[f"search-{name}"] = build_searches(queries, split.catalogue.vocabulary)
        validation[f"search-{name}"] = search_validation
    no_cold = np.zeros(dataset.num_items, np.bool_)
    sequences = BenchSplit(train, temporal_split.numbers, validation["home"], test["home"], no_cold)
    return UnifiedSplit(sequences, test, validation)


def build_searches(search: TagQueries, films: Vocabulary) -> RequestSet:
    """Requests with one row per relevant film of the catalogue."""
    queries, items, requests, units = [], [], [], []
    unit_nums = {name: number for number, name in enumerate(dict.fromkeys(search.units))}
    for query_num, (text, film_ids) in enumerate(zip(search.texts, search.films, strict=True)):
        film_nums = films.numbers(dict.fromkeys(film_ids))
        for item in film_nums[film_nums != MISSING].tolist():
            queries.append(Query("search", text=text))
            items.append(item)
            requests.append(query_num)
            units.append(unit_nums[search.units[query_num]])
    relevance = Relevance(
        np.array(requests, np.intp), np.array(units, np.intp), np.ones(len(items))
    )
    return RequestSet(queries, np.array(items, np.int32), relevance)


def _write_validation_requests(split: Split) -> RequestSet:
    """Synthetic validation requests of search, for all films; other queries than in training."""
    counts = np.zeros(len(split.catalogue), np.int32)
    counts[: split.train.num_items] = split.train.item_counts()
    examples = write_examples(
        split.catalogue, counts, SYNTHETIC_QUERY_FIELDS, 1, NUM_VALIDATION_QUERIES
    )
    texts, items = _drop_empty_texts(examples)
    return RequestSet([Query("search", text=text) for text in texts], np.array(items, np.int32))


def _drop_empty_texts(examples: tuple[list[str], Any]) -> tuple[list[str], list[int]]:
    """Texts and items of the examples with a text."""
    pairs = [(text, item) for text, item in zip(*examples, strict=True) if text.strip()]
    return [text for text, _ in pairs], [int(item) for _, item in pairs]


def _read_objects(path: Path, needed: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    """Read one JSON object per line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            missing = [name for name in needed if name not in row]
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}:{number} is not a JSON object: {error}.") from None
        if missing:
            raise DataError(f"{path}:{number} has no {missing[0]!r}.")
        yield row


def _to_ids(values: Sequence[Any]) -> list[str]:
    return [str(value) for value in values]


USER_TAGS_FILE = "tags.csv"
_COLUMNS = {"user_id": "userId", "item_id": "movieId", "query": "tag", "timestamp": "timestamp"}
SETS = ("new", "recent", "next", "validation")
NUM_RECENT = 10


@dataclass(frozen=True, slots=True)
class Target:
    """The next search of a user.

    Args:
        user_id: of the user.
        timestamp: of the search; systems read earlier data only.
        key: normal form of the tag.
        is_new: True if the target is known to be a tag that the user had not used before.
    """

    user_id: str
    timestamp: float
    key: str
    is_new: bool


def read_tags(folder: Path, films: Vocabulary) -> list[Search]:
    """Read the taggings of films of the catalogue, by time, then in file order.

    Raises:
        DataError: the file is missing or invalid, or has no tag.
    """
    config = EventsConfig(path=USER_TAGS_FILE, columns=_COLUMNS)
    searches = []
    for event in read_events(config, folder):
        film, key = films.number(event.item_id), normalise(event.query)
        if film >= 0 and key:
            chosen = np.array([film], np.int32)
            searches.append(Search(event.user_id, event.timestamp, event.query, key, chosen))
    if not searches:
        raise DataError(f"{folder / USER_TAGS_FILE} has no tags of films of the catalogue.")
    return sorted(searches, key=lambda search: search.timestamp)


def with_choices(dataset: Dataset, searches: Sequence[Search]) -> Dataset:
    """A copy with an event for every chosen search result, by time.

    Searches of users outside the dataset are ignored.
    """
    rows = [
        (dataset.users.number(search.user_id), int(item), search.timestamp)
        for search in searches
        for item in search.chosen
        if dataset.users.number(search.user_id) >= 0
    ]
    events, count = dataset.events, len(rows)
    users, items, times = zip(*rows, strict=True) if rows else ((), (), ())
    timestamps = np.concatenate([events.timestamps, np.array(times, np.float64)])
    order = np.argsort(timestamps, kind="stable")
    joined = EventLog(
        np.concatenate([events.users, np.array(users, np.int32)])[order],
        np.concatenate([events.items, np.array(items, np.int32)])[order],
        timestamps[order],
        np.concatenate([events.liked, np.zeros(count, np.bool_)])[order],
        np.concatenate([events.values, np.full(count, np.nan, np.float32)])[order],
    )
    return replace(dataset, events=joined)


def select_targets(searches: Sequence[Search], name: str) -> list[Target]:
    """The targets of one of ``SETS``, by time."""
    firsts: dict[str, dict[str, Target]] = {}
    last: dict[str, Target] = {}
    for search in searches:
        target = Target(search.user_id, search.timestamp, search.key, True)
        firsts.setdefault(search.user_id, {}).setdefault(search.key, target)
        last[search.user_id] = Target(search.user_id, search.timestamp, search.key, False)
    if name == "next":
        targets = list(last.values())
    else:
        positions = {"new": [1], "validation": [2], "recent": [1, *range(3, NUM_RECENT + 2)]}[name]
        tags_by_user = [list(tags.values()) for tags in firsts.values()]
        targets = [
            tags[-position]
            for tags in tags_by_user
            for position in positions
            if len(tags) >= position
        ]
    return sorted(targets, key=lambda target: (target.timestamp, target.user_id))
