"""Ranker of query suggestions: pointwise logistic regression for P(click that leads to a choice).

A query's score never depends on the other queries of the answer. The weights start from a prior
based on popularity; training finds the maximum a posteriori weights under a normal prior around
it. So a shop without a log has a sensible order, and one with a long log has its own.

``query_features`` computes the inputs from the query itself, the text typed so far and the user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data import NO_ITEMS, Artefact, BoolArray, FloatArray, History, IntArray
from serendip.data.numeric import NewtonSteps, fit_logistic
from serendip.errors import ArtefactError
from serendip.search.suggestions.candidates import KINDS
from serendip.search.suggestions.table import QueryTable

_STEPS = NewtonSteps(count=25, furthest=2.0, largest=30.0)
_SMALLEST_SPREAD, _FREE = 1e-3, 1e-3
_INTERCEPT = "intercept"


@dataclass(frozen=True, slots=True, eq=False)
class RankingRows:
    """What was offered, and what came of it.

    Args:
        features: (R, F) float32.
        success: (R,) float32, 1 where the query was taken and led to a choice.
        weights: (R,) float32.
    """

    features: FloatArray
    success: FloatArray
    weights: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class LogisticModel(Artefact):
    """Log odds that an offered query is taken, linear in its features.

    Args:
        names: of the F features.
        weights: (F + 1,) float64; the last one is the intercept.
        learned_from: number of requests that it learned from; 0 = none, as a prior.
    """

    names: tuple[str, ...]
    weights: NDArray[np.float64]
    learned_from: int = 0

    @classmethod
    def prior(cls, names: tuple[str, ...], weights: Mapping[str, float]) -> Self:
        """A model that has learned nothing; the weights of features that are not given are 0."""
        return cls(names, np.array([weights.get(name, 0.0) for name in (*names, _INTERCEPT)]))

    def fit(self, requests: Sequence[RankingRows], strength: float) -> Self:
        """The weights that maximise likelihood x prior, where the prior is normal around these.

        Its strength is in requests of evidence that move the weight of a standardised feature about
        half of the way. An intercept that was not learned yet is free.
        """
        if not requests:
            return self
        features = np.concatenate([request.features for request in requests])
        success = np.concatenate([request.success for request in requests])
        weights = np.concatenate([request.weights for request in requests])
        spread = np.append(features.std(0).astype(np.float64), 1.0)
        used = spread > _SMALLEST_SPREAD
        scale = np.where(used, spread, 1.0)
        inputs = np.column_stack([features, np.ones(len(features))]) * used / scale
        before = self.weights * used * scale
        pull = np.full(len(before), strength)
        pull[-1] = strength if self.learned_from else _FREE
        start, mean = before.copy(), float(np.average(success, weights=weights))
        start[-1] = np.log(max(mean, 1e-6) / max(1 - mean, 1e-6)) - float((inputs @ start).mean())
        fitted = fit_logistic(
            inputs, success, start, pull, prior=before, weights=weights, steps=_STEPS
        )
        learned = np.where(used, fitted / scale, self.weights)
        return type(self)(self.names, learned, self.learned_from + len(requests))

    def log_odds(self, features: FloatArray) -> FloatArray:
        """(R,) float32 of features (R, F); higher is better."""
        odds: FloatArray = (features @ self.weights[:-1] + self.weights[-1]).astype(np.float32)
        return odds

    def require_names(self, names: tuple[str, ...]) -> Self:
        """Check that it was learned from these features; returns it.

        Raises:
            ArtefactError: it was learned from others.
        """
        if self.names != names:
            other = ", ".join(sorted(set(self.names) ^ set(names))) or "their order"
            raise ArtefactError(f"an order was learned from other features: {other}.", self.repair)
        return self


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

FEW_PEOPLE = 100
"""People with searches from which on these say more of what is searched than choices of items do:
the prior weight of ``popularity``, which counts choices, is halved by as many."""

PRIOR_STRENGTH = 3.0
"""Requests of evidence that move a weight about half of the way from its prior."""


@dataclass(frozen=True, slots=True, eq=False)
class SuggestionUser:
    """Who is suggested queries; by default somebody of whom nothing is known.

    Args:
        user_id: external id; empty for an unknown visitor, for whom nothing is explored.
        past: all their choices, oldest first.
        page: (P,) int32 results of the page that they are on, the best one last: they count as
            chosen last.
        taste: (N,) float32 retriever score of each item, standardised to mean 0 and deviation 1;
            empty = unknown.
        seen: (C,) bool, categories that they have chosen from; empty = unknown.
        searched: normal form of each of their searches -> its text, newest first.
        counted: normal forms of the searches that the table has counted of them and must forget,
            where it is asked what it knew without them; empty otherwise.
        liked: numbers of items that they liked, newest first.
        unwanted: numbers of items that are not recommended to them, nor queries that lead to them.
        hidden: numbers of items that are never shown to them, in search neither.
        failed: normal form of their last search, if it was lately and they have chosen nothing
            since; else empty.
    """

    user_id: str = ""
    past: History = field(default_factory=History)
    page: IntArray = field(default_factory=lambda: NO_ITEMS)
    taste: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))
    seen: BoolArray = field(default_factory=lambda: np.empty(0, np.bool_))
    searched: Mapping[str, str] = field(default_factory=dict)
    counted: frozenset[str] = frozenset()
    liked: Sequence[int] = ()
    unwanted: frozenset[int] = frozenset()
    hidden: frozenset[int] = frozenset()
    failed: str = ""


def query_features(
    table: QueryTable, rows: NDArray[np.intp], user: SuggestionUser, typed: str = ""
) -> FloatArray:
    """Features (R, F) float32 of some queries, rows (R,) of a table.

    The text typed so far is in normal form.
    """
    items, choices = table.num_items[rows], table.choices
    popularity = np.log1p(table.num_choices[rows] + items)
    popularity -= np.log1p(choices.total + len(choices.of_items))
    values = {
        "users": np.log1p(table.users[rows]),
        "searches": np.log1p(table.searches[rows]),
        "items": np.log1p(items),
        "popularity": popularity,
        "entropy": table.entropy[rows],
        "words": table.num_words[rows],
        **_user_features(table, rows, user),
        **(_prefix_features(table, rows, typed) if typed else {}),
    }
    if not typed:  # Queries to explore: what is popular counts less than what completes a text.
        values["untyped popularity"] = popularity
        if len(table.focus):
            values["focus"] = table.focus[rows]
    features = np.zeros((len(rows), len(FEATURES)), np.float32)
    for name, column in values.items():
        features[:, _PLACE[name]] = column
    features[np.arange(len(rows)), _KIND_PLACES[table.kind_numbers[rows]]] = 1.0
    return features


def _user_features(
    table: QueryTable, rows: NDArray[np.intp], user: SuggestionUser
) -> dict[str, FloatArray]:
    """Features of query and user: log lift of the user's items in the query, taste, novelty."""
    features: dict[str, FloatArray] = {}
    item_share = table.num_items[rows] / max(1, len(table.choices.of_items))
    choice_share = table.num_choices[rows] / max(1, table.choices.total)
    history = np.concatenate([user.past.item_nums, user.page])
    for name, items, chance, prior in (
        ("last", history[-1:], item_share, 0.5),
        ("recent", history[-RECENT:], item_share, 0.5),
        ("history", history, choice_share, 2.0),
    ):
        if len(items):
            lift = (table.count(items)[rows] + prior) / (len(items) * chance + prior)
            features[name] = np.log(lift).astype(np.float32)
    if len(user.taste):
        results = table.results[rows]
        valid = (results >= 0) & (results < len(user.taste))
        scores = np.where(valid, user.taste[np.where(valid, results, 0)], 0.0)
        features["taste"] = (scores.sum(1) / np.maximum(valid.sum(1), 1)).astype(np.float32)
    if user.seen.any():
        shares = table.shares[rows]
        new = shares[:, ~user.seen].sum(1) / np.maximum(shares.sum(1), 1e-9)
        features["new categories"] = new
    searched = table.find_rows(user.searched)
    if len(searched):
        features["own"] = np.isin(rows, searched).astype(np.float32)
        counted = table.find_rows(user.counted)
        features["together"] = table.co_searches.lift(rows, searched, counted)
    return features


def _prefix_features(
    table: QueryTable, rows: NDArray[np.intp], typed: str
) -> dict[str, FloatArray]:
    keys = [table.keys[row] for row in rows.tolist()]
    starts = np.array([key.startswith(typed) for key in keys], np.float32)
    lengths = np.array([max(1, len(key)) for key in keys], np.float32)
    return {"at the start": starts, "typed share": np.float32(len(typed)) / lengths}


def prior_ranker(people: int = 0) -> LogisticModel:
    """The ranker before any training, of a table whose queries so many people searched."""
    popularity = PRIOR["popularity"] * FEW_PEOPLE / (FEW_PEOPLE + people)
    return LogisticModel.prior(FEATURES, {**PRIOR, "popularity": popularity})
