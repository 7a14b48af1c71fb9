"""Hyperparameters of the unified retriever, and of task groups with a retriever each.

``RetrieverConfig`` configures one retriever. ``UnifiedConfig`` says which tasks share one, and
``group_config`` gives the retriever of a task group the training budget of the one for all tasks.

Shapes: D embedding size, S search size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from serendip.config import Config
from serendip.data.query import RETRIEVAL_TASKS, RetrievalTask


def block_size(max_len: int) -> int:
    """Training targets of a full row of ``max_len`` events: half of it, at least 1."""
    return max(1, max_len // 2)


ItemMode = Literal["id", "content", "codes", "content+codes", "content+codes+id"]
Imputation = Literal["source-text", "last-item"]


class RetrieverConfig(Config):
    """Architecture and training of the retriever (``[models.retriever]``)."""

    item_mode: ItemMode = "content+codes+id"
    """Parts of an item vector. ``id`` alone is the classic ID embedding, which knows nothing about
    an item without events; the other modes generalise to new items."""

    embedding_size: int = Field(default=64, ge=1)
    """D: dimensions of a vector used by every task."""

    search_size: int = Field(default=32, ge=0)
    """S: extra dimensions used by search only. Search gradients update these S dimensions and
    search's own transformer blocks, not the D shared ones: search and next-item pull item vectors
    apart. 0 = everything is shared. Ignored unless search is trained together with other tasks."""

    token_buckets: int = Field(default=0, ge=0)
    """Rows of the embedding table of words and attribute values, shared by items and queries.
    Tokens are hashed to rows, so two may collide. 0 = no table, words are read by the text encoder
    only."""

    attributes: tuple[str, ...] = ()
    """Item fields read as attribute values (a location, say) in addition to the content fields, if
    there is a token table. Each prefix of a path (``Germany / Berlin``) is a value."""

    num_layers: int = Field(default=1, ge=1)
    """Transformer blocks. With ``search_size`` > 0 search has the same number of its own."""

    num_heads: int = Field(default=2, ge=1)
    """Attention heads. Must divide ``embedding_size``, and the sum of it and ``search_size``."""

    max_len: int = Field(default=50, ge=1)
    """Events of a history that are read, the most recent ones."""

    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout on history steps, requests and the residual branches of blocks, in training only."""

    id_dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of items whose ID is hidden in a training step, so that new items are in distribution.
    Higher = more weight on content, less on memorised IDs."""

    temperature: float = Field(default=0.1, gt=0)
    """Softmax temperature tau: scores start at about cosine / tau. Lower = sharper softmax."""

    num_negatives: int = Field(default=256, ge=1)
    """Uniform negatives per training step, in addition to its targets (in-batch negatives). More =
    closer to the full softmax, and slower."""

    learning_rate: float = Field(default=3e-3, gt=0)
    """Highest learning rate: linear warm-up over the first 5 % of the training, then cosine decay
    to 2 % of it."""

    id_learning_rate: float = Field(default=3.0, gt=0)
    """Learning rate of ID embeddings as a multiple of ``learning_rate``: an ID gets few updates."""

    reg: float = Field(default=0.01, ge=0)
    """Decoupled weight decay (AdamW)."""

    epochs: int = Field(default=4, ge=1)
    """Maximum number of epochs, passes over the training events."""

    continued_epochs: int = Field(default=2, ge=1)
    """Epochs of a training that continues from one on older events, with the same learning rates
    and without validation. In ``serendip train`` the ranker learns from candidates of a retriever
    of the older events, which then continues on all events."""

    most_events: int = Field(default=2_500_000, ge=1)
    """Events that a training learns at most, each counted once per epoch: a longer log is learned
    in fewer epochs, at least one."""

    patience: int = Field(default=4, ge=1)
    """Epochs without a better validation score before training stops. While the learning rate is
    high an epoch or two may be worse; most of the gain comes at the end, when it falls."""

    num_id_donors: int = Field(default=5, ge=0)
    """Cold start: an item without a trained ID embedding (or with a hidden one) gets the mean ID
    embedding of its ``num_id_donors`` nearest items, the ID donors, in content space (aligned with
    behaviour, if an alignment was fitted). 0 = off."""

    batch_size: int = Field(default=1024, ge=1)
    """Events per training step, about."""

    validation_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of the events, the newest, held out for early stopping and learned at the end. Also the
    share of query texts held out. Without effect on events if the dataset has validation
    targets."""

    tasks: tuple[RetrievalTask, ...] = Field(default=RETRIEVAL_TASKS, min_length=1)
    """Tasks that are trained and validated. A single task makes a specialist."""

    slots: int = Field(default=4, ge=0)
    """Requests per row of each task but home, for a full row of ``max_len // 2`` targets (each of
    which is a home request). Shorter rows have fewer in proportion, at least one. Search has the
    same number again without history. 0 = the home task only."""

    imputation: tuple[Imputation, ...] = ("source-text", "last-item")
    """Imputation of missing context. ``source-text``: similar requests without a text use the
    content of their source items. ``last-item``: home requests use the last item of the history as
    their source."""

    blind_share: float = Field(default=0.1, ge=0, le=1)
    """Share of home requests trained without history: recommendations for unknown visitors."""

    code_scale: float = Field(default=0.1, ge=0)
    """Standard deviation of code embeddings at the start of training."""

    new_item_bonus: float = Field(default=0.25, ge=0)
    """Added to the scores of items without training events, which the network underrates because it
    has memorised the others. Only in item modes other than ``id``. A dial of exploration: higher =
    more new items at the expense of the rest."""

    quality_loss: float = Field(default=0.0, ge=0, lt=1)
    """Share of nDCG@10 of validation requests that may be given up for better item quality in the
    top ten; the weights of the quality vector are the best ones within this bound. They are used
    only if other requests, of every task, lose no more than that and no loss is shown. 0 = quality
    is not used."""

    def reads(self, part: Literal["id", "content", "codes"]) -> bool:
        """True if item vectors contain this part."""
        return part in self.item_mode.split("+")

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.embedding_size % self.num_heads:
            raise ValueError(f"num_heads = {self.num_heads} does not divide embedding_size")
        return self


