"""A light student: boosted trees on cheap features, as a graph that onnxruntime runs, calibrated.

Trained by lightgbm (``student_training``), which is not needed to answer. The trees' values pass
through a logistic curve, fitted on pairs that trees of the others had not seen, so that a chance of
.2 means that one in five is bad.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.models.chance_curve import ChanceCurve
from serendip.models.onnx import open_session


@dataclass(frozen=True, slots=True, eq=False)
class Student:
    """Chances that pairs are bad.

    Args:
        model: ONNX bytes of the trees: ``features`` (P, F) float32 -> ``value`` (P, 1).
        curve: from the trees' values to chances.
        session: of ``model``.
    """

    model: bytes
    curve: ChanceCurve
    session: Any

    @classmethod
    def of(cls, model: bytes, curve: ChanceCurve) -> Self:
        """With a session of its own."""
        return cls(model, curve, open_session(model))

    def chances(self, features: FloatArray) -> FloatArray:
        """(P,) chances that pairs with features (P, F) are bad; of each pair, whatever the rest."""
        if not len(features):
            return np.empty(0, np.float32)
        feed = {"features": features.astype(np.float32)}
        return self.curve(self.session.run(None, feed)[0][:, 0])
