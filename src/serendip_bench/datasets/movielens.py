"""Films and their ratings: ``items.jsonl`` and ``ratings.csv`` of a MovieLens folder.

MovieLens asked three ways, in time: what comes next, what is meant by words, what goes along.

Everything is fitted on the oldest 70 % of the ratings. The next 10 % choose between splits into
models, the newest 20 % are asked for. All films of ``items.jsonl`` are ranked, also those that
nobody had rated by then, which models know by their content alone.

- ``home``: every rating, from what its user had rated strictly before; at most the first hundred of
  a user after the cut, mean per user.
- ``similar``: co-liked films. A film that a user liked asks, alone, for the film that the same user
  liked next, both in the period; mean per user. One film and not all that the same users liked: of
  a popular film those are hundreds, and any popular film would do.
- ``search``: tags that users wrote (``tag_queries.jsonl``) ask for the films that they wrote them
  on, and sentences of conversations (``queries.jsonl`` of a folder ``redial`` beside this one) for
  the films that were suggested next. Neither is in any text or training: queries of training, and
  those of the validation, are written from titles, years, genres, directors and casts.

Tags of MovieLens as searches: a tag is what somebody typed, its film what they chose.

For each user who tagged, what is asked about is the first use of their newest tag (``new``, which
they had not used before), the first uses of their ten newest ones (``recent``), or their last
tagging whatever it was (``next``). The tag before the newest is what is tuned on (``validation``),
and no part of the others.
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
from serendip.data.event import ActionRules, EventColumns
from serendip.data.feedback import Feedback
from serendip.data.files.readers import EventsConfig, ItemsConfig, read_events, read_items
from serendip.data.item import Catalogue
from serendip.data.query import Query
from serendip.data.search_log import Search
from serendip.data.splits import Split
from serendip.data.text import normalise
from serendip.data.vocabulary import MISSING, Vocabulary
from serendip.errors import DataError
from serendip_bench.qrels import Relevance
from serendip_bench.query_vectors import collect_texts, with_vectors, without_vectors
from serendip_bench.splits import BenchSplit, RequestSet
from serendip_bench.time_splits import TimedSplit
from serendip_bench.unified.tasks import UnifiedSplit

FILMS_FILE, RATINGS_FILE = "items.jsonl", "ratings.csv"


def read_rated_films(folder: Path, attributes: tuple[str, ...] = ("genres",)) -> Dataset:
    """Films in the order of their file and all their ratings in order of time.

    Every rating is an event; from 4 of 5 on it is a like. What users wrote about films (``tags``)
    is read only if it is named here.

    Args:
        folder: with both files.
        attributes: columns of ``items.jsonl`` to keep beside title, year and overview.

    Raises:
        DataError: a file is missing or broken.
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
"""Beside the folder of the films."""

WRITTEN_FIELDS = ("title", "year", "genres", "director", "cast")
FILM_FIELDS = (*WRITTEN_FIELDS, "description")
"""What is encoded of a film; never the tags, which are queries here."""

NUM_WRITTEN, NUM_VALIDATED = 10_000, 1_000


@dataclass(frozen=True, slots=True)
class TagQueries:
    """Queries with the films that they should find.

    Args:
        texts: one per query.
        films: per query its films, by id; not all of them need be known.
        units: per query who asked, as statistics count it.
        names: how many films people named, known or not.
    """

    texts: list[str]
    films: list[list[str]]
    units: list[str]
    names: int


def read_movielens(folder: Path) -> Dataset:
    """Films and ratings with everything that is encoded of a film.

    Raises:
        DataError: a file is missing or broken.
    """
    return read_rated_films(folder, ("genres", "director", "cast"))


def search_sets(folder: Path) -> dict[str, TagQueries]:
    """``tags``, and ``redial`` where it lies beside the folder.

    Raises:
        DataError: a line is no JSON object of the kind.
    """
    tags = list(_objects(folder / TAGS_FILE, ("tag", "items")))
    texts = [str(row["tag"]) for row in tags]
    films = [_ids(row["items"]) for row in tags]
    found = {"tags": TagQueries(texts, films, texts, sum(map(len, films)))}
    requests = folder.resolve().parent / REQUESTS_FILE
    if requests.exists():
        rows = list(_objects(requests, ("query", "targets", "dialog_id")))
        found["redial"] = TagQueries(
            [str(row["query"]) for row in rows],
            [_ids(row["targets"]) for row in rows],
            [str(row["dialog_id"]) for row in rows],
            sum(len(row.get("target_names", row["targets"])) for row in rows),
        )
    return found


def movielens_facts(folder: Path) -> dict[str, Any]:
    """How many queries each search set has, and how many of their films are known."""
    known = read_movielens(folder).catalogue.vocabulary
    facts: dict[str, Any] = {}
    for name, one in search_sets(folder).items():
        numbers = [known.numbers(films) != MISSING for films in one.films]
        facts[name] = {
            "queries": len(one.texts),
            "asked": sum(bool(found.any()) for found in numbers),
            "units": len(set(one.units)),
            "named": one.names,
            "matched": int(sum(found.sum() for found in numbers)),
        }
    return {"searches": facts}


def movielens_texts(folder: Path) -> list[str]:
    """All texts of queries, to be encoded."""
    return collect_texts(_unworded(folder))


