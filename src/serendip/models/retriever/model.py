"""The unified retriever: one space of vectors for users, queries and items, on every surface.

An item is its content, its codes and a gated memory of its id; a request is a history, a task, and
what it carries of words and source items; the score is their dot product, plus how alike content
says they are where it was aligned with behaviour, plus a bonus for new items. Training is torch and
lives in ``retriever_training``; what answers is numpy, and one ONNX graph for the context. (Ideas:
unified contextual models as in UniCoRn, semantic IDs with a raw content path as in M3CSR, gated
transformers as in LiGR, sampled softmax with log-Q correction.)

Shapes: B queries, N items, D embedding size, S words size, E = D + S, C content size, L levels, K
codes per level.

Several retrievers, each for some of the tasks, that answer as one.

Whether one model should serve all tasks is a question of evidence: ``serendip evaluate
--alignment`` measures what tasks do to one another and proposes a split. A group of tasks has the
budget that the model of all tasks has, so a split costs as many times as much as it has groups.

Shapes: B queries, N items.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from serendip.config import Config
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.item_features import ItemFeatures, Tokens
from serendip.data.query import Query
from serendip.errors import UnsupportedError
from serendip.models.base import Recommender, ScoreKind
from serendip.models.embedding_space import CONTENT, NETWORK
from serendip.models.linalg import with_rows
from serendip.models.onnx import open_session
from serendip.models.retriever.artefact import TrainedRetriever, open_trained, save_trained
from serendip.models.retriever.config import RetrieverConfig, RetrieverGroupsConfig, group_config
from serendip.models.retriever.quality import QualityVector
from serendip.models.retriever.requests import TASKS, build_requests
from serendip.runtime.progress import TrainOptions

_MOVED = 1e-3
"""Projected content (values near 1) that differs by more is other content, not rounding."""


class Retriever(Recommender):
    """Scores items by the dot product of a request's vector with theirs."""

    name: ClassVar[str] = "retriever"
    config_class: ClassVar[type[Config]] = RetrieverConfig
    label: ClassVar[str] = "Unified model"
    origin: ClassVar[str] = "the unified model"
    score_kind: ClassVar[ScoreKind] = "similarity"
    zero_means_unknown: ClassVar[bool] = False
    config: RetrieverConfig

    def __init__(self, config: RetrieverConfig | None = None) -> None:
        super().__init__(config)
        self._trained: TrainedRetriever
        self._codes: IntArray
        self._session: Any = None

    @property
    def item_vectors(self) -> FloatArray:
        """(N, V) float32 vectors: the network's E, aligned content, quality, and the bonus."""
        return self.vectors_of(slice(None))

    def vectors_of(self, items: slice | NDArray[np.integer]) -> FloatArray:
        """Rows of ``item_vectors``, without making the others."""
        self._require_trained()
        now = self._trained
        parts = (
            [now.item_vectors] if now.affinity is None else [now.item_vectors, now.affinity.vectors]
        )
        parts += [] if now.quality is None else [now.quality.values]
        return np.concatenate([part[items] for part in [*parts, now.bonus[:, None]]], 1)

    @property
    def parts(self) -> dict[str, int]:
        """What the V dimensions of a vector are, in order: part -> width."""
        self._require_trained()
        now = self._trained
        parts = {NETWORK: now.item_vectors.shape[1]}
        if now.affinity is not None:
            parts[CONTENT] = now.affinity.vectors.shape[1]
        if now.quality is not None:
            parts["quality"] = now.quality.values.shape[1]
        return {**parts, "bonus": 1}

    def encode_queries(self, queries: Sequence[Query]) -> FloatArray:
        """(B, V) float32 vectors: ``encode_queries(q) @ item_vectors.T`` are the scores.

        Raises:
            UnsupportedError: a text vector has another size than the content it was trained on.
        """
        self._require_trained()
        affinity, quality = self._trained.affinity, self._trained.quality
        parts = [] if affinity is None else [affinity.of_queries(queries)]
        parts += [] if quality is None else [np.tile(quality.weights, (len(queries), 1))]
        ones = np.ones((len(queries), 1), np.float32)
        return np.concatenate([self._encode(queries), *parts, ones], 1)

    def _encode(self, queries: Sequence[Query]) -> FloatArray:
        """(B, E) what the network says."""
        if not queries:
            return np.empty((0, self._trained.item_vectors.shape[1]), np.float32)
        requests = build_requests(
            queries,
            self._trained.item_vectors,
            self._trained.projected,
            self._codes,
            [self._read(query) for query in queries],
            self.config,
            self._trained.countries,
        )
        feed = {field.name: getattr(requests, field.name) for field in fields(requests)}
        if not self._trained.countries:
            del feed["country"]
        encoded: FloatArray = self._session.run(None, feed)[0]
        return encoded[:, 0]

    def _read(self, query: Query) -> FloatArray | None:
        """(E,) what was typed, by its vector and its words; None where nothing was."""
        tower, vector = self._trained.tower, query.text_vector
        width = tower.weight.shape[1]
        if vector is None or width == 0:
            return None
        if vector.shape != (width,):
            raise UnsupportedError(
                f"a text vector of shape {vector.shape} for a retriever of content size {width}.",
                "Encode texts with the encoder that the items were encoded with.",
            )
        words = None if tower.token_table is None else Tokens.of_texts([query.searched])
        projected: FloatArray = tower.project(vector.astype(np.float32)[None], words)[0]
        return projected

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        from serendip.models.retriever.train import train_retriever

        features = dataset.features
        codes = np.empty((dataset.num_items, 0), np.int32) if features is None else features.codes
        self._use(train_retriever(dataset, self.config, options), codes)

    def _use(self, trained: TrainedRetriever, codes: IntArray) -> None:
        self._trained, self._codes = trained, codes
        self._session = open_session(trained.context)

    @property
    def quality(self) -> QualityVector | None:
        """How good items are, and what it counts; None = quality is not read."""
        self._require_trained()
        return self._trained.quality

    @property
    def num_parameters(self) -> int:
        """Learned numbers of the network, id embeddings included; 0 = not known."""
        self._require_trained()
        return self._trained.num_parameters

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        now = self._trained
        scores: FloatArray = self._encode(queries) @ now.item_vectors.T + now.added
        if now.affinity is not None:
            scores += now.affinity.scores(queries)
        return scores

    def _with_items(self, features: ItemFeatures) -> Self:
        now = self._trained
        later = np.arange(len(features), dtype=np.int32) + len(now.item_vectors)
        vectors, projected = now.tower.encode(features, later)
        bonus = self.config.new_item_bonus * now.tower.knows_new_items
        extended = copy.copy(self)
        width = self._codes.shape[1]
        extended._codes = np.concatenate([self._codes, features.codes[:, :width]])
        extended._trained = replace(
            now,
            item_vectors=np.concatenate([now.item_vectors, vectors]),
            projected=np.concatenate([now.projected, projected]),
            bonus=np.concatenate([now.bonus, np.full(len(features), bonus, np.float32)]),
            affinity=now.affinity and now.affinity.extended(features.content),
            quality=now.quality and now.quality.extended(len(features)),
        )
        return extended

    def _with_changed_items(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        """Changed items pass the tower with the gate shut, as new ones do.

        What was learned about their ids is lost until the next training: it went into the vector
        before the layer norm and cannot be taken out again. Items that project to where they were
        (posted again with another price, say) keep their vectors, ids and all. The bonus of new
        items is not for them: whoever edits a text must not be raised by it.
        """
        now = self._trained
        if not now.tower.knows_new_items:
            return self
        vectors, projected = now.tower.encode(features, item_nums)
        moved = np.abs(projected - now.projected[item_nums]).max(1) > _MOVED
        if not moved.any():
            return self
        rows = item_nums[moved]
        model = copy.copy(self)
        width = self._codes.shape[1]
        model._codes = self._codes.copy()
        model._codes[rows] = features.codes[moved, :width]
        model._trained = replace(
            now,
            item_vectors=with_rows(now.item_vectors, rows, vectors[moved]),
            projected=with_rows(now.projected, rows, projected[moved]),
            affinity=now.affinity and now.affinity.changed(rows, features.content[moved]),
        )
        return model

    def _save(self, folder: Path) -> None:
        save_trained(self._trained, self._codes, folder)

    def _open(self, folder: Path) -> None:
        trained, codes, self.config = open_trained(folder, self.config)
        self._use(trained, codes)


class RetrieverGroups(Recommender):
    """Each query is answered by the retriever that learned its task."""

    name: ClassVar[str] = "retriever-groups"
    config_class: ClassVar[type[Config]] = RetrieverGroupsConfig
    label: ClassVar[str] = "Unified model"
    origin: ClassVar[str] = "the unified model"
    score_kind: ClassVar[ScoreKind] = "similarity"
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
