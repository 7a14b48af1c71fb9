"""Hyperparameters of the unified retriever, and of task groups with a retriever each.

Shapes: D embedding size, S search size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from serendip.config import INTERNAL, Config
from serendip.data.query import RETRIEVAL_TASKS, RetrievalTask


def block_size(max_len: int) -> int:
    """Training targets of a full row of ``max_len`` events: half of it, at least 1."""
    return max(1, max_len // 2)


ItemMode = Literal["id", "content", "codes", "content+codes", "content+codes+id"]


class RetrieverConfig(Config):
    """Architecture and training of the retriever (``[models.retriever]``)."""

    item_mode: Annotated[ItemMode, INTERNAL] = "content+codes+id"
    """Parts of an item vector. ``id`` alone is the classic ID embedding, which knows nothing about
    an item without events; the other modes generalise to new items."""

    embedding_size: Annotated[int, INTERNAL] = Field(default=64, ge=1)
    """D: dimensions of a vector used by every task."""

    search_size: Annotated[int, INTERNAL] = Field(default=32, ge=0)
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

    max_len: Annotated[int, INTERNAL] = Field(default=50, ge=1)
    """Events of a history that are read, the most recent ones."""

    dropout: Annotated[float, INTERNAL] = Field(default=0.2, ge=0, lt=1)
    """Dropout on history steps, requests and the residual branches of blocks, in training only."""

    num_negatives: Annotated[int, INTERNAL] = Field(default=256, ge=1)
    """Uniform negatives per training step, in addition to its targets (in-batch negatives). More =
    closer to the full softmax, and slower."""

    learning_rate: Annotated[float, INTERNAL] = Field(default=3e-3, gt=0)
    """Highest learning rate: linear warm-up over the first 5 % of the training, then cosine decay
    to 2 % of it."""

    epochs: Annotated[int, INTERNAL] = Field(default=4, ge=1)
    """Maximum number of epochs, passes over the training events."""

    continued_epochs: Annotated[int, INTERNAL] = Field(default=2, ge=1)
    """Epochs of a training that continues from one on older events, with the same learning rates
    and without validation. In ``serendip train`` the ranker learns from candidates of a retriever
    of the older events, which then continues on all events."""

    patience: Annotated[int, INTERNAL] = Field(default=4, ge=1)
    """Epochs without a better validation score before training stops. While the learning rate is
    high an epoch or two may be worse; most of the gain comes at the end, when it falls."""

    batch_size: Annotated[int, INTERNAL] = Field(default=1024, ge=1)
    """Events per training step, about."""

    validation_share: Annotated[float, INTERNAL] = Field(default=0.05, ge=0, lt=1)
    """Share of the events, the newest, held out for early stopping and learned at the end. Also the
    share of query texts held out. Without effect on events if the dataset has validation
    targets."""

    tasks: Annotated[tuple[RetrievalTask, ...], INTERNAL] = Field(
        default=RETRIEVAL_TASKS, min_length=1
    )
    """Tasks that are trained and validated. A single task makes a specialist."""

    slots: Annotated[int, INTERNAL] = Field(default=4, ge=0)
    """Requests per row of each task but home, for a full row of ``max_len // 2`` targets (each of
    which is a home request). Shorter rows have fewer in proportion, at least one. Search has the
    same number again without history. 0 = the home task only."""

    blind_share: Annotated[float, INTERNAL] = Field(default=0.1, ge=0, le=1)
    """Share of home requests trained without history: recommendations for unknown visitors."""

    code_scale: Annotated[float, INTERNAL] = Field(default=0.1, ge=0)
    """Standard deviation of code embeddings at the start of training."""

    quality_loss: float = Field(default=0.0, ge=0, lt=1)
    """Share of nDCG@10 of the validation requests of each task that may be given up for better
    items; quality has the largest weight within this bound. 0 = quality is not used."""

    def reads(self, part: Literal["id", "content", "codes"]) -> bool:
        """True if item vectors contain this part."""
        return part in self.item_mode.split("+")


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
