"""The unified retriever: one space of vectors for users, queries and items, on every surface.

An item is its content, its codes and a gated memory of its id; a request is a history, a task, and
what it carries of words and source items; the score is their dot product, plus how alike content
says they are where it was aligned with behaviour, plus a bonus for new items. Training is torch and
lives in ``retriever_training``; what answers is numpy, and one ONNX graph for the context. (Ideas:
unified contextual models as in UniCoRn, semantic IDs with a raw content path as in M3CSR, gated
transformers as in LiGR, sampled softmax with log-Q correction.)

Shapes: B queries, N items, D embedding size, C content size, L levels, K codes per level.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from serendip.config import Config
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset, ItemFeatures
from serendip.data.query import Query
from serendip.errors import ArtefactError, UnsupportedError
from serendip.models.base import Recommender
from serendip.models.export import open_session, read_model
from serendip.models.retriever_affinity import ContentAffinity
from serendip.models.retriever_context import build_requests
from serendip.models.retriever_tower import TowerArrays
from serendip.models.sparse import with_rows
from serendip.scale.options import TrainOptions

CONTEXT_FILE, VECTORS_FILE, TOWER_FILE = "context.onnx", "item_vectors.npy", "tower.npz"

_MOVED = 1e-3
"""Projected content (values near 1) that differs by more is other content, not rounding."""


ItemMode = Literal["id", "content", "codes", "content+codes", "content+codes+id"]
Task = Literal["home", "similar", "search"]
Imputation = Literal["source-text", "last-item"]


class RetrieverConfig(Config):
    """Sizes and training of the retriever."""

    item_mode: ItemMode = "content+codes+id"
    """What an item's vector is made of. ``id`` alone is the classic hash ID, which says nothing of
    an item that nobody has chosen yet; the others are its semantic counterparts."""

    embedding_size: int = Field(default=64, ge=1)
    """D, size of all vectors."""

    num_layers: int = Field(default=1, ge=1)
    """Transformer blocks."""

    num_heads: int = Field(default=2, ge=1)
    """Attention heads; must divide ``embedding_size``."""

    max_len: int = Field(default=50, ge=1)
    """Most recent events of a history that are read."""

    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of the steps' values and of a block's branches that is dropped while training."""

    id_dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of items whose id is hidden in a step, so that new items are nothing unusual."""

    temperature: float = Field(default=0.1, gt=0)
    """tau: scores are near cosine / tau when training starts."""

    num_negatives: int = Field(default=256, ge=1)
    """Uniform negatives of a step, beside the other targets of the step."""

    learning_rate: float = Field(default=3e-3, gt=0)
    """Highest step size; it rises for a twentieth of the training and falls to nearly nothing."""

    id_learning_rate: float = Field(default=3.0, gt=0)
    """Step size of id embeddings relative to the others: an id is seen in few steps."""

    reg: float = Field(default=0.01, ge=0)
    """Decoupled weight decay."""

    epochs: int = Field(default=4, ge=1)
    """Most passes over the events."""

    patience: int = Field(default=4, ge=1)
    """Passes without a better validation before training stops. While the rate is high a pass or
    two may well be worse; what counts comes at the end, when it falls."""

    num_lenders: int = Field(default=5, ge=0)
    """Nearest items by content, aligned with behaviour where that is known, whose ids, in the mean,
    stand in for an id that is unknown or hidden; 0 = nothing stands in for it."""

    batch_size: int = Field(default=1024, ge=1)
    """Events in a step, about."""

    validation_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of the newest events that decides when to stop; then they are learned, too."""

    tasks: tuple[Task, ...] = Field(default=("home", "similar", "search"), min_length=1)
    """What is learned and decides when to stop. One task alone makes a specialist of it."""

    slots: int = Field(default=4, ge=0)
    """Requests per row of each task but home, which has one per event; search has as many again
    without a history. 0 = the home task only."""

    imputation: tuple[Imputation, ...] = ("source-text", "last-item")
    """What stands in for context that a request lacks: ``source-text``, for similar requests
    without words, the content of what they are about; ``last-item``, for home requests, the last
    item of the history as their source."""

    blind_share: float = Field(default=0.1, ge=0, le=1)
    """Share of home requests that see no history: what to show to an unknown visitor."""

    content_scale: float = Field(default=1.0, gt=0)
    """Size of projected content when training starts."""

    code_scale: float = Field(default=0.1, ge=0)
    """Size of code embeddings when training starts."""

    new_item_bonus: float = Field(default=0.25, ge=0)
    """Added to the scores of items that nobody had chosen in training, which a network that knows
    all others by heart underrates; in the modes that know something of them. A dial of
    exploration: what it gives to new items it takes from the rest."""

    id_start: Literal["co-occurrence", "random"] = "co-occurrence"
    """Where id embeddings are when training starts: at who is chosen beside whom, or anywhere."""

    id_scale: float = Field(default=1.0, ge=0)
    """Root mean square of the numbers of an id embedding when training starts; projected content
    has 1. Random ids of mode ``id`` have 1, too, whatever is said here."""

    def reads(self, part: Literal["id", "content", "codes"]) -> bool:
        """True where an item's vector holds this part."""
        return part in self.item_mode.split("+")

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.embedding_size % self.num_heads:
            raise ValueError(f"num_heads = {self.num_heads} does not divide embedding_size")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class TrainedRetriever:
    """Everything that training leaves behind.

    Args:
        context: ONNX bytes of the context encoder.
        item_vectors: (N, D).
        projected: (N, D) projected content of the items.
        tower: for items that come later.
        bonus: (N,) float32 what is added to each item's scores.
        affinity: what aligned content says beside the network; None = nothing was aligned.
        num_parameters: learned numbers of the network; 0 = not known, in earlier artefacts.
    """

    context: bytes
    item_vectors: FloatArray
    projected: FloatArray
    tower: TowerArrays
    bonus: FloatArray
    affinity: ContentAffinity | None = None
    num_parameters: int = 0


