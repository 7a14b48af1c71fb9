"""Ranker of query suggestions: pointwise logistic regression for P(click that leads to a choice).

A query's score never depends on the other queries of the answer. The weights start from a prior
based on popularity; training finds the maximum a posteriori weights under a normal prior around
it. So a shop without a log has a sensible order, and one with a long log has its own.

``query_features`` computes the inputs from the query itself, the text typed so far and the user.
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
    "untyped popularity",
    "focus",
    "new categories",
    "taste",
    "last",
    "recent",
    "history",
    "words",
    "at the start",
    "typed share",
    "own",
    "together",
    *(f"is {kind}" for kind in KINDS),
)

_PLACE = {name: column for column, name in enumerate(FEATURES)}
_KIND_PLACES = np.array([_PLACE[f"is {kind}"] for kind in KINDS])


@dataclass(frozen=True, slots=True, eq=False)
class SuggestionUser:
    """User features at request time.

    Args:
        history: (T,) int32 chosen items, oldest first.
        taste: (N,) float32 retriever score of each item, standardised to mean 0 and deviation 1;
            empty = unknown.
        seen: (C,) bool, categories that they have chosen from; empty = unknown.
        searched: normal forms of their searches.
        counted: normal forms of the searches that the table has counted of them and must forget,
            where it is asked what it knew without them; empty otherwise.
    """

    history: IntArray = field(default_factory=lambda: NO_ITEMS)
    taste: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))
    seen: BoolArray = field(default_factory=lambda: np.empty(0, np.bool_))
    searched: frozenset[str] = frozenset()
    counted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class SuggestionChoices:
    """Interaction counts of all users, the same for every request.

    Args:
        of_queries: (Q,) float32 interactions with the items of each query.
        total: interactions with all items.
        num_items: N.
    """

    of_queries: FloatArray
    total: float
    num_items: int

    @classmethod
    def of(cls, table: QueryTable, counts: IntArray) -> Self:
        """Build from interactions (N,) per item."""
        of_queries = table.sums(counts)
        return cls(of_queries, float(counts.sum()), len(counts))


def query_features(
    table: QueryTable,
    rows: NDArray[np.intp],
    choices: SuggestionChoices,
    asker: SuggestionUser,
    typed: str = "",
) -> FloatArray:
    """Features (R, F) float32 of some queries of a table.

    Args:
        table: the queries.
        rows: (R,) rows of it.
        choices: interaction counts of all users.
        asker: the user.
        typed: normal form of the text typed so far.
    """
    features = np.zeros((len(rows), len(FEATURES)), np.float32)
    chosen, items = choices.of_queries[rows], table.num_items[rows]
    values = {
        "users": np.log1p(table.users[rows]),
        "searches": np.log1p(table.searches[rows]),
        "items": np.log1p(items),
        "popularity": np.log1p(chosen + items) - np.log1p(choices.total + choices.num_items),
        "entropy": table.entropy[rows],
        "words": table.num_words[rows],
        **_user_features(table, rows, choices, asker),
        **(_prefix_features(table, rows, typed) if typed else {}),
    }
    if not typed:  # Queries to explore: what is popular counts less than what completes a text.
        values["untyped popularity"] = values["popularity"]
        if len(table.focus):
            values["focus"] = table.focus[rows]
    for name, column in values.items():
        features[:, _PLACE[name]] = column
    features[np.arange(len(rows)), _KIND_PLACES[table.kind_numbers[rows]]] = 1.0
    searched = table.find_rows(asker.searched)
    if len(searched):
        features[np.isin(rows, searched), _PLACE["own"]] = 1.0
        lift = table.co_searches.lift(rows, searched, table.find_rows(asker.counted))
        features[:, _PLACE["together"]] = lift
    return features


def _user_features(
    table: QueryTable, rows: NDArray[np.intp], choices: SuggestionChoices, asker: SuggestionUser
) -> dict[str, FloatArray]:
    """Features of query and user: log lift of the user's items in the query, taste, novelty."""
    features: dict[str, FloatArray] = {}
    item_share = table.num_items[rows] / max(1, choices.num_items)
    choice_share = choices.of_queries[rows] / max(1.0, choices.total)
    for name, items, chance, prior in (
        ("last", asker.history[-1:], item_share, 0.5),
        ("recent", asker.history[-RECENT:], item_share, 0.5),
        ("history", asker.history, choice_share, 2.0),
    ):
        if len(items):
            counts = np.bincount(items, minlength=choices.num_items).astype(np.float32)
            hits = table.sums(counts, rows)
            lift = (hits + prior) / (len(items) * chance + prior)
            features[name] = np.log(lift).astype(np.float32)
    if len(asker.taste):
        results = table.results[rows]
        valid = (results >= 0) & (results < len(asker.taste))
        scores = np.where(valid, asker.taste[np.where(valid, results, 0)], 0.0)
        features["taste"] = (scores.sum(1) / np.maximum(valid.sum(1), 1)).astype(np.float32)
    if asker.seen.any():
        features["new categories"] = new_share(table, rows, asker.seen)
    return features


