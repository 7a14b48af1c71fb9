"""Orders suggested queries by the chance that one is clicked and leads to a choice.

A logistic model, point by point: a query's score never depends on the others. What it starts from
is a prior by popularity; learning moves the weights away from it as far as the evidence goes (the
most probable weights, with a normal prior around those), so that a shop without a log has a
sensible order and one with a long log its own.

What a ranker is told of a suggested query: the query itself, what was typed, who asks.

Nothing here depends on the other queries of an answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, BoolArray, FloatArray, IntArray
from serendip.errors import ArtefactError
from serendip.search.logistic import RankingRows, fit_ranking
from serendip.search.suggestions.candidates import KINDS
from serendip.search.suggestions.table import QueryTable

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
class SuggestionUser:
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
class SuggestionChoices:
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
    choices: SuggestionChoices,
    asker: SuggestionUser,
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
    table: QueryTable, rows: NDArray[np.intp], choices: SuggestionChoices, asker: SuggestionUser
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


RANKER_FILE = "query-ranker.json"

PRIOR: Mapping[str, float] = {
    "users": 1.0,
    "searches": 0.2,
    "popularity": 1.0,
    "taste": 0.5,
    "last": 0.5,
    "recent": 0.5,
    "history": 0.5,
    "own": 1.0,
    "at the start": 1.0,
    "typed share": 2.0,
    "is title": 3.0,
    "is phrase": -1.0,
}
"""By feature, where nothing was learned; 0 for the others."""

PRIOR_STRENGTH = 3.0
"""Requests of evidence that it takes to move a weight about half of the way."""
_SMALLEST_SPREAD = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class QueryRanker:
    """Weights by feature.

    Args:
        weights: (F,) float64.
        learned_from: number of requests; 0 = the prior.
    """

    weights: NDArray[np.float64]
    learned_from: int = 0

    @classmethod
    def prior(cls) -> QueryRanker:
        """What is sensible before anything was learned."""
        return cls(np.array([PRIOR.get(name, 0.0) for name in FEATURES]))

    @classmethod
    def trained(cls, rows: RankingRows, requests: int, strength: float) -> QueryRanker:
        """The most probable weights, by Newton's method.

        Args:
            rows: of all requests.
            requests: how many there are.
            strength: of the prior, see ``PRIOR_STRENGTH``.
        """
        start = cls.prior().weights
        if not requests:
            return cls(start)
        spread = np.maximum(rows.features.std(0).astype(float), _SMALLEST_SPREAD)
        used = rows.features.std(0) > _SMALLEST_SPREAD
        inputs = np.where(used, rows.features / spread, 0.0)
        inputs = np.column_stack([inputs, np.ones(len(inputs))])
        before = np.append(np.where(used, start * spread, 0.0), 0.0)
        pull = np.append(np.full(len(FEATURES), strength), 1e-6)
        found = fit_ranking(inputs, rows, before, pull)
        return cls(np.where(used, found[:-1] / spread, start), requests)

    def scores(self, features: FloatArray) -> FloatArray:
        """(R,) float32, higher is better."""
        found: FloatArray = (features @ self.weights).astype(np.float32)
        return found

    def save(self, folder: Path) -> None:
        """Write one file into a folder."""
        document = {
            "weights": dict(zip(FEATURES, self.weights.tolist(), strict=True)),
            "learned_from": self.learned_from,
        }
        (folder / RANKER_FILE).write_text(json.dumps(document, indent=1), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> QueryRanker:
        """Read what ``save`` wrote; features that came later count nothing.

        Raises:
            ArtefactError: the file is missing or has features that this code has not.
        """
        try:
            document = json.loads((folder / RANKER_FILE).read_text(encoding="utf-8"))
            weights, requests = document["weights"], int(document["learned_from"])
            if not set(weights) <= set(FEATURES):
                raise ValueError("it has other features")
            return cls(np.array([float(weights.get(name, 0.0)) for name in FEATURES]), requests)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtefactError(
                f"{folder / RANKER_FILE} is not readable: {error}.", "Run `serendip train`."
            ) from None
