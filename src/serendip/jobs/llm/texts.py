"""Texts for items: by an LLM for those that have few words, or of the queries that one wrote.

Written queries are appended to their items, thin or not, which so are found by words that people
would type (doc2query, Nogueira et al. 2019, arXiv:1904.08375). The retriever and the ranker learn
from others of them (``suggestions.build``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from serendip.data import Catalogue, Dataset, Item
from serendip.data.store.tables.generated import Generated, text_digest, without_generated
from serendip.data.text import tokens
from serendip.errors import DataError
from serendip.jobs.context import JobContext
from serendip.jobs.llm.job import Writing, describe_item, put_generated
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
        Generated("text", item.item_id, "queries", "queries", ", ".join(texts), *origin, digest)
        for number, texts in sorted(by_item.items())
        for item in [catalogue[number]]
        for digest in [text_digest(item)]
    ]
    put_generated(context, rows, ("text", "queries"))
    return {"written": len(rows)}
