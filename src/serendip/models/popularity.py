"""What everybody does: the baseline without any taste, and the answer when nothing is known."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.data.arrays import FloatArray
from serendip.data.dataset import Dataset
from serendip.data.item_features import ItemFeatures
from serendip.data.query import Query
from serendip.models.base import Recommender
from serendip.models.linalg import open_array
from serendip.runtime.progress import TrainOptions

_SECONDS_PER_DAY = 86_400.0
_SCORES_FILE = "scores.npy"


class PopularityConfig(Config):
    """Which events count."""

    window_days: float | None = Field(default=None, gt=0)
    """Only events of the last so many days of the log count fully; None = all of them do."""

    prior: float = Field(default=0.01, ge=0)
    """What an event before the window counts, so that a quiet week still has an order."""


class Popularity(Recommender):
    """Score = log(1 + number of events), the same for every query.

    An item without events scores 0 and may still be recommended, last.
    """

    name = "popularity"
    config_class = PopularityConfig
    label = "Popularity"
    score_kind = "prior"
    config: PopularityConfig
    zero_means_unknown = False

    @property
    def source_label(self) -> str:
        """Words for where candidates come from: of all time, or of the last days."""
        return "what is popular" + (" of late" if self.config.window_days is not None else "")

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        counts = dataset.item_counts().astype(np.float64)
        times = dataset.events.timestamps
        if self.config.window_days is not None and len(times):
            is_recent = times > times[-1] - self.config.window_days * _SECONDS_PER_DAY
            recent = np.bincount(dataset.events.items[is_recent], minlength=len(counts))
            counts = recent + self.config.prior * (counts - recent)
        self._scores: FloatArray = np.log1p(counts).astype(np.float32)

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        return np.tile(self._scores, (len(queries), 1))

    def _with_items(self, features: ItemFeatures) -> Self:
        model = copy.copy(self)
        model._scores = np.concatenate([self._scores, np.zeros(len(features), np.float32)])
        return model

    def _save(self, folder: Path) -> None:
        np.save(folder / _SCORES_FILE, self._scores, allow_pickle=False)

    def _open(self, folder: Path) -> None:
        self._scores = open_array(folder / _SCORES_FILE)
