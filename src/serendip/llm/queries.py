"""Queries that an LLM writes for an item: what people could search who do not know its title."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from serendip.llm.prompt import Prompt
from serendip.llm.task import Task, TaskAnswer


class WrittenQueries(TaskAnswer):
    """Searches for one item."""

    queries: Annotated[
        list[Annotated[str, Field(max_length=80)]], Field(min_length=1, max_length=8)
    ]
    """As somebody would type them."""


def queries_task(prompt: str = "queries-1") -> Task[WrittenQueries]:
    """The task by the name and version of its prompt."""
    return Task(Prompt.named(prompt), WrittenQueries)
