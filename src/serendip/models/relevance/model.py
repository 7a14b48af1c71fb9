"""Relevance classifier: P(item is irrelevant to the query), by calibrated boosted trees.

The features are lexical and embedding similarities (``features.py``) and the learned query
projection (``projection.py``). Trees are trained by lightgbm (``train.py``), and serving needs only
numpy and onnxruntime, which runs them as an ONNX graph. Their scores are calibrated to
probabilities by a logistic curve (Platt 1999), fitted out of fold: of pairs with a probability of
0.2, one in five is irrelevant. What was learned (projection and trees) is separate from the
catalogue it scores (``ItemTexts``): a new catalogue needs no new labels.

Source: the distilled filter of irrelevant matches at Indeed (RecSys 2024, doi
10.1145/3640457.3688043), whose features are not published.

Shapes: N items, P pairs, V views, C size of a text vector.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from serendip.config import validate
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.numeric import NewtonSteps, fit_logistic, logistic
from serendip.errors import ArtefactError
from serendip.models.onnx import open_session, read_model
from serendip.models.relevance.features import (
    PAIR_FEATURES,
    ItemTexts,
    PairFeatures,
    QueryTexts,
    centred,
    open_item_texts,
    save_item_texts,
)
from serendip.models.relevance.feedback import QueryExpansion, RelevanceFeedback
from serendip.models.relevance.hubness import HubnessCorrection, ReferenceItems
from serendip.models.relevance.projection import (
    LEARNED_FEATURES,
    QueryProjection,
    QueryProjectionConfig,
)

_STEPS = NewtonSteps(count=50, tolerance=1e-9)


@dataclass(frozen=True, slots=True)
class PlattCalibration:
    """``1 / (1 + exp(-(slope x score + offset)))``."""

    slope: float
    offset: float

    def __call__(self, scores: FloatArray) -> FloatArray:
        """(P,) float32 probabilities of scores (P,)."""
        probabilities: FloatArray = logistic(self.slope * scores + self.offset).astype(np.float32)
        return probabilities


def fit_calibration(scores: FloatArray, is_bad: BoolArray) -> PlattCalibration:
    """The curve that fits labels best, by Newton's method, with Platt's smoothed targets.

    Args:
        scores: (P,) of pairs that the scores were not learned from.
        is_bad: (P,) their labels; of one kind alone all probabilities are near to it.
    """
    bad, good = int(is_bad.sum()), int((~is_bad).sum())
    target = np.where(is_bad, (bad + 1) / (bad + 2), 1 / (good + 2))
    scale = float(np.std(scores)) or 1.0
    inputs = np.column_stack([scores / scale, np.ones(len(scores))])
    weights = fit_logistic(inputs, target, np.zeros(2), np.zeros(2), damping=1e-6, steps=_STEPS)
    return PlattCalibration(float(weights[0]) / scale, float(weights[1]))


@dataclass(frozen=True, slots=True, eq=False)
class CalibratedTrees:
    """Chances that pairs are bad.

    Args:
        model: ONNX bytes of the trees: ``features`` (P, F) float32 -> ``value`` (P, 1).
        curve: from the trees' values to probabilities.
        session: of ``model``.
    """

    model: bytes
    curve: PlattCalibration
    session: Any

    @classmethod
    def of(cls, model: bytes, curve: PlattCalibration) -> Self:
        """With a session of its own."""
        return cls(model, curve, open_session(model))

    def probabilities(self, features: FloatArray) -> FloatArray:
        """(P,) probabilities of being irrelevant for features (P, F), each pair on its own."""
        if not len(features):
            return np.empty(0, np.float32)
        feed = {"features": features.astype(np.float32)}
        return self.curve(self.session.run(None, feed)[0][:, 0])


FEATURES = (*PAIR_FEATURES, *LEARNED_FEATURES)

FORMAT = 3
_AGAIN = "Run `serendip judge distil` with this version, then `serendip train`."
_TREES, _ARRAYS, _DOCUMENT = "trees.onnx", "relevance.safetensors", "relevance.json"


@dataclass(frozen=True, slots=True, eq=False)
class RelevanceModel:
    """Judges pairs of words and an item of one catalogue.

    Args:
        likeness: cosines as they are and as learned, of these items.
        student: from features to probabilities.
        items: N texts with their vectors.
        stale: (N,) items whose texts are not these any more; nothing is said of them.
        threshold: chance from which on leaving out keeps the promise that was asked for, as far as
            people's labels prove it; None = nothing was proven.
    """

    likeness: QueryProjection
    student: CalibratedTrees
    items: ItemTexts
    stale: BoolArray
    threshold: float | None = None

    @classmethod
    def of(
        cls,
        likeness: QueryProjection,
        student: CalibratedTrees,
        items: ItemTexts,
        threshold: float | None = None,
    ) -> Self:
        """For the items that the likeness was learned among."""
        return cls(likeness, student, items, np.zeros(len(items), np.bool_), threshold)

    def without(self, numbers: IntArray) -> RelevanceModel:
        """The same judge, which says nothing of these items: their texts have changed."""
        stale = self.stale.copy()
        stale[numbers[numbers < len(stale)]] = True
        return replace(self, stale=stale)

    def probabilities(self, text: str, vector: FloatArray, numbers: IntArray) -> FloatArray:
        """(P,) probabilities that items are bad matches; NaN for those that came later or changed.

        Args:
            text: what was asked for, in words.
            vector: (C,) unit vector of these words.
            numbers: (P,) of items.
        """
        known = numbers < len(self.items)
        known[known] = ~self.stale[numbers[known]]
        probabilities = np.full(len(numbers), np.nan, np.float32)
        asked = numbers[known]
        if len(asked):
            queries, rows = QueryTexts.of([text], vector[None]), np.zeros(len(asked), np.int32)
            probabilities[known] = self.student.probabilities(self._features(queries, rows, asked))
        return probabilities

    def likenesses(self, queries: QueryTexts, rows: IntArray, numbers: IntArray) -> FloatArray:
        """(P,) mean cosine of queries and items over title, body and passages; nothing learned."""
        known = self.likeness.features
        asked, row = np.unique(rows, return_inverse=True)
        own = known.asked(queries, asked)[row]
        means: FloatArray = np.einsum("pc,vpc->p", own, known.views[:, numbers]) / len(known.views)
        return means

    def is_current(self, number: int) -> bool:
        """Whether the encoded texts of an item are its present ones."""
        return number < len(self.items) and not self.stale[number]

    def title_vector(self, number: int) -> FloatArray:
        """(C,) of an item's title, for requests that name an item and no words."""
        vector: FloatArray = self.items.views[0, number]
        return vector

    def save(self, folder: Path) -> None:
        """Write what was learned, and the items, into a folder (created)."""
        save_model(self, folder)
        save_item_texts(self.items, folder / "items")

    @classmethod
    def open(cls, folder: Path) -> RelevanceModel:
        """Read what ``save`` wrote.

        Raises:
            ArtefactError: the folder holds no judge, or one of other features.
        """
        return open_model(folder, open_item_texts(folder / "items"))

    def _features(self, queries: QueryTexts, rows: IntArray, numbers: IntArray) -> FloatArray:
        features = self.likeness.features.of(queries, self.items, rows, numbers)
        return np.hstack([features, self.likeness.of(queries, rows, numbers)])


