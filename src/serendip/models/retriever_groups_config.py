"""Which tasks share a retriever, and what a model of some of the tasks is trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator

from serendip.config import Config
from serendip.models.retriever_config import RetrieverConfig, Task

Group = tuple[Task, ...]
ALL_TASKS: Group = ("home", "similar", "search")

_SLOTS_OF: Mapping[frozenset[str], float] = {
    frozenset({"search"}): 2.0,
    frozenset({"similar"}): 4.0,
    frozenset({"home", "search"}): 1.5,
    frozenset({"home", "similar"}): 3.0,
    frozenset({"search", "similar"}): 1.5,
}
"""Slots of a group relative to the model of all tasks, so that a row has as many requests: of S
slots search makes two requests each, one of them without a history, similar makes one."""


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

    It draws as many requests per row; home alone has one request per event and cannot have more,
    so it has half as many passes again: of a full row of all tasks, 25 of 37 requests are home's.
    Its vectors are as long: where search has no part of its own, the other part is longer by that.
    """
    group = frozenset(tasks)
    if group == frozenset(ALL_TASKS):
        return config.model_copy(update={"tasks": ALL_TASKS})
    changed: dict[str, Any] = {"tasks": tuple(tasks)}
    if group == {"home"}:
        changed["epochs"] = round(1.5 * config.epochs)
    else:
        changed["slots"] = round(_SLOTS_OF[group] * config.slots)
    if not {"search"} < group:
        changed["embedding_size"] = config.embedding_size + config.words_size
    return config.model_copy(update=changed)


def unified_retriever(
    config: RetrieverConfig, unified: UnifiedConfig
) -> tuple[str, RetrieverConfig | RetrieverGroupsConfig]:
    """Name and config of the model that answers all tasks: one retriever, or one per group."""
    if len(unified.groups) == 1:
        return "retriever", config
    return "retriever-groups", RetrieverGroupsConfig(groups=unified.groups, retriever=config)
