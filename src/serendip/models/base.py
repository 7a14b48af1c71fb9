"""The contract of everything that says what comes next.

A model is a frozen config plus ``train``; what it learned is only numbers, so it can be saved,
opened in another process and answer with the same scores. Public methods check and mask; the
private hooks (one per public method) hold the maths and see item numbers only. A model never
changes after training: ``with_items`` and ``with_changed_items`` return a new one.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from serendip.config import Config, validate
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.item_features import ItemFeatures
from serendip.data.item_list import ItemList, top_k
from serendip.data.query import Query
from serendip.errors import ArtefactError, DataError, NotTrainedError
from serendip.runtime.progress import TrainOptions

CONFIG_FILE = "config.json"


class Recommender(ABC):
    """Scores the whole catalogue for a batch of queries.

    Scores: higher is better, any scale, always finite. Where ``zero_means_unknown`` is True a
    score of 0 says "no evidence" and such items are not recommended.
    """

    name: ClassVar[str]
    config_class: ClassVar[type[Config]]
    zero_means_unknown: ClassVar[bool] = True

    def __init__(self, config: Config | None = None) -> None:
        self.config = config if config is not None else self.config_class()
        self._num_items = -1

    @property
    def is_trained(self) -> bool:
        """True once ``train`` or ``open`` has run."""
        return self._num_items >= 0

    @property
    def num_items(self) -> int:
        """N, the number of items it can score."""
        self._require_trained()
        return self._num_items

    def train(self, dataset: Dataset, options: TrainOptions | None = None) -> Self:
        """Learn from everything in ``dataset`` and nothing else; training again starts afresh."""
        self._train(dataset, options or TrainOptions())
        self._num_items = dataset.num_items
        return self

    def score_all(self, queries: Sequence[Query]) -> FloatArray:
        """Scores (B, N) float32 of every item for every query; row b depends on query b only."""
        self._require_trained()
        if not queries:
            return np.empty((0, self._num_items), dtype=np.float32)
        return self._score_all(queries)

    def recommend(self, queries: Sequence[Query], k: int = 10) -> list[ItemList]:
        """The k best items per query, without those in ``query.exclude``.

        Raises:
            DataError: k < 1.
        """
        if k < 1:
            raise DataError(f"k = {k}.", "Ask for 1 item or more.")
        scores = self.score_all(queries).copy()
        if self.zero_means_unknown:
            scores[scores == 0] = -np.inf
        answers = []
        for row, query in zip(scores, queries, strict=True):
            row[query.exclude] = -np.inf
            answers.append(top_k(row, k))
        return answers

    def with_items(self, features: ItemFeatures) -> Self:
        """A copy that also knows new items, numbered after the old ones; nothing is trained."""
        self._require_trained()
        extended = self._with_items(features)
        extended._num_items = self._num_items + len(features)
        return extended

    def with_changed_items(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        """A copy that knows other content of known items; nothing is trained.

        What people did with the items stays. Models that hold no content return themselves.

        Args:
            item_nums: (M,) int32 in [0, N); of a number given twice the last content counts.
            features: content and codes of the M items.

        Raises:
            DataError: lengths differ, or a number is outside the catalogue.
        """
        self._require_trained()
        if len(item_nums) != len(features):
            raise DataError(
                f"{len(item_nums)} changed items with features of {len(features)}.",
                "Give one row of features per item.",
            )
        outside = item_nums[(item_nums < 0) | (item_nums >= self._num_items)]
        if len(outside):
            raise DataError(
                f"item number {outside[0]} is not one of the {self._num_items} that "
                f"model {self.name!r} knows.",
                "Add new items with with_items(features).",
            )
        return self._with_changed_items(item_nums, features) if len(item_nums) else self

    def save(self, folder: Path) -> None:
        """Write config and numbers into ``folder`` (created); no pickle."""
        self._require_trained()
        folder.mkdir(parents=True, exist_ok=True)
        values = {"model": self.name, "num_items": self._num_items}
        document = {**values, "config": self.config.model_dump(mode="json")}
        (folder / CONFIG_FILE).write_text(json.dumps(document, indent=1), encoding="utf-8")
        self._save(folder)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ArtefactError: the folder holds no such model.
        """
        try:
            document = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArtefactError(f"{folder} holds no readable model: {error}.") from None
        if document["model"] != cls.name:
            raise ArtefactError(f"{folder} holds a {document['model']!r}, not a {cls.name!r}.")
        model = cls(validate(cls.config_class, document["config"], str(folder / CONFIG_FILE)))
        model._open(folder)
        model._num_items = int(document["num_items"])
        return model

    def _require_trained(self) -> None:
        if not self.is_trained:
            raise NotTrainedError(f"model {self.name!r} is not trained.", "Call train(dataset).")

    @abstractmethod
    def _train(self, dataset: Dataset, options: TrainOptions) -> None: ...

    @abstractmethod
    def _score_all(self, queries: Sequence[Query]) -> FloatArray: ...

    @abstractmethod
    def _with_items(self, features: ItemFeatures) -> Self: ...

    def _with_changed_items(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        """Right for models that learn from behaviour alone; those with content replace it here."""
        return self

    @abstractmethod
    def _save(self, folder: Path) -> None: ...

    @abstractmethod
    def _open(self, folder: Path) -> None: ...