def save_model(judge: RelevanceModel, folder: Path) -> None:
    """Write what was learned, without the items, into a folder (created)."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / _TREES).write_bytes(judge.student.model)
    likeness, features = judge.likeness, judge.likeness.features
    parts = {
        "query_mean": features.query_mean,
        "item_means": features.item_means,
        "landmarks": likeness.landmarks,
        "shares": likeness.shares,
        "directions": likeness.directions,
        "crowd_items": features.crowd.items.vectors,
        **_crowd_arrays("asked", features.crowd),
        **_crowd_arrays("moved", likeness.crowd),
    }
    save_file(
        {name: np.ascontiguousarray(array) for name, array in parts.items()}, folder / _ARRAYS
    )
    document = {
        "format": FORMAT,
        "features": FEATURES,
        "likeness": likeness.config.model_dump(mode="json"),
        "curve": [judge.student.curve.slope, judge.student.curve.offset],
        "threshold": judge.threshold,
    }
    (folder / _DOCUMENT).write_text(json.dumps(document, indent=1), encoding="utf-8")


def open_model(folder: Path, items: ItemTexts) -> RelevanceModel:
    """What ``save_model`` wrote, for the items of a catalogue, whose texts were encoded alike.

    What features are relative to stays: the crowds, and what all texts had in common.

    Raises:
        ArtefactError: the folder holds no judge, or one of other features.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        document = json.loads((folder / _DOCUMENT).read_text(encoding="utf-8"))
        if document.get("format") != FORMAT:
            raise ValueError(f"format {document.get('format')!r}")
        stored, curve = tuple(document["features"]), PlattCalibration(*document["curve"])
        parts = load_file(folder / _ARRAYS)
        config = validate(QueryProjectionConfig, document["likeness"], str(folder / _DOCUMENT))
        likeness = _likeness(config, parts, items)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ArtefactError(f"{folder} holds no readable judge: {error}.", _AGAIN) from None
    if stored != FEATURES:
        differing = sorted(set(stored) ^ set(FEATURES)) or ["their order"]
        raise ArtefactError(
            f"{folder} holds a judge of other features; different: {', '.join(differing)}.",
            _AGAIN,
        )
    student = CalibratedTrees.of(read_model(folder / _TREES), curve)
    return RelevanceModel.of(likeness, student, items, document["threshold"])


def _likeness(
    config: QueryProjectionConfig, parts: dict[str, Any], items: ItemTexts
) -> QueryProjection:
    known, means = ReferenceItems.of(parts["crowd_items"]), parts["item_means"]
    crowd, moved = (_crowd(name, known, parts) for name in ("asked", "moved"))
    if means.shape[1:] != items.views.shape[2:]:
        raise ValueError(
            f"it read vectors of size {means.shape[1]}, these have {items.views.shape[2]}"
        )
    views = centred(items.views, means)
    expansion = QueryExpansion.of(crowd)
    features = PairFeatures(
        parts["query_mean"], means, views, crowd, expansion, RelevanceFeedback.of(views)
    )
    map_ = parts["landmarks"], parts["shares"], parts["directions"]
    return QueryProjection(config, features, *map_, moved)


def _crowd_arrays(name: str, crowd: HubnessCorrection) -> dict[str, FloatArray]:
    return {
        f"{name}.others": crowd.others,
        f"{name}.others_mean": crowd.others_mean,
    }


def _crowd(name: str, items: ReferenceItems, parts: dict[str, Any]) -> HubnessCorrection:
    return HubnessCorrection(items, parts[f"{name}.others"], parts[f"{name}.others_mean"])