def movielens_trial(folder: Path, words: FloatArray) -> UnifiedSplit:
    """What is learned from and asked; ``words`` (W, C) are vectors of ``movielens_texts``."""
    return with_vectors(_unworded(folder), words)


def _unworded(folder: Path) -> UnifiedSplit:
    dataset = read_movielens(folder)
    timed = TimedSplit.of(dataset)
    split, counts = timed.split, timed.split.train.item_counts()
    examples = write_examples(split.train.catalogue, counts, WRITTEN_FIELDS, 0, NUM_WRITTEN)
    train = split.train.with_queries(without_vectors(*_written(examples)))
    test = {"home": timed.home.test, "similar": timed.similar.test}
    validation = {"home": timed.home.validation, "similar": timed.similar.validation}
    written = _written_requests(split)
    for name, one in search_sets(folder).items():
        test[f"search-{name}"] = searches(one, split.catalogue.vocabulary)
        validation[f"search-{name}"] = written
    nothing_cold = np.zeros(dataset.num_items, np.bool_)
    trial = BenchSplit(train, timed.numbers, validation["home"], test["home"], nothing_cold)
    return UnifiedSplit(trial, test, validation)


def searches(search: TagQueries, films: Vocabulary) -> RequestSet:
    """A row per film that is known."""
    queries, items, requests, units = [], [], [], []
    names = {name: number for number, name in enumerate(dict.fromkeys(search.units))}
    for place, (text, wanted) in enumerate(zip(search.texts, search.films, strict=True)):
        found = films.numbers(dict.fromkeys(wanted))
        for item in found[found != MISSING].tolist():
            queries.append(Query("search", text=text))
            items.append(item)
            requests.append(place)
            units.append(names[search.units[place]])
    relevance = Relevance(
        np.array(requests, np.intp), np.array(units, np.intp), np.ones(len(items))
    )
    return RequestSet(queries, np.array(items, np.int32), relevance)


def _written_requests(split: Split) -> RequestSet:
    """Other queries than those of training, for all films; what validates search."""
    counts = np.zeros(len(split.catalogue), np.int32)
    counts[: split.train.num_items] = split.train.item_counts()
    written = write_examples(split.catalogue, counts, WRITTEN_FIELDS, 1, NUM_VALIDATED)
    texts, items = _written(written)
    return RequestSet([Query("search", text=text) for text in texts], np.array(items, np.int32))


def _written(examples: tuple[list[str], Any]) -> tuple[list[str], list[int]]:
    """Without those that came out empty."""
    pairs = [(text, item) for text, item in zip(*examples, strict=True) if text.strip()]
    return [text for text, _ in pairs], [int(item) for _, item in pairs]


def _objects(path: Path, needed: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    """One JSON object per line."""
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


def _ids(values: Sequence[Any]) -> list[str]:
    return [str(value) for value in values]


USER_TAGS_FILE = "tags.csv"
_COLUMNS = {"user_id": "userId", "item_id": "movieId", "query": "tag", "timestamp": "timestamp"}
SETS = ("new", "recent", "next", "validation")
NUM_RECENT = 10


@dataclass(frozen=True, slots=True)
class Target:
    """What a user searched next.

    Args:
        user_id: who.
        timestamp: when; only what is earlier is known.
        key: normal form of the tag.
        is_new: whether the user had not used it before, and systems are told so.
    """

    user_id: str
    timestamp: float
    key: str
    is_new: bool


def read_tags(folder: Path, films: Vocabulary) -> list[Search]:
    """All taggings of known films, in order of time; those of one second in order of the file.

    Raises:
        DataError: the file is missing or broken, or holds no tag.
    """
    config = EventsConfig(path=USER_TAGS_FILE, columns=_COLUMNS)
    found = []
    for event in read_events(config, folder):
        film, key = films.number(event.item_id), normalise(event.query)
        if film >= 0 and key:
            chosen = np.array([film], np.int32)
            found.append(Search(event.user_id, event.timestamp, event.query, key, chosen))
    if not found:
        raise DataError(f"{folder / USER_TAGS_FILE} has no tags of known films.")
    return sorted(found, key=lambda one: one.timestamp)


def with_choices(dataset: Dataset, searches: Sequence[Search]) -> Dataset:
    """A copy whose users have also chosen what they found by searching, in order of time.

    Searches of users that the dataset has not are left out.
    """
    rows = [
        (dataset.users.number(one.user_id), int(item), one.timestamp)
        for one in searches
        for item in one.chosen
        if dataset.users.number(one.user_id) >= 0
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
    return replace(dataset, events=joined, _by_user={})


def targets_of(searches: Sequence[Search], name: str) -> list[Target]:
    """The targets of one of ``SETS``, in order of time."""
    firsts: dict[str, dict[str, Target]] = {}
    last: dict[str, Target] = {}
    for one in searches:
        target = Target(one.user_id, one.timestamp, one.key, True)
        firsts.setdefault(one.user_id, {}).setdefault(one.key, target)
        last[one.user_id] = Target(one.user_id, one.timestamp, one.key, False)
    if name == "next":
        found = list(last.values())
    else:
        places = {"new": [1], "validation": [2], "recent": [1, *range(3, NUM_RECENT + 2)]}[name]
        lists = [list(own.values()) for own in firsts.values()]
        found = [own[-place] for own in lists for place in places if len(own) >= place]
    return sorted(found, key=lambda one: (one.timestamp, one.user_id))
