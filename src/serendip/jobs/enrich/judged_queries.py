"""Queries that texts may be written from, and queries that they are judged by; never the same.

The log is cut where the report first cuts it. What was typed before, by two people at least, may
find its way into a text; what was typed after, and never before, judges. So neither the gate nor
the report meets a query again that a text was written from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serendip.data.dataset import Dataset
from serendip.data.files.tables import open_table
from serendip.data.privacy import count_people, private_keys
from serendip.data.search_log import SUGGESTED, LoggedRequest
from serendip.data.text import normalise
from serendip.data.vocabulary import MISSING, Vocabulary
from serendip.errors import DataError

GAINS: Mapping[str, float] = {"E": 1.0, "S": 0.1, "C": 0.01, "I": 0.0}


FEWEST_USERS = 2
"""People who must have typed a query before any text is made of it; see ``data.privacy``."""

_GAINS: Mapping[str, float] = {**GAINS, "good": 1.0, "bad": 0.0}
_COLUMNS = ("query", "item_id", "label")


@dataclass(frozen=True, slots=True, eq=False)
class JudgedQueries:
    """What texts are judged by.

    Args:
        texts: Q different queries.
        gains: per query item number -> gain, one of them above 0.
    """

    texts: Sequence[str]
    gains: Sequence[Mapping[int, float]]

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def of(cls, gains: Mapping[str, Mapping[int, float]]) -> JudgedQueries:
        """Queries with something to find."""
        kept = {text: found for text, found in gains.items() if max(found.values(), default=0) > 0}
        return cls(list(kept), list(kept.values()))

    def rows(self, numbers: Sequence[int]) -> JudgedQueries:
        """Some of the queries."""
        return JudgedQueries(
            [self.texts[one] for one in numbers], [self.gains[one] for one in numbers]
        )


def cut_time(dataset: Dataset, fraction: float) -> float:
    """Unix seconds at which a share of the events has happened."""
    times = dataset.events.timestamps
    return float(times[int(fraction * len(times))]) if len(times) else 0.0


def training_queries(dataset: Dataset, cut: float) -> dict[int, list[str]]:
    """Item number -> different queries, normalised, that led enough people to it before ``cut``.

    None of which any spelling is private.
    """
    users: dict[str, set[str]] = {}
    found: dict[int, dict[str, None]] = {}
    for one in _searches(dataset):
        if one.ended < cut:
            users.setdefault(normalise(one.text), set()).add(one.user_id)
            for number in one.chosen.tolist():
                found.setdefault(number, {})[normalise(one.text)] = None
    shared = {text for text, ids in users.items() if len(count_people(ids)) >= FEWEST_USERS}
    shared -= private_keys(one.text for one in dataset.requests)
    kept = {item: [text for text in texts if text in shared] for item, texts in found.items()}
    return {item: texts for item, texts in kept.items() if texts}


def held_out_queries(dataset: Dataset, cut: float) -> JudgedQueries:
    """Queries that were typed since ``cut`` and never before, with what was chosen after them."""
    known = typed_before(dataset, cut)
    gains: dict[str, dict[int, float]] = {}
    for one in _searches(dataset):
        if one.timestamp >= cut and normalise(one.text) not in known:
            gains.setdefault(normalise(one.text), {}).update(
                dict.fromkeys(one.chosen.tolist(), 1.0)
            )
    return JudgedQueries.of(gains)


def typed_before(dataset: Dataset, cut: float) -> set[str]:
    """Everything that was typed before ``cut``, normalised."""
    return {normalise(one.text) for one in _searches(dataset) if one.timestamp < cut}


def read_judged(path: Path, vocabulary: Vocabulary, unless: set[str]) -> JudgedQueries:
    """Queries of a file with the columns ``query``, ``item_id`` and ``label``.

    Args:
        path: of the file; labels are E, S, C, I or good, bad.
        vocabulary: the items; rows with others are left out.
        unless: normalised queries that are left out.

    Raises:
        DataError: the file is missing or broken, or a label is unknown.
    """
    table = open_table(path)
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}.", f"It has {list(table.columns)}.")
    gains: dict[str, dict[int, float]] = {}
    for query, item, label in table.rows(_COLUMNS):
        if label not in _GAINS:
            raise DataError(f"{path} has the label {label!r}.", f"Known: {', '.join(_GAINS)}.")
        number = int(vocabulary.numbers([str(item)])[0])
        if number != MISSING and normalise(str(query)) not in unless:
            gains.setdefault(str(query), {})[number] = _GAINS[str(label)]
    return JudgedQueries.of(gains)


def _searches(dataset: Dataset) -> list[LoggedRequest]:
    """Those that led to something; letters after which a suggested title was taken are none."""
    return [
        one
        for one in dataset.requests
        if one.text.strip() and len(one.chosen) and one.surface != SUGGESTED
    ]