Group = tuple[RetrievalTask, ...]

_PER_SLOT: Mapping[RetrievalTask, int] = {"home": 0, "similar": 1, "search": 2}
"""Requests of a task per slot, as ``BatchBuilder`` draws them."""


def _check_partition(groups: tuple[Group, ...]) -> tuple[Group, ...]:
    tasks = [task for group in groups for task in group]
    if sorted(tasks) != sorted(RETRIEVAL_TASKS) or not all(groups):
        raise ValueError(
            f"each of {', '.join(RETRIEVAL_TASKS)} must be in one group, and the groups hold: "
            f"{', '.join(tasks) or 'none'}"
        )
    return groups


Groups = Annotated[tuple[Group, ...], AfterValidator(_check_partition)]


class UnifiedConfig(Config):
    """Which tasks share a retriever (``[unified]``)."""

    groups: Groups = (RETRIEVAL_TASKS,)
    """Groups of tasks, each with a retriever of its own. One group of all tasks = unified model."""


class RetrieverGroupsConfig(UnifiedConfig):
    """Task groups and the common config of their retrievers."""

    retriever: RetrieverConfig = RetrieverConfig()
    """Config of the model for all tasks, from which ``group_config`` makes that of each group."""


def group_config(config: RetrieverConfig, tasks: Sequence[RetrievalTask]) -> RetrieverConfig:
    """Config of a retriever for some tasks, with the training budget of the one for all tasks.

    It draws at least as many requests per full row. Home has exactly one request per event, so a
    model of home alone trains for more epochs instead. Vectors keep their total size E = D + S:
    where search has no part of its own, D grows by S.
    """
    group = frozenset(tasks)
    if group == frozenset(RETRIEVAL_TASKS):
        return config.model_copy(update={"tasks": RETRIEVAL_TASKS})
    changed: dict[str, Any] = {"tasks": tuple(tasks)}
    block = block_size(config.max_len)
    total = block + config.slots * sum(_PER_SLOT.values())
    if group == {"home"}:
        changed["epochs"] = math.ceil(config.epochs * total / block)
        changed["continued_epochs"] = math.ceil(config.continued_epochs * total / block)
    else:
        rest = total - block * ("home" in group)
        changed["slots"] = math.ceil(rest / sum(_PER_SLOT[task] for task in group))
    if not {"search"} < group:
        changed["embedding_size"] = config.embedding_size + config.search_size
        changed["search_size"] = 0
    return config.model_copy(update=changed)


def unified_retriever(
    config: RetrieverConfig, unified: UnifiedConfig
) -> tuple[str, RetrieverConfig | RetrieverGroupsConfig]:
    """Name and config of the model for all tasks: one retriever, or one per task group."""
    if len(unified.groups) == 1:
        return "retriever", config
    return "retriever-groups", RetrieverGroupsConfig(groups=unified.groups, retriever=config)
