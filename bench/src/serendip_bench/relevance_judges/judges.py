"""Relevance judges of the benchmark: rules, cosine and the distilled model.

Each is trained on some pairs (a threshold, a calibration, trees) and predicts others.

Shapes: P pairs, F features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.evaluate.classification import cohen_kappa
from serendip.models.relevance.features import PAIR_FEATURES
from serendip.models.relevance.model import fit_calibration
from serendip.models.relevance.train import (
    LabelledPairs,
    RelevanceModelConfig,
    train_relevance_model,
)
from serendip.runtime.progress import TrainOptions
from serendip_bench.relevance_judges.gold import EXTRA, Gold, GoldPairs, mean_similarity


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Predictions of a judge for P pairs.

    Args:
        scores: (P,) higher = more likely irrelevant.
        probabilities: (P,) P(irrelevant).
        is_filtered: (P,) pairs that the judge would filter.
    """

    scores: FloatArray
    probabilities: FloatArray
    is_filtered: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class UnlabelledPairs:
    """Pairs without their labels.

    Args:
        features: (P, F).
        queries: (P,) numbers.
        items: (P,) numbers.
    """

    features: FloatArray
    queries: IntArray
    items: IntArray

    def where(self, mask: BoolArray) -> UnlabelledPairs:
        """The pairs of a mask (P,)."""
        return UnlabelledPairs(self.features[mask], self.queries[mask], self.items[mask])


Predict: TypeAlias = Callable[[UnlabelledPairs], Predictions]
"""A trained judge."""


class RelevanceJudge(ABC):
    """A way to predict which pairs are irrelevant; ``is_random``: results depend on the seed."""

    name: ClassVar[str]
    is_random: ClassVar[bool] = False

    @abstractmethod
    def train(
        self, gold: Gold, inputs: UnlabelledPairs, pairs: GoldPairs, options: TrainOptions
    ) -> Predict:
        """Train on some of the pairs: ``inputs`` are their features, ``pairs`` their labels."""


class ScoreJudge(RelevanceJudge):
    """Fixed scores; only threshold and calibration are fitted."""

    @abstractmethod
    def scores(self, features: FloatArray) -> FloatArray:
        """(P,) scores of features (P, F); higher = more likely irrelevant."""

    def train(
        self, gold: Gold, inputs: UnlabelledPairs, pairs: GoldPairs, options: TrainOptions
    ) -> Predict:
        """Fit threshold and calibration."""
        is_gold = pairs.fold != EXTRA
        scores, pairs = self.scores(inputs.where(is_gold).features), pairs.where(is_gold)
        threshold, calibration = (
            best_threshold(pairs.is_irrelevant, scores),
            fit_calibration(scores, pairs.is_irrelevant),
        )

        def predict(pairs: UnlabelledPairs) -> Predictions:
            scores = self.scores(pairs.features)
            return Predictions(scores, calibration(scores), scores >= threshold)

        return predict


class RulesJudge(ScoreJudge):
    """Share of the query's words that the item lacks, by IDF; the title counts twice."""

    name = "rules"

    def scores(self, features: FloatArray) -> FloatArray:
        """Minus the share of the query's words in the item, and that of its title."""
        shares: FloatArray = features[:, _columns("words: in text", "words: in both")].sum(1)
        return -shares


class CosineJudge(ScoreJudge):
    """Mean cosine of the query with title, body and passages of the item.

    Of centred vectors: without the means of all queries and of all items.
    """

    name = "cosine"

    def scores(self, features: FloatArray) -> FloatArray:
        """Minus the mean cosine."""
        return -mean_similarity(features)


class DistilledJudge(RelevanceJudge):
    """The distilled relevance model: boosted trees on all features and the query projection."""

    name = "student"
    is_random = True

    def __init__(self, config: RelevanceModelConfig | None = None) -> None:
        self.config = config or RelevanceModelConfig()

    def train(
        self, gold: Gold, inputs: UnlabelledPairs, pairs: GoldPairs, options: TrainOptions
    ) -> Predict:
        """Train on all pairs; threshold and calibration by held-out predictions."""
        examples = to_examples(inputs, pairs)
        texts = gold.queries, gold.items
        trained = train_relevance_model(
            self.config, gold.pair_features, texts, examples, options.seed
        )
        threshold = best_threshold(pairs.is_irrelevant[trained.is_held_out], trained.probabilities)
        projection, trees = trained.model.projection, trained.model.trees

        def predict(pairs: UnlabelledPairs) -> Predictions:
            projected = projection.compute(gold.queries, pairs.queries, pairs.items)
            probabilities = trees.probabilities(np.hstack([pairs.features, projected]))
            return Predictions(probabilities, probabilities, probabilities >= threshold)

        return predict


def to_examples(inputs: UnlabelledPairs, pairs: GoldPairs) -> LabelledPairs:
    """Training examples of pairs with their labels."""
    is_gold = pairs.fold != EXTRA
    columns = inputs.queries, inputs.items, pairs.is_irrelevant, pairs.groups
    return LabelledPairs(*columns, is_gold, inputs.features)


def _columns(*names: str) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.array([PAIR_FEATURES.index(name) for name in names], np.intp)


def best_threshold(is_irrelevant: BoolArray, scores: FloatArray) -> float:
    """The threshold of the scores that agrees best with people (Cohen's kappa).

    The highest of several equally good ones; one that filters nothing if no threshold beats chance
    agreement. Choose it on pairs that are not used for evaluation.
    """
    thresholds = np.unique(np.quantile(scores, np.linspace(0, 1, 201)))
    kappas = [cohen_kappa(is_irrelevant, scores >= threshold) for threshold in thresholds]
    best = max(kappas)
    if best <= 0:
        return float(np.nextafter(np.float32(thresholds[-1]), np.float32(np.inf)))
    return float(
        max(threshold for threshold, kappa in zip(thresholds, kappas, strict=True) if kappa == best)
    )
