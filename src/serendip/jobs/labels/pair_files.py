"""Files of query-item pairs, with or without labels, and of lists of a surface to be labelled.

A list has the request that it answers, in words and in ids. The list of a feed or an e-mail answers
no typed text: what may be irrelevant is an item to a person. Its request is put in words, a few
things that the person chose before and where they are, and these words stand in the column
``query`` of all files of labels. So people and an LLM label lists as they label results of a
search, with the same commands, gate and agreement. What the relevance model reads, the ids of the
chosen items and the attributes, is in the file of lists alone.

The words name no user, no time and no typed text but the one of the request; see ``draw_lists.py``
for what they leave out.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from serendip.data import Vocabulary
from serendip.data.text import normalise
from serendip.data.vocabulary import MISSING
from serendip.errors import DataError
from serendip.files.tables import open_table
from serendip.runtime.atomic_files import write_text

Pair: TypeAlias = tuple[str, str]
"""Query and item id."""

GAINS: Mapping[str, float] = {"E": 1.0, "S": 0.1, "C": 0.01, "I": 0.0, "good": 1.0, "bad": 0.0}
"""Label -> gain of the item for the query; E, S, C and I are the labels exact, substitute,
complement and irrelevant of the Shopping Queries Dataset (Reddy et al. 2022)."""

_PAIR = ("query", "item_id")


def read_pairs(path: Path) -> list[Pair]:
    """Different pairs of a file with the columns ``query`` and ``item_id``, in its order.

    Raises:
        DataError: the file is missing or damaged, or lacks a column.
    """
    return list(dict.fromkeys((row[0], row[1]) for row in read_rows(path, _PAIR)))


def read_labels(path: Path) -> dict[Pair, bool]:
    """Pair -> whether it is irrelevant; see ``read_gains``.

    Raises:
        DataError: as above, or a pair has two labels.
    """
    return {pair: gain == 0 for pair, gain in read_gains(path).items()}


def read_gains(path: Path) -> dict[Pair, float]:
    """Pair -> gain, of a file that also has the column ``label``.

    Rows without a label are left out, so that a person may fill in a file of pairs in part.

    Raises:
        DataError: as above, a label is unknown, or a pair is both relevant and irrelevant.
    """
    gains: dict[Pair, float] = {}
    for query, item, label in read_rows(path, (*_PAIR, "label")):
        if not label.strip():
            continue
        if label not in GAINS:
            raise DataError(f"{path} has the label {label!r}.", f"Known: {', '.join(GAINS)}.")
        gain = GAINS[label]
        if bool(gains.setdefault((query, item), gain)) != bool(gain):
            raise DataError(
                f"{path} labels item {item!r} both relevant and irrelevant for {query!r}.",
                "Keep one label.",
            )
        gains[query, item] = gain
    return gains


def has_model_labels(path: Path) -> bool:
    """Whether a file names a model for any of its labels."""
    table = open_table(path)
    return "model" in table.columns and any(row[0] for row in table.rows(("model",)))


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file that appears whole or not at all.

    Raises:
        StorageError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_rows(path: Path, columns: Sequence[str], hint: str = "") -> list[tuple[str, ...]]:
    """The columns of a file of pairs.

    Raises:
        DataError: the file is missing, damaged or empty, or lacks a column.
    """
    table = open_table(path)
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]!r}.", hint or f"It has {list(table.columns)}."
        )
    rows = list(table.rows(columns))
    if table.broken:
        place, reason = table.broken[0]
        raise DataError(f"{path}, {place}: {reason}.", "Mend the row.")
    if not rows:
        raise DataError(f"{path} has no pairs.")
    return rows


COLUMNS = ("query", "item_id", "surface", "text", "past", "attributes")
_WRITE_LISTS = "Write the file with `serendip judge lists`."

MAX_TITLE_LENGTH = 50
"""Characters of a title in the words of a request; longer titles are cut."""


@dataclass(frozen=True, slots=True)
class ListRequest:
    """The request of a list.

    Args:
        query: the request in words, by which labels name it.
        text: as typed; empty for a surface that answers no text.
        past: ids of items that the user chose before, the newest last.
        attributes: of the user, with the country under ``country``.
    """

    query: str
    text: str = ""
    past: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_text(cls, text: str) -> ListRequest:
        """The request of a typed text by an unknown visitor."""
        return cls(text, text)

    @property
    def group(self) -> str:
        """What requests share that tell the same: the typed text, else all of it."""
        return normalise(self.text or self.query)


@dataclass(frozen=True, slots=True)
class ShownLists:
    """The lists of one surface.

    Args:
        places: pair -> place of the item in the list, from 0.
    """

    surface: str
    requests: Mapping[str, ListRequest]
    places: Mapping[Pair, int]


def describe_request(text: str, titles: Sequence[str], attributes: Mapping[str, str]) -> str:
    """Put a request in words; titles are those of chosen items, the newest first."""
    shown = [f'"{_cut(title)}"' for title in titles]
    who = f"somebody who chose {'; '.join(shown)}" if shown else "somebody"
    facts = ", ".join(f"{name}: {value}" for name, value in sorted(attributes.items()))
    words = f"{who} ({facts})" if facts else who
    return f'"{text}", typed by {words}' if text else words[:1].upper() + words[1:]


def _cut(title: str) -> str:
    plain = " ".join(title.split())
    return plain if len(plain) <= MAX_TITLE_LENGTH else f"{plain[: MAX_TITLE_LENGTH - 1]}…"


def write_lists(
    path: Path,
    surface: str,
    lists: Iterable[tuple[ListRequest, Sequence[str]]],
    titles: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write lists (request, item ids in order) as one row per item.

    The titles, and the empty column of labels, are for people who fill it in.

    Raises:
        StorageError: the file cannot be written.
    """
    rows = (
        (
            request.query,
            item,
            surface,
            request.text,
            json.dumps(request.past, ensure_ascii=False),
            json.dumps(dict(request.attributes), ensure_ascii=False),
            titles.get(item, ""),
            "",
        )
        for request, items in lists
        for item in items
    )
    write_rows(path, (*COLUMNS, "title", "label"), rows)


