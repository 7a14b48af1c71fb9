"""Several retrievers, each for some of the tasks, that answer as one.

Whether one model should serve all tasks is a question of evidence: ``serendip evaluate
--alignment`` measures what tasks do to one another and proposes a split. A group of tasks has the
budget that the model of all tasks has, so a split costs as many times as much as it has groups.

Shapes: B queries, N items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from serendip.config import Config
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.item_features import ItemFeatures
from serendip.data.query import Query
from serendip.models.base import Recommender
from serendip.models.retriever import Retriever
from serendip.models.retriever_context import TASKS
from serendip.models.retriever_groups_config import RetrieverGroupsConfig, group_config
from serendip.scale.options import TrainOptions


class RetrieverGroups(Recommender):
    """Each query is answered by the retriever that learned its task."""

    name: ClassVar[str] = "retriever-groups"
    config_class: ClassVar[type[Config]] = RetrieverGroupsConfig
    zero_means_unknown: ClassVar[bool] = False
    config: RetrieverGroupsConfig

    def __init__(self, config: RetrieverGroupsConfig | None = None) -> None:
        super().__init__(config)
        self._parts: tuple[Retriever, ...] = ()

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        parts = []
        for group in self.config.groups:
            part = Retriever(group_config(self.config.retriever, group))
            parts.append(part.train(dataset, options.inside("-".join(group))))
        self._parts = tuple(parts)

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        scores = np.empty((len(queries), self.num_items), np.float32)
        for part, rows in self._rows(queries):
            scores[rows] = part.score_all([queries[row] for row in rows])
        return scores

    def _rows(self, queries: Sequence[Query]) -> Iterator[tuple[Retriever, list[int]]]:
        """Every retriever that is asked, with the places of its queries."""
        for part, group in zip(self._parts, self.config.groups, strict=True):
            tasks = {TASKS[task] for task in group}
            rows = [row for row, query in enumerate(queries) if TASKS[query.surface] in tasks]
            if rows:
                yield part, rows

    def _with_items(self, features: ItemFeatures) -> Self:
        return self._with_parts([part.with_items(features) for part in self._parts])

    def _with_changed_items(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        return self._with_parts(
            [part.with_changed_items(item_nums, features) for part in self._parts]
        )

    def _with_parts(self, parts: Sequence[Retriever]) -> Self:
        changed = type(self)(self.config)
        changed._parts, changed._num_items = tuple(parts), self._num_items
        return changed

    def _save(self, folder: Path) -> None:
        for part, group in zip(self._parts, self.config.groups, strict=True):
            part.save(folder / "-".join(group))

    def _open(self, folder: Path) -> None:
        self._parts = tuple(
            Retriever.open(folder / "-".join(group)) for group in self.config.groups
        )
