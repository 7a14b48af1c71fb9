"""Judges a query and an item by an LLM: good or bad, and how sure it is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serendip.llm.prompt import Prompt
from serendip.llm.task import Task, TaskAnswer


class Judgement(TaskAnswer):
    """One judged pair."""

    label: Literal["good", "bad"]
    """Whether the item is what was asked for."""

    confidence: Annotated[float, Field(ge=0, le=1)]
    """How sure the judge is."""


def judge_task(prompt: str = "judge-1") -> Task[Judgement]:
    """The task by the name and version of its prompt."""
    return Task(Prompt.named(prompt), Judgement)
