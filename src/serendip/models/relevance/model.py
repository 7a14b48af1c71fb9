"""Relevance model: P(item is irrelevant to the request), by calibrated boosted trees.

The features are lexical and embedding similarities (``features.py``), the learned query projection
(``projection.py``) and, where labels show that the user decides, what the user chose before
(``features.py``). Trees are trained by lightgbm (``train.py``), and serving needs only
numpy and onnxruntime, which runs them as an ONNX graph. Their scores are calibrated to
probabilities by a logistic curve (Platt 1999), fitted out of fold: of pairs with a probability of
0.2, one in five is irrelevant. What was learned (projection and trees) is separate from the
catalogue it scores (``ItemTexts``): a new catalogue needs no new labels.

Source: the distilled filter of irrelevant matches at Indeed (RecSys 2024, doi
10.1145/3640457.3688043), whose features are not published.

Shapes: N items, P pairs, K pairs with current texts, V views, C size of a text vector, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from serendip.data import Artefact, BoolArray, Catalogue, FloatArray, IntArray, put_rows
from serendip.data.numeric import NewtonSteps, fit_logistic, logistic
from serendip.errors import ArtefactError
from serendip.models.onnx import open_session
from serendip.models.relevance.features import (
    PAIR_FEATURES,
    USER_FEATURES,
    ItemTexts,
    PairFeatures,
    QueryTexts,
    ReferenceItems,
    RelevanceFeedback,
    RequestUser,
    UserFeatures,
    centre_views,
)
from serendip.models.relevance.projection import PROJECTED_FEATURES, QueryProjection

_STEPS = NewtonSteps(count=50, tolerance=1e-9)


@dataclass(frozen=True, slots=True)
class PlattCalibration(Artefact):
    """``1 / (1 + exp(-(slope x score + offset)))``."""

    slope: float
    offset: float

    def __call__(self, scores: FloatArray) -> FloatArray:
        """(P,) float32 probabilities of scores (P,)."""
        probabilities: FloatArray = logistic(self.slope * scores + self.offset).astype(np.float32)
        return probabilities


def fit_calibration(scores: FloatArray, is_irrelevant: BoolArray) -> PlattCalibration:
    """Fit the curve by Newton's method to Platt's smoothed targets.

    Scores (P,) are of pairs that the scoring model was not trained on. If all labels are equal, all
    probabilities are close to that label.
    """
    positive, negative = int(is_irrelevant.sum()), int((~is_irrelevant).sum())
    target = np.where(is_irrelevant, (positive + 1) / (positive + 2), 1 / (negative + 2))  # (P,)
    scale = float(np.std(scores)) or 1.0
    inputs = np.column_stack([scores / scale, np.ones(len(scores))])  # (P, 2)
    weights = fit_logistic(inputs, target, np.zeros(2), np.zeros(2), damping=1e-6, steps=_STEPS)
    return PlattCalibration(float(weights[0]) / scale, float(weights[1]))


@dataclass(frozen=True, slots=True, eq=False)
class CalibratedTrees(Artefact):
    """Boosted trees that predict P(irrelevant) from features.

    Args:
        model: ONNX bytes of the trees: ``features`` (P, F) float32 -> ``value`` (P, 1).
    """

    model: bytes
    calibration: PlattCalibration
    session: Any

    @classmethod
    def of(cls, model: bytes, calibration: PlattCalibration) -> Self:
        """With a new session."""
        return cls(model, calibration, open_session(model))

    def stored(self) -> dict[str, Any]:
        """The trees and their calibration."""
        return {"model": self.model, "calibration": self.calibration}

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Self:
        """See ``Artefact``."""
        return cls.of(**values)

    def probabilities(self, features: FloatArray) -> FloatArray:
        """(P,) probabilities of being irrelevant for features (P, F), each pair on its own."""
        if not len(features):
            return np.empty(0, np.float32)
        feed = {"features": features.astype(np.float32)}
        return self.calibration(self.session.run(None, feed)[0][:, 0])


FEATURES = (*PAIR_FEATURES, *PROJECTED_FEATURES)
"""Features of query and item; a model that knows the user has ``USER_FEATURES`` behind them."""

NOBODY = RequestUser()


@dataclass(frozen=True, slots=True, eq=False)
class LearnedRelevance(Artefact):
    """What a relevance model has learned, whatever the items are.

    Args:
        names: of the F features of the trees.
        query_mean: (C,) of training queries.
        item_means: (V, C) of the items of the training.
        reference: items of the training that cosines are compared with.
        threshold: smallest probability to filter by, as the labels by people prove; None = none
            could be proven.
    """

    names: tuple[str, ...]
    query_mean: FloatArray
    item_means: FloatArray
    reference: ReferenceItems
    projection: QueryProjection
    trees: CalibratedTrees
    threshold: float | None = None

    repair = "Run `serendip judge distil` with this version, then `serendip train`."

    def apply(self, items: ItemTexts, catalogue: Catalogue) -> RelevanceModel:
        """The model for the items of a catalogue, whose texts the same encoder read.

        Attributes of the items are read only by a model that knows users.

        Raises:
            ArtefactError: it has other features, or vectors of another size.
        """
        knows_users = self.names == (*FEATURES, *USER_FEATURES)
        if self.names != FEATURES and not knows_users:
            differing = sorted(set(self.names) ^ {*FEATURES, *USER_FEATURES}) or ["their order"]
            raise ArtefactError(
                f"the relevance model has other features: {', '.join(differing)}.", self.repair
            )
        size = self.item_means.shape[1]
        if size != items.views.shape[2]:
            raise ArtefactError(
                f"the relevance model was trained on vectors of size {size}, the items have "
                f"{items.views.shape[2]}.",
                self.repair,
            )
        views = centre_views(items.views, self.item_means)
        feedback = RelevanceFeedback.of(views, items.words)
        features = PairFeatures(self.query_mean, self.item_means, views, self.reference, feedback)
        users = UserFeatures.of(views, catalogue) if knows_users else None
        return RelevanceModel.of(self, items, features, users)


@dataclass(frozen=True, slots=True, eq=False)
class RelevanceModel:
    """Predicts P(irrelevant) of requests and the items of one catalogue.

    Args:
        is_stale: (N,) items whose texts have changed since; they get no prediction.
        users: features of users and these items; None = the model does not know users.
    """

    learned: LearnedRelevance
    items: ItemTexts
    features: PairFeatures
    is_stale: BoolArray
    users: UserFeatures | None

    @classmethod
    def of(
        cls,
        learned: LearnedRelevance,
        items: ItemTexts,
        features: PairFeatures,
        users: UserFeatures | None,
    ) -> Self:
        """For items none of which is stale."""
        return cls(learned, items, features, np.zeros(len(items), np.bool_), users)

    @property
    def threshold(self) -> float | None:
        """See ``LearnedRelevance``."""
        return self.learned.threshold

    def without(self, numbers: IntArray) -> RelevanceModel:
        """The model without predictions for these items, whose texts have changed."""
        stale = numbers[numbers < len(self.is_stale)]
        return replace(self, is_stale=put_rows(self.is_stale, stale, np.ones_like(stale)))

    def probabilities(
        self, text: str, vector: FloatArray, numbers: IntArray, user: RequestUser = NOBODY
    ) -> FloatArray:
        """(P,) probabilities of being irrelevant; NaN for items that are new or have changed.

        The vector (C,) of the text has length 1; a model that knows users reads the user of the
        request.
        """
        is_scored = numbers < len(self.items)
        is_scored[is_scored] = ~self.is_stale[numbers[is_scored]]
        probabilities = np.full(len(numbers), np.nan, np.float32)
        items = numbers[is_scored]  # (K,)
        if len(items):
            columns = self._columns(QueryTexts.of([text], vector[None]), items, user)
            probabilities[is_scored] = self.learned.trees.probabilities(columns)
        return probabilities

    def similarities(self, queries: QueryTexts, rows: IntArray, numbers: IntArray) -> FloatArray:
        """(P,) mean cosine of query and item over title, body and passages; no training."""
        query_nums, query_rows = np.unique(rows, return_inverse=True)
        vectors = self.features.centre_queries(queries, query_nums)[query_rows]  # (P, C)
        views = self.features.views
        means: FloatArray = np.einsum("pc,vpc->p", vectors, views[:, numbers]) / len(views)
        return means

    def is_current(self, number: int) -> bool:
        """Whether the encoded texts of an item are its present ones."""
        return number < len(self.items) and not self.is_stale[number]

    def title_vector(self, number: int) -> FloatArray:
        """(C,) vector of an item's title, for requests that name an item and no text."""
        vector: FloatArray = self.items.views[0, number]
        return vector

    def _columns(self, query: QueryTexts, numbers: IntArray, user: RequestUser) -> FloatArray:
        features = self.features
        views, vector = features.views.take(numbers, axis=1), features.centre_query(query, 0)
        moved = self.learned.projection.move(vector)
        columns = [
            features.compute_query(query, self.items, 0, numbers, views),
            features.reference.columns(moved, views),
        ]
        if self.users is not None:
            columns.append(self.users.compute(user, vector, numbers))
        return np.hstack(columns)
