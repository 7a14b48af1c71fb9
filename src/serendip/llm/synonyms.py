"""Other words that an LLM proposes; none is searched before people accept it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from serendip.llm.prompt import Prompt
from serendip.llm.task import Task, TaskAnswer


class WrittenSynonyms(TaskAnswer):
    """Other words for one term; none is an answer, too."""

    synonyms: Annotated[list[Annotated[str, Field(max_length=60)]], Field(max_length=6)]
    """What other people would type who mean the same."""


def synonyms_task(prompt: str = "synonyms-1") -> Task[WrittenSynonyms]:
    """The task by the name and version of its prompt."""
    return Task(Prompt.named(prompt), WrittenSynonyms)
