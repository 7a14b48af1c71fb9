"""Texts for items: by an LLM for those that have few words, or of the queries that one wrote.

Written queries are appended to their items, thin or not, which so are found by words that people
would type (doc2query, Nogueira et al. 2019, arXiv:1904.08375). The retriever and the ranker learn
from others of them (``suggestions.build``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from serendip.data import Catalogue, Dataset, Item
from serendip.data.store.tables.generated import Generated, text_digest, without_generated
from serendip.data.text import tokens
from serendip.errors import DataError
from serendip.jobs.context import JobContext
from serendip.jobs.llm.job import Question, Writing, describe_item
from serendip.jobs.suggestions.build import hash_written_queries, is_for_texts, read_written_queries
from serendip.llm.tasks import Enrichment, Task

WRITTEN_MODEL = "written queries"
"""Origin of texts that are written queries; their prompt is the hash of all of these."""

MIN_DESCRIPTION_WORDS = 12
"""An item with a shorter description is thin."""


def read_original(context: JobContext) -> Dataset:
    """The dataset without generated texts and values: none is ever the source of another one."""
    original = without_generated(context.dataset.catalogue.items)
    return replace(context.dataset, catalogue=Catalogue(original))


def is_thin(item: Item) -> bool:
    """True if an item has a title and a description of less than ``MIN_DESCRIPTION_WORDS``."""
    return bool(item.title.strip()) and len(tokens(item.description)) < MIN_DESCRIPTION_WORDS


@dataclass(frozen=True, eq=False)
class TextWriting(Writing[Enrichment]):
    """Asks for texts of thin items."""

    context: JobContext

    task = Task.of(Enrichment)

    @cached_property
    def thin(self) -> list[Item]:
        """Thin items, the most popular first."""
        dataset = read_original(self.context)
        items = dataset.catalogue.items
        order = np.argsort(-dataset.item_counts(), kind="stable").tolist()
        return [items[number] for number in order if is_thin(items[number])]

    def questions(self) -> list[Question]:
        """One about each thin item."""
        return [{"item": describe_item(item)} for item in self.thin]

    def keep(self, answers: Sequence[Enrichment | None], model: str) -> dict[str, Any]:
        """Store the texts, which are used only after they pass the gate."""
        rows = [
            Generated(
                *("text", item.item_id, name, "llm"),
                *(text, model, self.task.prompt.name, text_digest(item)),
            )
            for item, answer in zip(self.thin, answers, strict=True)
            if answer is not None
            for name, text in answer.texts(describe_item(item)).items()
        ]
        with self.context.workspace.open_store() as store:
            store.generated.put(rows)
        return {"thin": len(self.thin), "written": len(rows)}


def write_query_texts(context: JobContext) -> dict[str, Any]:
    """Store the part for texts of the queries that an LLM wrote, one text per item.

    Raises:
        DataError: there are no such queries.
    """
    catalogue, by_item = read_original(context).catalogue, dict[int, list[str]]()
    for query in read_written_queries(context.workspace, catalogue):
        if is_for_texts(query.text):
            by_item.setdefault(int(query.items[0]), []).append(query.text)
    if not by_item:
        raise DataError(
            "an LLM has written no queries for the current items.",
            "Run `serendip llm run queries` and `serendip llm gate queries` first.",
        )
    origin = WRITTEN_MODEL, hash_written_queries(context.workspace)[:12]
    rows = [
        Generated(
            *("text", catalogue[number].item_id, "queries", "queries"),
            *(", ".join(texts), *origin, text_digest(catalogue[number])),
        )
        for number, texts in sorted(by_item.items())
    ]
    with context.workspace.open_store() as store:
        store.generated.put(rows, replaced=store.generated.rows("text", "queries"))
    return {"written": len(rows)}