def new_share(table: QueryTable, rows: NDArray[np.intp], seen: BoolArray) -> FloatArray:
    """(R,) share of a query's results in categories that a user has not chosen from yet."""
    shares = table.shares[rows]
    result: FloatArray = shares[:, ~seen].sum(1) / np.maximum(shares.sum(1), 1e-9)
    return result


def _prefix_features(
    table: QueryTable, rows: NDArray[np.intp], typed: str
) -> dict[str, FloatArray]:
    keys = [table.keys[row] for row in rows.tolist()]
    starts = np.array([key.startswith(typed) for key in keys], np.float32)
    lengths = np.array([max(1, len(key)) for key in keys], np.float32)
    return {"at the start": starts, "typed share": np.float32(len(typed)) / lengths}


RANKER_FILE = "query-ranker.json"

PRIOR: Mapping[str, float] = {
    "users": 1.0,
    "searches": 0.2,
    "popularity": 1.0,
    "untyped popularity": -0.5,
    "focus": 2.0,
    "taste": 0.5,
    "last": 0.5,
    "recent": 0.5,
    "history": 0.5,
    "own": 1.0,
    "together": 1.0,
    "at the start": 1.0,
    "typed share": 2.0,
    "is title": 3.0,
    "is phrase": -1.0,
}
"""Prior weight by feature; 0 for the others."""

FEW_PEOPLE = 100
"""People with searches from which on these say more of what is searched than choices of items do:
the prior weight of ``popularity``, which counts choices, is halved by as many."""

PRIOR_STRENGTH = 3.0
"""Requests of evidence that move a weight about half of the way from its prior."""
_SMALLEST_SPREAD = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class QueryRanker:
    """A linear model with one weight per feature.

    Args:
        weights: (F,) float64.
        learned_from: number of training requests; 0 = the prior.
    """

    weights: NDArray[np.float64]
    learned_from: int = 0

    @classmethod
    def prior(cls, people: int = 0) -> QueryRanker:
        """The prior weights, used before any training.

        Args:
            people: who searched any query of the table.
        """
        weights = np.array([PRIOR.get(name, 0.0) for name in FEATURES])
        weights[_PLACE["popularity"]] *= FEW_PEOPLE / (FEW_PEOPLE + people)
        return cls(weights)

    @classmethod
    def trained(
        cls, rows: RankingRows, requests: int, strength: float, people: int = 0
    ) -> QueryRanker:
        """Fit the maximum a posteriori weights by Newton's method.

        Args:
            rows: training rows of all requests.
            requests: number of requests.
            strength: of the prior, see ``PRIOR_STRENGTH``.
            people: see ``prior``.
        """
        start = cls.prior(people).weights
        if not requests:
            return cls(start)
        spread = np.maximum(rows.features.std(0).astype(float), _SMALLEST_SPREAD)
        used = rows.features.std(0) > _SMALLEST_SPREAD
        inputs = np.where(used, rows.features / spread, 0.0)
        inputs = np.column_stack([inputs, np.ones(len(inputs))])
        before = np.append(np.where(used, start * spread, 0.0), 0.0)
        pull = np.append(np.full(len(FEATURES), strength), 1e-6)
        fitted = fit_ranking(inputs, rows, before, pull)
        return cls(np.where(used, fitted[:-1] / spread, start), requests)

    def scores(self, features: FloatArray) -> FloatArray:
        """(R,) float32, higher is better."""
        scores: FloatArray = (features @ self.weights).astype(np.float32)
        return scores

    def save(self, folder: Path) -> None:
        """Write one file into a folder."""
        document = {
            "weights": dict(zip(FEATURES, self.weights.tolist(), strict=True)),
            "learned_from": self.learned_from,
        }
        (folder / RANKER_FILE).write_text(json.dumps(document, indent=1), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> QueryRanker:
        """Read what ``save`` wrote; features added later get weight 0.

        Raises:
            ArtefactError: the file is missing or has unknown features.
        """
        try:
            document = json.loads((folder / RANKER_FILE).read_text(encoding="utf-8"))
            weights, requests = document["weights"], int(document["learned_from"])
            if not set(weights) <= set(FEATURES):
                raise ValueError("it has unknown features")
            return cls(np.array([float(weights.get(name, 0.0)) for name in FEATURES]), requests)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtefactError(
                f"{folder / RANKER_FILE} is not readable: {error}.", "Run `serendip train`."
            ) from None
