"""Unified two-tower retriever: one vector space for users, queries and items, on every surface.

An item vector combines content, semantic ID codes and a gated ID embedding. A request vector
encodes a history, a task, and the request's text and source items. The score is their dot product,
plus the content similarity of context and item if content was aligned with behaviour, plus item
quality if configured, plus a bonus for new items. Training uses torch (``retriever/train.py``);
serving is numpy with one ONNX graph for the context encoder. Sources: unified contextual models
(UniCoRn), semantic IDs with a raw content path (M3CSR), gated transformers (LiGR), sampled softmax
with log-Q correction.

``RetrieverGroups`` combines several retrievers, each for some of the tasks, into one model.
Whether one model should serve all tasks is decided by evidence: ``serendip evaluate --alignment``
measures the transfer between tasks and proposes a split. Each group has the training budget of the
model for all tasks, so a split of G groups costs G times as much.

Shapes: B queries, N items, U late items, D embedding size, S words size, E = D + S, C
content size, L code levels, V size of an index vector.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from serendip.config import Config
from serendip.data import BoolArray, Dataset, FloatArray, History, IntArray, Query, put_rows
from serendip.data.items.features import ItemFeatures, Tokens
from serendip.data.numeric import unit
from serendip.errors import UnsupportedError
from serendip.models.base import Recommender, ScoreKind, WarmStart
from serendip.models.embedding_space import CONTENT, NETWORK
from serendip.models.onnx import open_session
from serendip.models.query_scores import QueryScores, VectorScores
from serendip.models.retriever.artefact import QualityVector, RetrieverStart, TrainedRetriever
from serendip.models.retriever.config import RetrieverConfig, RetrieverGroupsConfig, group_config
from serendip.models.retriever.item_encoder import NEW_ITEM_BONUS
from serendip.models.retriever.requests import TASK_OF, build_requests
from serendip.models.vector_index import EXACT_UP_TO, VectorIndex, draw_contexts
from serendip.runtime.progress import TrainOptions

_NOISE = 1e-5
"""Smaller changes of projected content, relative to its largest value, are no new content."""


class Retriever(Recommender):
    """Two-tower retriever: scores are dot products of a request vector with item vectors."""

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
        self._index: VectorIndex | None
        self._session: Any = None

    @property
    def item_vectors(self) -> FloatArray:
        """(N, V) float32 index vectors: E of the network, content, quality, bonus."""
        return self.vectors_of(slice(None))

    def vectors_of(self, items: slice | NDArray[np.integer]) -> FloatArray:
        """Rows of ``item_vectors``, without computing the others."""
        self._require_trained()
        trained = self._trained
        parts = [trained.item_vectors[items]]
        parts += [] if trained.affinity is None else [trained.affinity.vectors_of(items)]
        parts += [] if trained.quality is None else [trained.quality.values[items]]
        return np.concatenate([*parts, trained.bonus[items][:, None]], 1)

    @property
    def parts(self) -> dict[str, int]:
        """Width of each part of an index vector, in order: part -> number of dimensions."""
        self._require_trained()
        trained = self._trained
        parts = {NETWORK: trained.item_vectors.shape[1]}
        if trained.affinity is not None:
            parts[CONTENT] = trained.affinity.size
        if trained.quality is not None:
            parts["quality"] = trained.quality.values.shape[1]
        return {**parts, "bonus": 1}

    def encode_queries(self, queries: Sequence[Query]) -> FloatArray:
        """(B, V) float32 vectors: ``encode_queries(q) @ item_vectors.T`` are the scores.

        Raises:
            UnsupportedError: a text vector has another size than the trained content vectors.
        """
        self._require_trained()
        affinity, quality = self._trained.affinity, self._trained.quality
        parts = [] if affinity is None else [affinity.of_queries(queries)]
        parts += [] if quality is None else [np.tile(quality.weights, (len(queries), 1))]
        ones = np.ones((len(queries), 1), np.float32)
        return np.concatenate([self._encode(queries), *parts, ones], 1)

    def _encode(self, queries: Sequence[Query]) -> FloatArray:
        """Request vectors (B, E) of the network, by the ONNX context encoder."""
        if not queries:
            return np.empty((0, self._trained.item_vectors.shape[1]), np.float32)
        requests = build_requests(
            queries,
            self._trained.item_vectors,
            self._trained.projected,
            self._codes,
            [self._project_text(query) for query in queries],
            self.config,
            self._trained.countries,
        )
        encoded: FloatArray = self._session.run(None, requests)[0]  # (B, 1, E)
        return encoded[:, 0]

    def _project_text(self, query: Query) -> FloatArray | None:
        """Project the query's text vector and tokens: (E,); None without a text."""
        tower, vector = self._trained.tower, query.text_vector
        width = tower.weight.shape[1]
        if vector is None or width == 0:
            return None
        if vector.shape != (width,):
            raise UnsupportedError(
                f"the text vector has shape {vector.shape}, and the retriever was trained on "
                f"content vectors of size {width}.",
                "Encode texts with the encoder of the items.",
            )
        words = Tokens.of_texts([query.searched] if tower.token_table is not None else ())
        projected: FloatArray = tower.project(vector.astype(np.float32)[None], words)[0]
        return projected

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        self._continue(dataset, options, WarmStart())

    def _continue(self, dataset: Dataset, options: TrainOptions, start: WarmStart) -> None:
        from serendip.models.retriever.train import train_retriever

        features = dataset.features
        codes = np.empty((dataset.num_items, 0), np.int32) if features is None else features.codes
        earlier = RetrieverStart.of(start)
        self._use(train_retriever(dataset, self.config, options, earlier), codes)

    def learned(self) -> Mapping[str, NDArray[Any]]:
        """Parameters of the network and tuned weights."""
        self._require_trained()
        return {} if self._trained.start is None else self._trained.start.arrays()

    def _use(self, trained: TrainedRetriever, codes: IntArray) -> None:
        self._trained, self._codes = trained, codes
        self._session, self._index = open_session(trained.context), None

    @property
    def quality(self) -> QualityVector | None:
        """Item quality and its weights; None = quality is not used."""
        self._require_trained()
        return self._trained.quality

    @property
    def num_parameters(self) -> int:
        """Trained parameters of the network, ID embeddings included; 0 = unknown."""
        self._require_trained()
        return self._trained.num_parameters

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        return self._trained.scores_of_all(self.encode_queries(queries))

    def _query_scores(self, queries: Sequence[Query]) -> QueryScores | None:
        if self._num_items <= EXACT_UP_TO:
            return None
        vectors = self.encode_queries(queries)  # (B, V)

        def score(row: int, items: IntArray) -> FloatArray:
            return self._trained.scores_of(vectors[row], items)

        def score_all() -> FloatArray:
            return self._trained.scores_of_all(vectors)

        return VectorScores(self._built_index(), vectors, score, self._num_items, score_all)

    def _built_index(self) -> VectorIndex:
        if self._index is None:
            contexts = draw_contexts(self.vectors_of, self.num_items)
            queries = self.encode_queries(self._typical_queries(contexts))
            self._index = VectorIndex.build(self.vectors_of, self.num_items, queries)
        return self._index

    def _typical_queries(self, contexts: Sequence[IntArray]) -> list[Query]:
        """Histories, single source items and, if items have content, texts near two of them."""
        affinity, queries = self._trained.affinity, list[Query]()
        for row, context in enumerate(contexts):
            history = History.of_items(context)
            if row % 2 and affinity is not None:
                another = contexts[row - 1][-1]
                text = unit(
                    affinity.aligned.content[np.array([context[-1], another])].sum(0)[None]
                )[0]
                past = history if row % 4 == 1 else History()
                queries.append(Query("search", text="*", text_vector=text, history=past))
            elif row % 4 == 0:
                queries.append(Query(history=history))
            else:
                queries.append(Query("similar", source_items=context[-1:]))
        return queries

    def _with_late(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        """Encode late items with the ID gate at 0.

        The trained ID embedding of changed ones is lost until the next training: it was added to
        the vector before the layer norm and cannot be separated again. Items whose projected
        content has not moved (posted again with another price, say) keep their vectors, IDs
        included. Changed ones get no new item bonus: editing a text must not raise an item.
        """
        trained, is_new = self._trained, item_nums >= self._num_items  # (U,)
        vectors, projected = trained.tower.encode(features, item_nums)  # (U, E) each
        rows = is_new.copy()
        if trained.tower.knows_new_items:
            rows[~is_new] = _find_moved(trained.projected[item_nums[~is_new]], projected[~is_new])
        nums, new, model = item_nums[rows], item_nums[is_new], copy.copy(self)
        bonus = np.full(len(new), NEW_ITEM_BONUS * trained.tower.knows_new_items)
        width = self._codes.shape[1]
        model._codes = put_rows(self._codes, nums, features.codes[rows, :width])
        model._trained = replace(
            trained,
            item_vectors=put_rows(trained.item_vectors, nums, vectors[rows]),
            projected=put_rows(trained.projected, nums, projected[rows]),
            bonus=put_rows(trained.bonus, new, bonus),
            affinity=trained.affinity and trained.affinity.put(nums, features.content[rows]),
            quality=trained.quality and trained.quality.with_new(new),
        )
        if self._index is not None:
            model._index = self._index.with_late(nums, model.vectors_of(nums))
        return model

    def _stored(self) -> dict[str, Any]:
        index = self._built_index() if self._num_items > EXACT_UP_TO else None
        return {"trained": self._trained, "codes": self._codes, "index": index}

    def _restore(self, learned: Mapping[str, Any]) -> None:
        self._use(learned["trained"], learned["codes"])
        self._index = learned["index"]


class RetrieverGroups(Recommender):
    """One retriever per task group; each query is scored by the retriever of its task."""

    name: ClassVar[str] = "retriever-groups"
    config_class: ClassVar[type[Config]] = RetrieverGroupsConfig
    label: ClassVar[str] = "Unified model"
    origin: ClassVar[str] = "the unified model"
    score_kind: ClassVar[ScoreKind] = "similarity"
    zero_means_unknown: ClassVar[bool] = False
    state: ClassVar[tuple[str, ...]] = ("_parts",)
    config: RetrieverGroupsConfig

    def __init__(self, config: RetrieverGroupsConfig | None = None) -> None:
        super().__init__(config)
        self._parts: tuple[Retriever, ...] = ()

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        self._continue(dataset, options, WarmStart())

    def _continue(self, dataset: Dataset, options: TrainOptions, start: WarmStart) -> None:
        parts = []
        for number, group in enumerate(self.config.groups):
            name = "-".join(group)
            inside = options.inside(name, 1 / (len(self.config.groups) - number))
            part = Retriever(group_config(self.config.retriever, group))
            parts.append(part.train(dataset, inside, start.part(name)))
        self._parts = tuple(parts)

    def learned(self) -> Mapping[str, NDArray[Any]]:
        """What the retriever of each group learned."""
        groups = ("-".join(group) for group in self.config.groups)
        return {
            f"{name}/{key}": array
            for name, part in zip(groups, self._parts, strict=True)
            for key, array in part.learned().items()
        }

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        scores = np.empty((len(queries), self.num_items), np.float32)
        for part, rows in self._rows(queries):
            scores[rows] = part.score_all([queries[row] for row in rows])
        return scores

    def _query_scores(self, queries: Sequence[Query]) -> QueryScores | None:
        parts = [part for part, _ in self._rows(queries)]
        return parts[0].query_scores(queries) if len(parts) == 1 else None

    def _rows(self, queries: Sequence[Query]) -> Iterator[tuple[Retriever, list[int]]]:
        for part, group in zip(self._parts, self.config.groups, strict=True):
            tasks = {TASK_OF[task] for task in group}
            rows = [row for row, query in enumerate(queries) if TASK_OF[query.task] in tasks]
            if rows:
                yield part, rows

    def _with_late(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        model = copy.copy(self)
        model._parts = tuple(part.with_late(features, item_nums) for part in self._parts)
        return model


def _find_moved(before: FloatArray, after: FloatArray) -> BoolArray:
    """Which rows (M,) of projected content (M, E) differ by more than rounding does.

    ``before`` may have been stored with fewer digits; a value was then rounded by at most half of
    the distance to the next one.
    """
    rounding = np.spacing(np.abs(before)).astype(np.float32) / 2  # (M, E)
    noise = _NOISE * np.abs(after).max(1, keepdims=True, initial=0.0)  # (M, 1)
    return np.asarray((np.abs(after - before) > rounding + noise).any(1))
