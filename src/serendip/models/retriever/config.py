"""What can be said about a retriever before it is trained.

Which tasks share a retriever, and what a model of some of the tasks is trained with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from serendip.config import Config
from serendip.data.query import TASKS, Task


def block_size(max_len: int) -> int:
    """Targets of a full row of ``max_len`` events."""
    return max(1, max_len // 2)


ItemMode = Literal["id", "content", "codes", "content+codes", "content+codes+id"]
Imputation = Literal["source-text", "last-item"]


class RetrieverConfig(Config):
    """Sizes and training of the retriever."""

    item_mode: ItemMode = "content+codes+id"
    """What an item's vector is made of. ``id`` alone is the classic hash ID, which says nothing of
    an item that nobody has chosen yet; the others are its semantic counterparts."""

    embedding_size: int = Field(default=64, ge=1)
    """D, numbers of a vector that answer every task."""

    words_size: int = Field(default=32, ge=0)
    """S, further numbers of an item's vector, which answer search alone, beside the others: what a
    query means and what is chosen next pull an item to different places, so search moves these of
    the items that it compares, and not the D, and reads histories with blocks of its own. 0 = there
    are none, search moves the D and shares the blocks; so it is, too, where search is learned alone
    or not at all."""

    token_buckets: int = Field(default=0, ge=0)
    """Rows of the table of words and attribute values that items and queries share; tokens are
    numbered by a hash, so two may meet in a row. 0 = words are read by the text encoder alone."""

    attributes: tuple[str, ...] = ()
    """Item fields whose texts are read as attribute values beside those of the content's fields,
    where there is such a table: the place where an item is, say. Of a path (``Germany / Berlin``)
    each beginning is a value."""

    num_layers: int = Field(default=1, ge=1)
    """Transformer blocks; search has as many of its own beside them, see ``words_size``."""

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

    hard_negatives: int = Field(default=0, ge=0)
    """Further negatives of a step, near its targets, in the second half of the passes: the first
    half tells apart what is far away. For catalogues of more than twice ``num_negatives`` items:
    smaller ones are scored whole. Each of these passes compares all items with one another."""

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

    tasks: tuple[Task, ...] = Field(default=TASKS, min_length=1)
    """What is learned and decides when to stop. One task alone makes a specialist of it."""

    slots: int = Field(default=4, ge=0)
    """Requests of each task but home for a full row of ``max_len // 2`` events, each of which is a
    home request; steps of shorter rows have fewer in proportion, at least one. Search has as many
    again without a history. 0 = the home task only."""

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

    quality_loss: float = Field(default=0.0, ge=0, lt=1)
    """Share of nDCG@10 on held-out events that may be given for better items in the first ten; the
    weights of the quality vector are the best ones under this bound. 0 = quality is not read."""

    id_start: Literal["co-occurrence", "random"] = "co-occurrence"
    """Where id embeddings are when training starts: at who is chosen beside whom, turned onto what
    content says, or anywhere."""

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


Group = tuple[Task, ...]

_PER_SLOT: Mapping[Task, int] = {"home": 0, "similar": 1, "search": 2}
"""Requests of a task for one of ``slots``, as ``BatchBuilder`` draws them."""


def _are_a_split(groups: tuple[Group, ...]) -> tuple[Group, ...]:
    named = [task for group in groups for task in group]
    if sorted(named) != sorted(TASKS) or not all(groups):
        raise ValueError(
            f"each of {', '.join(TASKS)} must be in one group, and named are: "
            f"{', '.join(named) or 'none'}"
        )
    return groups


Groups = Annotated[tuple[Group, ...], AfterValidator(_are_a_split)]


class UnifiedConfig(Config):
    """``[unified]``: which tasks share a model."""

    groups: Groups = (TASKS,)
    """One retriever for each group of tasks; one group of all tasks is the unified model."""


class RetrieverGroupsConfig(UnifiedConfig):
    """Groups, and what their retrievers have in common."""

    retriever: RetrieverConfig = RetrieverConfig()
    """Of the model of all tasks; see ``group_config``."""


def group_config(config: RetrieverConfig, tasks: Sequence[Task]) -> RetrieverConfig:
    """The config of a model that learns only some tasks, with the budget of the one for all.

    In a training it draws at least as many requests for full rows. Home has one request per event
    and cannot have more, so home alone has more passes. Its vectors are as long as those of the
    model of all tasks where that has queries to learn: where search has no part of its own, the
    other part is longer by that.
    """
    group = frozenset(tasks)
    if group == frozenset(TASKS):
        return config.model_copy(update={"tasks": TASKS})
    changed: dict[str, Any] = {"tasks": tuple(tasks)}
    block = block_size(config.max_len)
    total = block + config.slots * sum(_PER_SLOT.values())
    if group == {"home"}:
        changed["epochs"] = math.ceil(config.epochs * total / block)
    else:
        left = total - block * ("home" in group)
        changed["slots"] = math.ceil(left / sum(_PER_SLOT[task] for task in group))
    if not {"search"} < group:
        changed["embedding_size"] = config.embedding_size + config.words_size
        changed["words_size"] = 0
    return config.model_copy(update=changed)


def unified_retriever(
    config: RetrieverConfig, unified: UnifiedConfig
) -> tuple[str, RetrieverConfig | RetrieverGroupsConfig]:
    """Name and config of the model that answers all tasks: one retriever, or one per group."""
    if len(unified.groups) == 1:
        return "retriever", config
    return "retriever-groups", RetrieverGroupsConfig(groups=unified.groups, retriever=config)
