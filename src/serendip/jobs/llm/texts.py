"""Texts by an LLM for items that have few words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from serendip.data import Catalogue, Dataset, Item
from serendip.data.store.tables.generated import Generated, text_digest, without_generated
from serendip.data.text import tokens
from serendip.jobs.context import JobContext
from serendip.jobs.llm.job import Writing, describe_item, put_generated
from serendip.llm.tasks import Enrichment, Task

MIN_DESCRIPTION_WORDS = 12
"""An item with a shorter description is thin."""


def read_original(context: JobContext) -> Dataset:
    """The dataset without generated texts and values: none is ever the source of another one."""
    original = without_generated(context.dataset.catalogue.items)
    return replace(context.dataset, catalogue=Catalogue(original))


def is_thin(item: Item) -> bool:
    """True if an item has a title and a description of less than ``MIN_DESCRIPTION_WORDS``."""
    return bool(item.title.strip()) and len(tokens(item.description)) < MIN_DESCRIPTION_WORDS


def ask_texts(context: JobContext) -> Writing[Enrichment]:
    """Ask for texts of thin items, the most popular first."""
    dataset, task = read_original(context), Task.of(Enrichment)
    items = dataset.catalogue.items
    order = np.argsort(-dataset.item_counts(), kind="stable").tolist()
    thin = [items[number] for number in order if is_thin(items[number])]

    def keep(answers: Sequence[Enrichment | None], model: str) -> dict[str, Any]:
        origin = model, task.prompt.name
        rows = [
            Generated("text", item.item_id, name, "llm", text, *origin, text_digest(item))
            for item, answer in zip(thin, answers, strict=True)
            if answer is not None
            for name, text in answer.texts(describe_item(item)).items()
        ]
        put_generated(context, rows)
        return {"thin": len(thin), "written": len(rows)}

    return Writing(task, [{"item": describe_item(item)} for item in thin], keep)
