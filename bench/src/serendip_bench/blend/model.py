"""Blend (stacked generalisation): a small network reranks the candidates of several models.

Each part proposes its best items for a request. A perceptron scores these candidates from features
of the parts' scores; it is trained, by softmax among the candidates, on the next items that users
chose after the time span on which the parts were trained. A linear combination is not enough: the
right weight of co-occurrence depends on the confidence of the sequence model, and vice versa.

Wolpert 1992, "Stacked generalization". Differences: the loss is listwise, and the held-out data are
the last events in time, not folds.

Shapes: B queries, N items, C candidates, F features, H hidden size.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from serendip.config import Config, validate
from serendip.data import Dataset, FloatArray, IntArray, ItemFeatures, Query
from serendip.errors import DataError
from serendip.models import model_class
from serendip.models.base import Recommender, ScoreKind
from serendip.runtime.progress import TrainOptions
from serendip_bench.blend.config import (
    BlendConfig,
    BlendNetwork,
)
from serendip_bench.blend.features import BlendCandidates, build_candidates
from serendip_bench.splits import without_last_events

_QUERIES_PER_BATCH = 256
"""Bounds memory: scores of a batch are (P, B, N)."""


class Blend(Recommender):
    """Scores the candidates of its parts by a network; all other items are ranked below them.

    Args:
        config: parts and network.
        trained: part name -> trained model. They must be trained on the dataset that is given to
            ``train``, which then must have validation targets.
    """

    name: ClassVar[str] = "blend"
    config_class: ClassVar[type[Config]] = BlendConfig
    label: ClassVar[str] = "Blend of models"
    origin: ClassVar[str] = "the blend of models"
    score_kind: ClassVar[ScoreKind] = "similarity"
    zero_means_unknown: ClassVar[bool] = False
    state: ClassVar[tuple[str, ...]] = ("_parts", "_network")
    config: BlendConfig

    def __init__(
        self, config: BlendConfig | None = None, trained: Mapping[str, Recommender] | None = None
    ) -> None:
        super().__init__(config)
        self._trained = dict(trained or {})
        self._parts: dict[str, Recommender] = {}
        self._network: BlendNetwork

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        from serendip_bench.blend.train import train_network

        if dataset.validation is not None:
            self._parts = self._fit_parts(dataset, options)
            self._network = train_network(self.candidates, dataset, self.config, options)
            return
        if self._trained:
            raise DataError(
                "a blend of trained models needs targets that they have not seen, and the dataset "
                "has no validation targets.",
                "Give a dataset with validation targets, or let the blend train its parts.",
            )
        # The network learns from parts trained without each user's last event, then the parts are
        # trained on everything.
        past = without_last_events(dataset)
        self._parts = self._fit_parts(past, options)
        self._network = train_network(self.candidates, past, self.config, options)
        self._parts = self._fit_parts(dataset, options)

    def _fit_parts(self, dataset: Dataset, options: TrainOptions) -> dict[str, Recommender]:
        """Train all parts on a dataset, except those that were given trained."""
        parts = {}
        for name, part in self.config.parts.items():
            part_class = model_class(part.model)
            config = validate(part_class.config_class, part.config, f"blend: parts.{name}.config")
            model = self._trained.get(name)
            parts[name] = model or part_class(config).train(dataset, options.inside(name))
        return parts

    def candidates(self, queries: Sequence[Query]) -> BlendCandidates:
        """Candidates of the parts and their features."""
        scores = [part.score_all(queries) for part in self._parts.values()]
        return build_candidates(queries, scores, self.config.num_candidates)

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        starts = range(0, len(queries), _QUERIES_PER_BATCH)
        return np.concatenate(
            [self._score_batch(queries[start : start + _QUERIES_PER_BATCH]) for start in starts]
        )

    def _score_batch(self, queries: Sequence[Query]) -> FloatArray:
        """Scores (B, N): the network's for candidates, below them the last part's order."""
        scores = [part.score_all(queries) for part in self._parts.values()]  # P times (B, N)
        candidates = build_candidates(queries, scores, self.config.num_candidates)
        values = self._network(candidates.features)  # (B, C)
        lowest = np.where(candidates.is_candidate, values, np.inf).min(1, keepdims=True)  # (B, 1)
        lowest = np.where(np.isfinite(lowest), lowest, 0.0)  # queries without candidates
        # Other items: x / (1 + x) maps their distance to the last part's best score into [0, 1),
        # so they keep that part's order and are at least 1 below the lowest candidate.
        distance = scores[-1].max(1, keepdims=True) - scores[-1]  # (B, N)
        blended: FloatArray = (lowest - 1 - distance / (1 + distance)).astype(np.float32)
        rows, columns = np.nonzero(candidates.is_candidate)
        blended[rows, candidates.items[rows, columns]] = values[rows, columns]
        return blended

    def _with_late(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        model = copy.copy(self)
        model._parts = {
            name: part.with_late(features, item_nums) for name, part in self._parts.items()
        }
        return model
