"""The rungs of the ladder: who says how bad a pair is, from rules up to the student.

Each learns from some pairs what it can (a cut, a curve, trees) and is asked about others.

Shapes: P pairs, F features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.errors import ConfigError
from serendip.evaluate.binary import best_cut
from serendip.models.chance_curve import fitted_curve
from serendip.models.learned_likeness import (
    LearnedLikeness,
    LearnedLikenessConfig,
    learned_apart,
)
from serendip.models.pair_features import PAIR_FEATURES
from serendip.models.student_training import StudentConfig, train_student
from serendip.workflow.judge.gold import EXTRA, Gold, GoldPairs


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a judge says of P pairs.

    Args:
        scores: (P,) higher = worse.
        chances: (P,) that the pair is bad.
        decided: (P,) what it would filter.
    """

    scores: FloatArray
    chances: FloatArray
    decided: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Pairs without their labels.

    Args:
        features: (P, F) cheap features.
        queries: (P,) numbers.
        items: (P,) numbers.
    """

    features: FloatArray
    queries: IntArray
    items: IntArray

    def where(self, mask: BoolArray) -> Asked:
        """Some of the pairs (P,)."""
        return Asked(self.features[mask], self.queries[mask], self.items[mask])


Judge: TypeAlias = Callable[[Asked], Answers]
"""What it says of pairs."""


class Rung(ABC):
    """One way to judge."""

    name: ClassVar[str]
    uses_chance: ClassVar[bool] = False
    needs_trees: ClassVar[bool] = False

    @abstractmethod
    def taught(self, gold: Gold, asked: Asked, pairs: GoldPairs, seed: int) -> Judge:
        """A judge that has learned from some of the gold's pairs, which are asked and labelled."""


class Untrained(Rung):
    """Scores that are there already; only the cut and the curve are learned."""

    @abstractmethod
    def scores(self, features: FloatArray) -> FloatArray:
        """(P,) of features (P, F); higher = worse."""

    def taught(self, gold: Gold, asked: Asked, pairs: GoldPairs, seed: int) -> Judge:
        """The cut and the curve that fit the pairs best."""
        is_gold = pairs.fold != EXTRA
        known, pairs = self.scores(asked.where(is_gold).features), pairs.where(is_gold)
        cut, curve = best_cut(pairs.is_bad, known), fitted_curve(known, pairs.is_bad)

        def judge(asked: Asked) -> Answers:
            scores = self.scores(asked.features)
            return Answers(scores, curve(scores), scores >= cut)

        return judge


class Rules(Untrained):
    """Bad where words of the query are missing in the item: rare ones count more, titles twice."""

    name = "rules"

    def scores(self, features: FloatArray) -> FloatArray:
        """Minus the share of the query's words in the item, and that of its title."""
        shares: FloatArray = features[:, _places("words: in text", "words: of both")].sum(1)
        return -shares


class Cosine(Untrained):
    """Far apart is bad: the mean cosine of the query with title, body and passages of the item.

    What all queries and all items have in common is taken away before, which only helps.
    """

    name = "cosine"

    def scores(self, features: FloatArray) -> FloatArray:
        """Minus the mean cosine."""
        return -likeness(features)


def likeness(features: FloatArray) -> FloatArray:
    """(P,) mean cosine of query and item over the views of the item."""
    means: FloatArray = features[:, _places(*_LIKENESSES)].mean(1)
    return means


class TaughtStudent(Rung):
    """Boosted trees on all features and on learned likenesses, taught by labels."""

    name = "student"
    uses_chance = needs_trees = True

    def __init__(
        self,
        config: StudentConfig | None = None,
        likeness: LearnedLikenessConfig | None = None,
    ) -> None:
        self.config = config or StudentConfig()
        self.likeness = likeness or LearnedLikenessConfig()

    def taught(self, gold: Gold, asked: Asked, pairs: GoldPairs, seed: int) -> Judge:
        """Trees of all pairs; cut and curve by pairs that trees of the others had not seen."""
        numbers = asked.queries, asked.items
        learned = learned_apart(
            self.likeness, gold.crowd, gold.queries, numbers, pairs.is_bad, pairs.units, seed
        )
        features = np.hstack([asked.features, learned])
        taught = train_student(
            features, pairs.is_bad, pairs.units, self.config, seed, pairs.fold != EXTRA
        )
        cut = best_cut(pairs.is_bad[taught.held], taught.chances)
        good = asked.queries[~pairs.is_bad], asked.items[~pairs.is_bad]
        moved = LearnedLikeness.fit(self.likeness, gold.crowd, gold.queries, good, seed)

        def judge(asked: Asked) -> Answers:
            found = moved.of(gold.queries, asked.queries, asked.items)
            chances = taught.student.chances(np.hstack([asked.features, found]))
            return Answers(chances, chances, chances >= cut)

        return judge


_LIKENESSES = tuple(name for name in PAIR_FEATURES if name.endswith(": likeness"))

RUNGS: dict[str, Rung] = {rung.name: rung for rung in (Rules(), Cosine(), TaughtStudent())}
"""Name -> rung, in the order of the ladder."""


def chosen_rungs(names: str | None) -> list[Rung]:
    """Rungs by comma-separated names; all of them for None.

    Raises:
        ConfigError: a name is not known.
    """
    asked = list(RUNGS) if names is None else [name.strip() for name in names.split(",")]
    for name in asked:
        if name not in RUNGS:
            raise ConfigError(f"no judge is called {name!r}.", f"Known: {', '.join(RUNGS)}.")
    return [rung for name, rung in RUNGS.items() if name in asked]


def _places(*names: str) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.array([PAIR_FEATURES.index(name) for name in names], np.intp)
