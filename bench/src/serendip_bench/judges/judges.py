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

from serendip.data.arrays import BoolArray, FloatArray
from serendip.errors import ConfigError
from serendip.evaluate.classification import cohen_kappa
from serendip.models.relevance.features import PAIR_FEATURES
from serendip.models.relevance.model import fit_calibration
from serendip.models.relevance.train import (
    LabelledPairs,
    train_relevance_model,
)
from serendip_bench.judges.gold import EXTRA, Gold, GoldPairs, mean_similarity


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


Predict: TypeAlias = Callable[[GoldPairs], Predictions]
"""A trained judge; it reads no labels."""


class RelevanceJudge(ABC):
    """A way to predict which pairs are irrelevant; ``is_random``: results depend on the seed."""

    name: ClassVar[str]
    is_random: ClassVar[bool] = False

    @abstractmethod
    def train(self, gold: Gold, pairs: GoldPairs, seed: int) -> Predict:
        """Train on some of the pairs, which have features."""


class ScoreJudge(RelevanceJudge):
    """Fixed scores; only threshold and calibration are fitted."""

    @abstractmethod
    def scores(self, features: FloatArray) -> FloatArray:
        """(P,) scores of features (P, F); higher = more likely irrelevant."""

    def train(self, gold: Gold, pairs: GoldPairs, seed: int) -> Predict:
        """Fit threshold and calibration."""
        pairs = pairs.where(pairs.fold != EXTRA)
        scores = self.scores(_features(pairs))
        threshold = best_threshold(pairs.is_irrelevant, scores)
        calibration = fit_calibration(scores, pairs.is_irrelevant)

        def predict(pairs: GoldPairs) -> Predictions:
            scores = self.scores(_features(pairs))
            return Predictions(scores, calibration(scores), scores >= threshold)

        return predict


class RulesJudge(ScoreJudge):
    """Share of the query's words that the item lacks, by IDF; the title counts twice."""

    name = "rules"

    def scores(self, features: FloatArray) -> FloatArray:
        """Minus the share of the query's words in the item, and that of its title."""
        columns = [PAIR_FEATURES.index(name) for name in ("words: in text", "words: in both")]
        shares: FloatArray = features[:, columns].sum(1)
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

    def train(self, gold: Gold, pairs: GoldPairs, seed: int) -> Predict:
        """Train on all pairs; threshold and calibration by held-out predictions."""
        labels, is_typical = pairs.is_irrelevant, pairs.fold != EXTRA
        columns = pairs.queries, pairs.items, labels, pairs.groups, is_typical
        examples = LabelledPairs(*columns, _features(pairs))
        texts = gold.queries, gold.items
        trained = train_relevance_model(gold.pair_features, texts, examples, seed)
        threshold = best_threshold(labels[trained.is_held_out], trained.probabilities)
        projection, trees = trained.model.learned.projection, trained.model.learned.trees

        def predict(pairs: GoldPairs) -> Predictions:
            numbers = pairs.queries, pairs.items
            projected = projection.compute(gold.pair_features, gold.queries, *numbers)
            probabilities = trees.probabilities(np.hstack([_features(pairs), projected]))
            return Predictions(probabilities, probabilities, probabilities >= threshold)

        return predict


def _features(pairs: GoldPairs) -> FloatArray:
    assert pairs.features is not None
    return pairs.features


def best_threshold(is_irrelevant: BoolArray, scores: FloatArray) -> float:
    """The threshold of the scores that agrees best with people (Cohen's kappa).

    The highest of several equally good ones; one that filters nothing if no threshold beats chance
    agreement. Choose it on pairs that are not used for evaluation.
    """
    thresholds = np.unique(np.quantile(scores, np.linspace(0, 1, 201)))
    kappas = np.array([cohen_kappa(is_irrelevant, scores >= at) for at in thresholds])
    if kappas.max() <= 0:
        return float(np.nextafter(np.float32(thresholds[-1]), np.float32(np.inf)))
    return float(thresholds[kappas == kappas.max()].max())


JUDGES: dict[str, RelevanceJudge] = {
    judge.name: judge for judge in (RulesJudge(), CosineJudge(), DistilledJudge())
}


def select_judges(names: str | None) -> list[RelevanceJudge]:
    """Judges by comma-separated names; None = all.

    Raises:
        ConfigError: a name is unknown.
    """
    selected = list(JUDGES) if names is None else [name.strip() for name in names.split(",")]
    for name in selected:
        if name not in JUDGES:
            raise ConfigError(f"the judge {name!r} is unknown.", f"Known: {', '.join(JUDGES)}.")
    return [judge for name, judge in JUDGES.items() if name in selected]