class Retriever(Recommender):
    """Scores items by the dot product of a request's vector with theirs."""

    name: ClassVar[str] = "retriever"
    config_class: ClassVar[type[Config]] = RetrieverConfig
    zero_means_unknown: ClassVar[bool] = False
    config: RetrieverConfig

    def __init__(self, config: RetrieverConfig | None = None) -> None:
        super().__init__(config)
        self._trained: TrainedRetriever
        self._codes: IntArray
        self._session: Any = None

    @property
    def item_vectors(self) -> FloatArray:
        """(N, E) float32 vectors: the network's D, aligned content if any, and the bonus."""
        self._require_trained()
        now = self._trained
        aligned = [] if now.affinity is None else [now.affinity.vectors]
        return np.concatenate([now.item_vectors, *aligned, now.bonus[:, None]], 1)

    def encode_queries(self, queries: Sequence[Query]) -> FloatArray:
        """(B, E) float32 vectors: ``encode_queries(q) @ item_vectors.T`` are the scores.

        Raises:
            UnsupportedError: a text vector has another size than the content it was trained on.
        """
        self._require_trained()
        affinity = self._trained.affinity
        aligned = [] if affinity is None else [affinity.of_queries(queries)]
        ones = np.ones((len(queries), 1), np.float32)
        return np.concatenate([self._encode(queries), *aligned, ones], 1)

    def _encode(self, queries: Sequence[Query]) -> FloatArray:
        """(B, D) what the network says."""
        if not queries:
            return np.empty((0, self.config.embedding_size), np.float32)
        requests = build_requests(
            queries,
            self._trained.item_vectors,
            self._trained.projected,
            self._codes,
            [self._project(query.text_vector) for query in queries],
            self.config,
        )
        feed = {field.name: getattr(requests, field.name) for field in fields(requests)}
        encoded: FloatArray = self._session.run(None, feed)[0]
        return encoded[:, 0]

    def _project(self, vector: FloatArray | None) -> FloatArray | None:
        tower = self._trained.tower
        width = tower.weight.shape[1]
        if vector is None or width == 0:
            return None
        if vector.shape != (width,):
            raise UnsupportedError(
                f"a text vector of shape {vector.shape} for a retriever of content size {width}.",
                "Encode texts with the encoder that the items were encoded with.",
            )
        projected: FloatArray = tower.project(vector.astype(np.float32)[None])[0]
        return projected

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        from serendip.models.retriever_training import train_retriever

        features = dataset.features
        codes = np.empty((dataset.num_items, 0), np.int32) if features is None else features.codes
        self._use(train_retriever(dataset, self.config, options), codes)

    def _use(self, trained: TrainedRetriever, codes: IntArray) -> None:
        self._trained, self._codes = trained, codes
        self._session = open_session(trained.context)

    @property
    def num_parameters(self) -> int:
        """Learned numbers of the network, id embeddings included; 0 = not known."""
        self._require_trained()
        return self._trained.num_parameters

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        now = self._trained
        scores: FloatArray = self._encode(queries) @ now.item_vectors.T + now.bonus
        if now.affinity is not None:
            scores += now.affinity.of_queries(queries) @ now.affinity.vectors.T
        return scores

    def _with_items(self, features: ItemFeatures) -> Self:
        now = self._trained
        vectors, projected = now.tower.encode(features, len(features))
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
        vectors, projected = now.tower.encode(features, len(features))
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
        now = self._trained
        (folder / CONTEXT_FILE).write_bytes(now.context)
        np.save(folder / VECTORS_FILE, np.stack([now.item_vectors, now.projected]))
        tower = now.tower
        path, codes = folder / TOWER_FILE, self._codes
        arrays: dict[str, Any] = {
            "weight": tower.weight,
            "bias": tower.bias,
            "tables": tower.tables,
            "ids": tower.ids,
            "likeness": tower.likeness,
            "bonus": now.bonus,
            "num_parameters": np.asarray(now.num_parameters),
            **({} if now.affinity is None else now.affinity.arrays()),
        }
        np.savez(path, codes=codes, **arrays)

    def _open(self, folder: Path) -> None:
        context = read_model(folder / CONTEXT_FILE)
        try:
            vectors, projected = np.load(folder / VECTORS_FILE, allow_pickle=False)
            with np.load(folder / TOWER_FILE, allow_pickle=False) as stored:
                affinity = None
                if "aligned" in stored.files:
                    affinity = ContentAffinity.of_arrays(stored)
                # Earlier artefacts sought lenders by content as it is.
                aligns = affinity is not None and "likeness" in stored.files
                tower = TowerArrays(
                    stored["weight"],
                    stored["bias"],
                    stored["tables"],
                    stored["ids"],
                    stored["likeness" if "likeness" in stored.files else "content"],
                    self.config.num_lenders,
                    self.config.reads("content"),
                    affinity.projection if affinity and aligns else None,
                )
                # Earlier artefacts hold no codes: of their long histories the end is read.
                nothing = np.empty((len(vectors), 0), np.int32)
                codes = stored["codes"] if "codes" in stored.files else nothing
                size = int(stored["num_parameters"]) if "num_parameters" in stored.files else 0
                bonus = np.zeros(len(vectors), np.float32)
                if "bonus" in stored.files:
                    bonus = stored["bonus"]
                else:  # Earlier artefacts gave none, to new items either.
                    self.config = self.config.model_copy(update={"new_item_bonus": 0.0})
        except (OSError, ValueError, KeyError) as error:
            raise ArtefactError(f"{folder} holds no readable retriever: {error}.") from None
        trained = TrainedRetriever(context, vectors, projected, tower, bonus, affinity, size)
        self._use(trained, codes)
