"""What a ranker is told of a suggested query: the query itself, what was typed, who asks.

Nothing here depends on the other queries of an answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, BoolArray, FloatArray, IntArray
from serendip.search.query_candidates import KINDS
from serendip.search.query_table import QueryTable

RECENT = 20

FEATURES = (
    "users",
    "searches",
    "items",
    "popularity",
    "entropy",
    "new categories",
    "taste",
    "last",
    "recent",
    "history",
    "words",
    "at the start",
    "typed share",
    "own",
    *(f"is {kind}" for kind in KINDS),
)

_PLACE = {name: column for column, name in enumerate(FEATURES)}
_KIND_PLACES = np.array([_PLACE[f"is {kind}"] for kind in KINDS])


@dataclass(frozen=True, slots=True, eq=False)
class Asker:
    """Who asks, as of the moment of asking.

    Args:
        history: (T,) int32 items that they chose, oldest first.
        taste: (N,) float32 how much each item suits them, mean 0 and deviation 1; empty = nobody
            knows.
        seen: (C,) bool, categories that they have chosen from; empty = nobody knows.
        searched: normal forms of what they searched.
    """

    history: IntArray = field(default_factory=lambda: NO_ITEMS)
    taste: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))
    seen: BoolArray = field(default_factory=lambda: np.empty(0, np.bool_))
    searched: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """What all people have chosen, by query and by item; the same for every request.

    Args:
        of_queries: (Q,) float32 choices of the items of each query.
        total: choices of all items.
        num_items: N.
    """

    of_queries: FloatArray
    total: float
    num_items: int

    @classmethod
    def of(cls, table: QueryTable, counts: IntArray) -> Self:
        """From the interactions (N,) per item."""
        of_queries = table.sums(counts.astype(np.float32))
        return cls(of_queries, float(counts.sum()), len(counts))


def query_features(
    table: QueryTable,
    rows: NDArray[np.intp],
    choices: Choices,
    asker: Asker,
    typed: str = "",
) -> FloatArray:
    """(R, F) float32 of some queries of a table.

    Args:
        table: the queries.
        rows: (R,) of it.
        choices: of all people.
        asker: who asks.
        typed: normal form of what was typed so far.
    """
    features = np.zeros((len(rows), len(FEATURES)), np.float32)
    chosen = choices.of_queries[rows]
    values = {
        "users": np.log1p(table.users[rows]),
        "searches": np.log1p(table.searches[rows]),
        "items": np.log1p(table.num_items[rows]),
        "popularity": np.log1p(chosen) - np.log1p(choices.total),
        "entropy": table.entropy[rows],
        "words": table.num_words[rows],
        **_of_asker(table, rows, choices, asker),
        **(_of_typed(table, rows, typed) if typed else {}),
    }
    for name, column in values.items():
        features[:, _PLACE[name]] = column
    features[np.arange(len(rows)), _KIND_PLACES[table.kind_numbers[rows]]] = 1.0
    own = [table.rows_by_key[key] for key in asker.searched if key in table.rows_by_key]
    if own:
        features[np.isin(rows, own), _PLACE["own"]] = 1.0
    return features


def _of_asker(
    table: QueryTable, rows: NDArray[np.intp], choices: Choices, asker: Asker
) -> dict[str, FloatArray]:
    """How far what the query finds is what they choose, against what would be chance."""
    found: dict[str, FloatArray] = {}
    item_share = table.num_items[rows] / max(1, choices.num_items)
    choice_share = choices.of_queries[rows] / max(1.0, choices.total)
    for name, items, chance, prior in (
        ("last", asker.history[-1:], item_share, 0.5),
        ("recent", asker.history[-RECENT:], item_share, 0.5),
        ("history", asker.history, choice_share, 2.0),
    ):
        if len(items):
            own = np.bincount(items, minlength=choices.num_items).astype(np.float32)
            met = table.sums(own, rows)
            found[name] = np.log((met + prior) / (len(items) * chance + prior)).astype(np.float32)
    if len(asker.taste):
        results = table.results[rows]
        known = (results >= 0) & (results < len(asker.taste))
        fits = np.where(known, asker.taste[np.where(known, results, 0)], 0.0)
        found["taste"] = (fits.sum(1) / np.maximum(known.sum(1), 1)).astype(np.float32)
    if asker.seen.any():
        found["new categories"] = new_share(table, rows, asker.seen)
    return found


def new_share(table: QueryTable, rows: NDArray[np.intp], seen: BoolArray) -> FloatArray:
    """(R,) share of the categories of a query's results that a user has not chosen from yet."""
    shares = table.shares[rows]
    found: FloatArray = shares[:, ~seen].sum(1) / np.maximum(shares.sum(1), 1e-9)
    return found


def _of_typed(table: QueryTable, rows: NDArray[np.intp], typed: str) -> dict[str, FloatArray]:
    keys = [table.keys[row] for row in rows.tolist()]
    starts = np.array([key.startswith(typed) for key in keys], np.float32)
    lengths = np.array([max(1, len(key)) for key in keys], np.float32)
    return {"at the start": starts, "typed share": np.float32(len(typed)) / lengths}
