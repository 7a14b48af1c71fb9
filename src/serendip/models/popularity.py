"""Popularity baseline: items by number of events, optionally of a recent time window."""

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
from serendip.data.growing_rows import append_rows
from serendip.data.item_features import ItemFeatures
from serendip.data.query import Query
from serendip.models.base import Recommender
from serendip.models.linalg import open_array
from serendip.runtime.progress import TrainOptions

_SECONDS_PER_DAY = 86_400.0
_SCORES_FILE = "scores.npy"


class PopularityConfig(Config):
    """Time window and weight of older events."""

    window_days: float | None = Field(default=None, gt=0)
    """Length of the window, in days before the last event of the log; None = the whole log."""

    prior: float = Field(default=0.01, ge=0)
    """Weight of an event before the window, so that items without recent events have an order."""


class Popularity(Recommender):
    """Score = log(1 + weighted number of events), the same for every query.

    Items without events score 0 and may still be recommended, last.
    """

    name = "popularity"
    config_class = PopularityConfig
    label = "Popularity"
    score_kind = "prior"
    config: PopularityConfig
    zero_means_unknown = False

    @property
    def source_label(self) -> str:
        """Label as a candidate source: of all time, or of late."""
        return "what is popular" + (" of late" if self.config.window_days is not None else "")

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        counts = dataset.item_counts().astype(np.float64)  # (N,)
        times = dataset.events.timestamps
        if self.config.window_days is not None and len(times):
            is_recent = times > times[-1] - self.config.window_days * _SECONDS_PER_DAY
            recent = np.bincount(dataset.events.items[is_recent], minlength=len(counts))
            counts = recent + self.config.prior * (counts - recent)
        self._scores: FloatArray = np.log1p(counts).astype(np.float32)  # (N,)

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        return np.tile(self._scores, (len(queries), 1))  # (B, N)

    def _with_items(self, features: ItemFeatures) -> Self:
        model = copy.copy(self)
        model._scores = append_rows(self._scores, np.zeros(len(features), np.float32))
        return model

    def _save(self, folder: Path) -> None:
        np.save(folder / _SCORES_FILE, self._scores, allow_pickle=False)

    def _open(self, folder: Path) -> None:
        self._scores = open_array(folder / _SCORES_FILE)
