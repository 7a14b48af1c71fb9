"""MovieLens: films, ratings, tags and conversations, with a temporal split.

All films of ``items.jsonl`` are ranked, those without a training rating by their content alone.
``home`` and ``similar`` are those of ``split_by_time``: there is one next film rather than all
co-liked ones, as a popular film has hundreds of those and any popular film would be right.

``search``: queries are the tags of users (``tag_queries.jsonl``), with the tagged films as targets,
and sentences of conversations (``queries.jsonl`` of a folder ``redial`` beside this one), with the
films that were suggested next. Neither occurs in item texts or training: training and validation
queries are written by rules from titles, years, genres, directors and casts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.dataset import Dataset, EventLog
from serendip.data.events.event import NO_SESSION, ActionRules, EventColumns
from serendip.data.events.feedback import Feedback
from serendip.data.items.catalogue import Catalogue
from serendip.data.query import Query
from serendip.data.vocabulary import MISSING, Vocabulary
from serendip.files.config import EventsConfig, ItemsConfig
from serendip.files.events import read_events
from serendip.files.items import read_items
from serendip_bench.datasets.json_lines import read_objects
from serendip_bench.datasets.products import draw_queries
from serendip_bench.ranking.requests import RequestSet
from serendip_bench.ranking.splits import BenchSplit, split_by_time, write_queries

FILMS_FILE, RATINGS_FILE, TAGS_FILE = "items.jsonl", "ratings.csv", "tag_queries.jsonl"
FILM_FILES = (FILMS_FILE, RATINGS_FILE, TAGS_FILE)
REQUESTS_FILE = Path("redial") / "queries.jsonl"
"""Relative to the parent of the films' folder."""

SYNTHETIC_QUERY_FIELDS = ("title", "year", "genres", "director", "cast")
FILM_FIELDS = (*SYNTHETIC_QUERY_FIELDS, "description")
"""Fields that are encoded and searched."""

NUM_TRAINING_QUERIES, NUM_VALIDATION_QUERIES = 10_000, 1_000


@dataclass(frozen=True, slots=True)
class FilmQueries:
    """Queries with their relevant films.

    Args:
        texts: one per query.
        films: ids of the relevant films of each query; some may not be in the catalogue.
        units: unit of statistics of each query, such as its conversation.
    """

    texts: list[str]
    films: list[list[str]]
    units: list[str]


def read_movielens(folder: Path) -> Dataset:
    """Read films in the order of their file, and all ratings by time; 4 of 5 or more is a like.

    Raises:
        DataError: a file is missing or invalid.
    """
    attributes = ("genres", "director", "cast")
    config = ItemsConfig(path=FILMS_FILE, title_style="library", attributes=attributes)
    catalogue = Catalogue(read_items(config, folder))
    ratings = sorted(
        read_events(EventsConfig(path=RATINGS_FILE), folder), key=attrgetter("timestamp")
    )
    read = attrgetter("user_id", "item_id", "timestamp", "action", "value", "country")
    log = EventColumns.of_rows([(*read(event), NO_SESSION) for event in ratings])
    users = Vocabulary(dict.fromkeys(log.user_ids))
    events = EventLog(
        users.numbers(log.user_ids),
        catalogue.vocabulary.numbers(log.item_ids),
        log.timestamps,
        Feedback.of(log, ActionRules()).liked,
        log.values.astype(np.float32),
    )
    return Dataset(catalogue, users, events.rows(events.items >= 0))


def read_search_sets(folder: Path) -> dict[str, FilmQueries]:
    """Read the query sets: ``tags``, and ``redial`` if it is beside the folder.

    Raises:
        DataError: a line is not a JSON object or lacks a field.
    """
    tags = list(read_objects(folder / TAGS_FILE, "tag", "items"))
    texts = [str(row["tag"]) for row in tags]
    sets = {"tags": FilmQueries(texts, [_to_ids(row["items"]) for row in tags], texts)}
    requests = folder.resolve().parent / REQUESTS_FILE
    if requests.exists():
        rows = list(read_objects(requests, "query", "targets", "dialog_id"))
        sets["redial"] = FilmQueries(
            [str(row["query"]) for row in rows],
            [_to_ids(row["targets"]) for row in rows],
            [str(row["dialog_id"]) for row in rows],
        )
    return sets


def build_searches(search: FilmQueries, films: Vocabulary) -> RequestSet:
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
    targets = RequestSet.of(queries, items, units)
    return replace(targets, requests=np.array(requests, np.intp))


def split_movielens(dataset: Dataset, folder: Path) -> BenchSplit:
    """The temporal split with requests of search; validation searches are written ones."""
    split, requests = split_by_time(dataset)
    counts = np.zeros(len(split.catalogue), np.int32)
    counts[: split.train.num_items] = split.train.item_counts()
    known, fields = counts[: split.train.num_items], SYNTHETIC_QUERY_FIELDS
    written = draw_queries(split.train.catalogue, fields, 0, known, NUM_TRAINING_QUERIES)
    texts, items = draw_queries(split.catalogue, fields, 1, counts, NUM_VALIDATION_QUERIES)
    asked = [Query("search", text=text) for text in texts]
    searches = {
        f"search-{name}": build_searches(queries, split.catalogue.vocabulary)
        for name, queries in read_search_sets(folder).items()
    }
    validated = dict.fromkeys(searches, RequestSet.of(asked, items, range(len(items))))
    return replace(
        requests,
        train=split.train.with_queries(write_queries(*written)),
        tests={**requests.tests, **searches},
        validation={**requests.validation, **validated},
    )


def _to_ids(values: Sequence[Any]) -> list[str]:
    return [str(value) for value in values]