def is_lists_file(path: Path) -> bool:
    """Whether a file of pairs holds lists."""
    return set(COLUMNS) <= set(open_table(path).columns)


def read_lists(path: Path) -> ShownLists:
    """Read what ``write_lists`` wrote.

    Raises:
        DataError: the file is missing or damaged, or has lists of several surfaces.
    """
    requests: dict[str, ListRequest] = {}
    places: dict[Pair, int] = {}
    lengths: dict[str, int] = {}
    surfaces: set[str] = set()
    for query, item, surface, text, past, attributes in read_rows(path, COLUMNS, _WRITE_LISTS):
        surfaces.add(surface)
        if query not in requests:
            requests[query] = _read_request(path, query, text, past, attributes)
        places.setdefault((query, item), lengths.get(query, 0))
        lengths[query] = lengths.get(query, 0) + 1
    if len(surfaces) != 1:
        raise DataError(
            f"{path} has lists of {len(surfaces)} surfaces.", "Give lists of one surface."
        )
    return ShownLists(surfaces.pop(), requests, places)


def _read_request(path: Path, query: str, text: str, past: str, attributes: str) -> ListRequest:
    try:
        items, facts = json.loads(past), json.loads(attributes)
        return ListRequest(
            query,
            text,
            tuple(str(item) for item in items),
            {str(name): str(value) for name, value in facts.items()},
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: the past or the attributes of {query[:60]!r} cannot be read: {error}.",
            _WRITE_LISTS,
        ) from None


JudgedQueries: TypeAlias = Mapping[str, Mapping[int, float]]
"""Query -> item number -> gain; at least one gain of a query is above 0."""


def with_gain(gains: JudgedQueries) -> JudgedQueries:
    """The queries that have a gain above 0."""
    return {text: by_item for text, by_item in gains.items() if max(by_item.values(), default=0)}


def read_judged_queries(path: Path, vocabulary: Vocabulary) -> dict[str, dict[int, float]]:
    """Query -> item number -> gain of a file of labels; rows of other items are left out.

    Raises:
        DataError: the file is missing or broken, or a label is unknown.
    """
    gains: dict[str, dict[int, float]] = {}
    for (query, item), gain in read_gains(path).items():
        number = vocabulary.number(item)
        if number != MISSING:
            gains.setdefault(query, {})[number] = gain
    return gains
