"""The honest baseline of the ranker: boosted trees (LambdaMART by lightgbm) on the same rows.

lightgbm is a package of benchmarks only (extra ``bench``); what is served never needs it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray
from serendip.models.ranker.config import RankerRows

TREES: dict[str, Any] = {
    "objective": "lambdarank",
    "metric": "ndcg",
    "eval_at": [10],
    "lambdarank_truncation_level": 20,
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_data_in_leaf": 50,
}
"""Parameters of lightgbm that differ from its defaults."""

ROUNDS, PATIENCE, VALIDATION_SHARE = 300, 20, 0.1
"""Most trees; trees without a better nDCG@10 before it stops; share of requests that says so."""


def trees_facts() -> dict[str, Any]:
    """What decides the trees, for digests."""
    return {**TREES, "rounds": ROUNDS, "patience": PATIENCE, "validation_share": VALIDATION_SHARE}


class Trees:
    """Values of candidates by boosted trees.

    Args:
        rows: of whole requests, one after the other; labels of one action.
        seed: which requests stop the training.
    """

    def __init__(self, rows: RankerRows, seed: int) -> None:
        import lightgbm

        groups = np.unique(rows.group)
        stopping = np.random.default_rng(seed).choice(
            groups, int(VALIDATION_SHARE * len(groups)), replace=False
        )
        stops = np.isin(rows.group, stopping)
        learned = _dataset(rows, ~stops)
        callbacks, judged = [], []
        if stops.any():
            callbacks = [lightgbm.early_stopping(PATIENCE, verbose=False)]
            judged = [_dataset(rows, stops, learned)]
        execution = {
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        }
        self._booster = lightgbm.train(
            {**TREES, **execution}, learned, ROUNDS, judged, callbacks=callbacks
        )

    @property
    def num_parameters(self) -> int:
        """Numbers that it consists of: a threshold for each split, a value for each leaf."""
        trees = self._booster.dump_model()["tree_info"][: self._booster.best_iteration or None]
        return sum(2 * int(tree["num_leaves"]) - 1 for tree in trees)

    def __call__(self, features: FloatArray, task: NDArray[np.integer]) -> FloatArray:
        """Values (R,) of features (R, F) and tasks (R,), whatever the other rows are."""
        if not len(features):
            return np.empty(0, np.float32)
        values = self._booster.predict(_matrix(features, task), num_threads=1)
        return np.asarray(values, np.float32)


def _dataset(rows: RankerRows, mask: NDArray[np.bool_], like: Any = None) -> Any:
    import lightgbm

    sizes = np.unique(rows.group[mask], return_counts=True)[1]
    return lightgbm.Dataset(
        _matrix(rows.features[mask], rows.task[mask]),
        rows.labels[mask, 0],
        group=sizes,
        reference=like,
    )


def _matrix(features: FloatArray, task: NDArray[np.integer]) -> FloatArray:
    """(R, F + 1): the task is one more feature."""
    return np.column_stack([features, task]).astype(np.float32)
