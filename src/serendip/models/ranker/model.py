"""Unified ranker: one multi-task deep-and-cross network for all tasks (``TASKS``).

Input: the features of one candidate and the task; output: one probability per action. The value of
a candidate is the sum of these, weighted by the surface's action weights. Rows are scored
independently of each other. Training uses torch (``ranker/train.py``); serving runs one ONNX graph
that includes the standardisation of the features.

Shapes: R rows (query, candidate), F features, A actions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data import Artefact, FloatArray, Task
from serendip.data.query import NEAREST_TASK, TASKS
from serendip.errors import (
    ArtefactError,
    DataError,
    NotTrainedError,
)
from serendip.models.onnx import open_session
from serendip.models.ranker.config import RankerConfig, RankerRows
from serendip.runtime.progress import TrainOptions

_ROWS_AT_ONCE = 8_192
"""Rows that the graph is run on at once; it needs about 4 kB of memory for each."""


def action_value(
    probabilities: FloatArray, action_weights: Mapping[str, float], actions: Sequence[str]
) -> FloatArray:
    """Sum the action probabilities (R, A) of candidates, weighted: their value (R,) float32.

    Actions that are not named have weight 0. Weights of other actions count for nothing: settings
    may name an action that the ranker of an earlier training has not learned.
    """
    weights = np.array([action_weights.get(action, 0.0) for action in actions], np.float32)  # (A,)
    value: FloatArray = (probabilities * weights).sum(1)  # (R,)
    return value


class Ranker(Artefact):
    """Multi-task ranking model: rows of features -> a probability per action."""

    repair = "Train it again with this version."

    def __init__(self, config: RankerConfig | None = None) -> None:
        self.config = config if config is not None else RankerConfig()
        self._feature_names: tuple[str, ...] = ()
        self._ordered: tuple[int, ...] = ()
        self.discounts: Mapping[str, float] = {}
        """Task -> power of the popularity discount that was learned for its candidates."""
        self._network = b""
        self._session: Any = None

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the F feature columns it was trained on, in order."""
        self._require_trained()
        return self._feature_names

    @property
    def ordered_tasks(self) -> tuple[int, ...]:
        """Tasks whose candidates it may order: those with rows from behaviour in training."""
        self._require_trained()
        return self._ordered

    def number_of(self, task: Task) -> int:
        """Number of the task as which it orders candidates of a task: of the nearest one, if it has
        no rows from behaviour for this one and there is a nearest.
        """
        number, nearest = TASKS.index(task), NEAREST_TASK.get(task)
        if nearest is None or number in self.ordered_tasks:
            return number
        return TASKS.index(nearest)

    @property
    def num_parameters(self) -> int:
        """Number of parameters, including those of the standardisation."""
        import onnx

        self._require_trained()
        weights = onnx.load_from_string(self._network).graph.initializer
        return sum(math.prod(tensor.dims) for tensor in weights)

    def train(
        self,
        rows: RankerRows,
        feature_names: Sequence[str],
        options: TrainOptions | None = None,
        ordered_tasks: Sequence[int] | None = None,
    ) -> Self:
        """Train from scratch, on one row or more.

        ``ordered_tasks`` are those whose rows come from behaviour, so that the ranker may order
        their candidates (rows of synthetic queries do not); None = all.

        Raises:
            DataError: there are no rows.
        """
        from serendip.models.ranker.train import train_ranker

        tasks = range(self.config.num_tasks) if ordered_tasks is None else ordered_tasks
        if not len(rows):
            raise DataError("the ranker has no rows to learn from.", "Give at least one row.")
        self._network = train_ranker(rows, self.config, options or TrainOptions())
        self._feature_names = tuple(feature_names)
        self._ordered = tuple(sorted(tasks))
        self._session = open_session(self._network)
        return self

    def predict(self, features: FloatArray, task: NDArray[np.integer]) -> FloatArray:
        """Predict action probabilities (R, A) float32 from features (R, F) and tasks (R,).

        Raises:
            DataError: the shape of the features is not (rows of ``task``, trained features).
        """
        self._require_trained()
        expected = (len(task), len(self._feature_names))
        if features.shape != expected:
            raise DataError(
                f"features have shape {features.shape}; expected {expected}.",
                "Give one row per task and the columns of feature_names.",
            )
        probabilities = np.empty((len(task), len(self.config.actions)), np.float32)
        for begin in range(0, len(task), _ROWS_AT_ONCE):
            block = slice(begin, begin + _ROWS_AT_ONCE)
            feed = {
                "features": np.ascontiguousarray(features[block], np.float32),
                "task": task[block].astype(np.int64),
            }
            probabilities[block] = self._session.run(None, feed)[0]
        return probabilities

    def stored(self) -> dict[str, Any]:
        """Config, names of the features and the network."""
        self._require_trained()
        return {
            "config": self.config,
            "network": self._network,
            "feature_names": self._feature_names,
            "ordered_tasks": self._ordered,
            "discounts": self.discounts,
        }

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Self:
        """See ``Artefact``."""
        ranker = cls(values["config"])
        ranker._network, ranker.discounts = values["network"], values["discounts"]
        ranker._session = open_session(ranker._network)
        ranker._feature_names, ranker._ordered = values["feature_names"], values["ordered_tasks"]
        return ranker

    def require_features(self, names: Sequence[str]) -> None:
        """Check that it was trained on the features that it is given.

        Raises:
            ArtefactError: they are others.
        """
        if tuple(names) != self.feature_names:
            differing = sorted(set(names) ^ set(self.feature_names)) or ["their order"]
            raise ArtefactError(
                f"the ranker is for other features; different: {', '.join(differing)}.", self.repair
            )

    def _require_trained(self) -> None:
        if self._session is None:
            raise NotTrainedError("the ranker is not trained.", "Call train(rows, feature_names).")
