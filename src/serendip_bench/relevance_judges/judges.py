"""The rungs of the ladder: who says how bad a pair is, from rules up to the student.

Each learns from some pairs what it can (a threshold, a curve, trees) and is asked about others.

Shapes: P pairs, F features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.evaluate.classification import best_threshold
from serendip.models.relevance.features import PAIR_FEATURES
from serendip.models.relevance.model import fit_calibration
from serendip.models.relevance.train import (
    LabelledPairs,
    RelevanceModelConfig,
    train_relevance_model,
)
from serendip.runtime.progress import TrainOptions
from serendip_bench.relevance_judges.gold import EXTRA, Gold, GoldPairs, likeness


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a judge says of P pairs.

    Args:
        scores: (P,) higher = worse.
        probabilities: (P,) that the pair is bad.
        decided: (P,) what it would filter.
    """

    scores: FloatArray
    probabilities: FloatArray
    decided: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class JudgeQueries:
    """Pairs without their labels.

    Args:
        features: (P, F) what is known of them: cheap features, unless a rung looks closer.
        queries: (P,) numbers.
        items: (P,) numbers.
        states: P times what a transformer makes of the pair, (tokens, C); empty where no rung
            reads them.
    """

    features: FloatArray
    queries: IntArray
    items: IntArray
    states: Sequence[NDArray[np.float16]] = ()

    def where(self, mask: BoolArray) -> JudgeQueries:
        """Some of the pairs (P,)."""
        columns = self.features[mask], self.queries[mask], self.items[mask]
        return JudgeQueries(*columns, list(compress(self.states, mask)))


Judge: TypeAlias = Callable[[JudgeQueries], Answers]
"""What it says of pairs."""


class RelevanceJudge(ABC):
    """One way to judge.

    ``filters`` says whether it is quick enough to stand in a request. Of a slow one ``most_judged``
    and ``most_learned`` say how many pairs at most it is judged on, and how many it learns from
    that nothing is judged on: a sample; and it is taught ``most_seeds`` times at most.
    """

    name: ClassVar[str]
    uses_chance: ClassVar[bool] = False
    filters: ClassVar[bool] = True
    most_seeds: ClassVar[int | None] = None
    most_judged: ClassVar[int | None] = None
    most_learned: ClassVar[int | None] = None

    def looked_at(self, gold: Gold, asked: JudgeQueries, options: TrainOptions) -> JudgeQueries:
        """The pairs with what this rung goes by, found once for all folds; no label is read."""
        return asked

    @abstractmethod
    def taught(
        self, gold: Gold, asked: JudgeQueries, pairs: GoldPairs, options: TrainOptions
    ) -> Judge:
        """A judge that has learned from some of the gold's pairs, which are asked and labelled."""


class Untrained(RelevanceJudge):
    """Scores that are there already; only the threshold and the curve are learned."""

    @abstractmethod
    def scores(self, features: FloatArray) -> FloatArray:
        """(P,) of features (P, F); higher = worse."""

    def taught(
        self, gold: Gold, asked: JudgeQueries, pairs: GoldPairs, options: TrainOptions
    ) -> Judge:
        """The threshold and the curve that fit the pairs best."""
        is_gold = pairs.fold != EXTRA
        known, pairs = self.scores(asked.where(is_gold).features), pairs.where(is_gold)
        threshold, curve = best_threshold(pairs.is_bad, known), fit_calibration(known, pairs.is_bad)

        def judge(asked: JudgeQueries) -> Answers:
            scores = self.scores(asked.features)
            return Answers(scores, curve(scores), scores >= threshold)

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


class DistilledJudge(RelevanceJudge):
    """Boosted trees on all features and on learned likenesses, taught by labels."""

    name = "student"
    uses_chance = True

    def __init__(self, config: RelevanceModelConfig | None = None) -> None:
        self.config = config or RelevanceModelConfig()

    def taught(
        self, gold: Gold, asked: JudgeQueries, pairs: GoldPairs, options: TrainOptions
    ) -> Judge:
        """Trees of all pairs; threshold and curve by out-of-fold predictions."""
        lessons = lessons_of(asked, pairs)
        texts = gold.queries, gold.items
        taught = train_relevance_model(self.config, gold.crowd, texts, lessons, options.seed)
        threshold = best_threshold(pairs.is_bad[taught.held], taught.probabilities)
        likeness, student = taught.judge.likeness, taught.judge.student

        def judge(asked: JudgeQueries) -> Answers:
            learned = likeness.of(gold.queries, asked.queries, asked.items)
            probabilities = student.probabilities(np.hstack([asked.features, learned]))
            return Answers(probabilities, probabilities, probabilities >= threshold)

        return judge


def lessons_of(asked: JudgeQueries, pairs: GoldPairs) -> LabelledPairs:
    """What can be learned from pairs that are asked and labelled."""
    is_gold = pairs.fold != EXTRA
    columns = asked.queries, asked.items, pairs.is_bad, pairs.units
    return LabelledPairs(*columns, is_gold, asked.features)


def _places(*names: str) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.array([PAIR_FEATURES.index(name) for name in names], np.intp)
