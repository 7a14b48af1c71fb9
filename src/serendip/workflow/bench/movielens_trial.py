"""MovieLens asked three ways, in time: what comes next, what is meant by words, what goes along.

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
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.synthetic_queries import write_examples
from serendip.data.arrays import FloatArray
from serendip.data.dataset import Dataset
from serendip.data.query import Query
from serendip.data.splits import Split
from serendip.data.vocabulary import MISSING, Vocabulary
from serendip.errors import DataError
from serendip.workflow.bench.films import read_rated_films
from serendip.workflow.bench.relevance import Relevance
from serendip.workflow.bench.unified_trial import UnifiedTrial
from serendip_bench.query_vectors import texts_of, with_vectors, without_vectors
from serendip_bench.splits import Asked, Trial
from serendip_bench.time_splits import TimedTrial

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
    return texts_of(_unworded(folder))


def movielens_trial(folder: Path, words: FloatArray) -> UnifiedTrial:
    """What is learned from and asked; ``words`` (W, C) are vectors of ``movielens_texts``."""
    return with_vectors(_unworded(folder), words)


def _unworded(folder: Path) -> UnifiedTrial:
    dataset = read_movielens(folder)
    timed = TimedTrial.of(dataset)
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
    trial = Trial(train, timed.numbers, validation["home"], test["home"], nothing_cold)
    return UnifiedTrial(trial, test, validation)


def searches(search: TagQueries, films: Vocabulary) -> Asked:
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
    return Asked(queries, np.array(items, np.int32), relevance)


def _written_requests(split: Split) -> Asked:
    """Other queries than those of training, for all films; what validates search."""
    counts = np.zeros(len(split.catalogue), np.int32)
    counts[: split.train.num_items] = split.train.item_counts()
    written = write_examples(split.catalogue, counts, WRITTEN_FIELDS, 1, NUM_VALIDATED)
    texts, items = _written(written)
    return Asked([Query("search", text=text) for text in texts], np.array(items, np.int32))


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
