"""Which tasks share a retriever, and what a model of some of the tasks is trained with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator

from serendip.config import Config
from serendip.models.retriever_config import RetrieverConfig, Task
from serendip.models.retriever_log import block_size

Group = tuple[Task, ...]
ALL_TASKS: Group = ("home", "similar", "search")

_PER_SLOT: Mapping[Task, int] = {"home": 0, "similar": 1, "search": 2}
"""Requests of a task for one of ``slots``, as ``BatchMaker`` draws them."""


def _are_a_split(groups: tuple[Group, ...]) -> tuple[Group, ...]:
    named = [task for group in groups for task in group]
    if sorted(named) != sorted(ALL_TASKS) or not all(groups):
        raise ValueError(
            f"each of {', '.join(ALL_TASKS)} must be in one group, and named are: "
            f"{', '.join(named) or 'none'}"
        )
    return groups


Groups = Annotated[tuple[Group, ...], AfterValidator(_are_a_split)]


class UnifiedConfig(Config):
    """``[unified]``: which tasks share a model."""

    groups: Groups = (ALL_TASKS,)
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
    if group == frozenset(ALL_TASKS):
        return config.model_copy(update={"tasks": ALL_TASKS})
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
