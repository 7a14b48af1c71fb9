"""``serendip enrich run``: generates texts for items, by an LLM or of written queries.

Written queries (``serendip queries build --llm``) are appended to their items, thin or not, which
so are found by words that people would type (doc2query, Nogueira et al. 2019, arXiv:1904.08375).
The retriever and the ranker learn from others of them (``suggestions.parts``).
Each text is stored with its origin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any, TypeAlias, cast

import numpy as np

from serendip.data.dataset import Dataset
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.store.tables.generated_texts import (
    GeneratedText,
    WrittenField,
    WrittenSource,
    text_digest,
    without_generated,
)
from serendip.data.store.tables.generated_values import without_values
from serendip.data.text import tokens
from serendip.engine.workspace import Workspace
from serendip.errors import DataError
from serendip.jobs.context import JobContext
from serendip.jobs.llm.job import LlmJob, describe_item, job_folder, run_llm_job
from serendip.jobs.suggestions.build import hash_written_queries, read_written_queries
from serendip.jobs.suggestions.parts import part_of
from serendip.llm.tasks import enrich_task
from serendip.runtime.atomic_files import exclusive_lock

WRITTEN_MODEL = "written queries"
"""Origin of texts that are written queries; their prompt is the hash of all of these."""

MIN_DESCRIPTION_WORDS = 12
"""An item with a shorter description is thin."""

JOB = "enrich"

Origin: TypeAlias = tuple[WrittenSource, str, str]
"""Source, model and prompt of a text."""


def is_thin(item: Item) -> bool:
    """True if an item has a title and a description of less than ``MIN_DESCRIPTION_WORDS``."""
    return bool(item.title.strip()) and len(tokens(item.description)) < MIN_DESCRIPTION_WORDS


@contextmanager
def hold_job(context: JobContext) -> Iterator[None]:
    """Take the lock of all writers; on leaving, check that it is still held.

    Raises:
        StorageError: another process writes.
    """
    with (
        exclusive_lock(job_folder(context.workspace, JOB)),
        context.workspace.exclusive(f"job {JOB}") as require_held,
    ):
        yield
        require_held()


def write_texts(context: JobContext, job: LlmJob) -> dict[str, Any]:
    """Let an LLM write texts for thin items; used only after they pass the gate.

    Args:
        context: items, ledger and ``[llm]``.
        job: name and limits.

    Returns:
        state, counts, estimate and spend.

    Raises:
        ConfigError: no LLM is configured, or the budget is negative or not a number.
        StorageError: the database cannot be written, or another process writes texts.
    """
    thin, dataset = select_thin_items(context)
    task = enrich_task()
    result = run_llm_job(
        context, task, lambda: [{"item": describe_item(item)} for item in thin], job
    )
    head = {"source": "llm", "items": dataset.num_items, "thin": len(thin), **result.to_json()}
    if result.outcome is None:
        return head
    origin: Origin = ("llm", result.model, task.prompt.name)
    texts = [
        _make_text(item, cast("WrittenField", field), text, origin)
        for item, answer in zip(thin, result.outcome.answers, strict=True)
        if answer is not None
        for field, text in answer.texts(describe_item(item)).items()
    ]
    return {**head, **_store(context.workspace, texts)}


def write_query_texts(context: JobContext, estimate_only: bool = False) -> dict[str, Any]:
    """Make texts of the queries that an LLM wrote for items; used only after they pass the gate.

    Returns:
        state and counts.

    Raises:
        DataError: there are no such queries.
        StorageError: the database cannot be written, or another process writes texts.
    """
    thin, dataset = select_thin_items(context)
    head = {"source": "queries", "items": dataset.num_items, "thin": len(thin)}
    texts = collect_queries(context.workspace, dataset)
    if estimate_only:
        return {**head, "estimate": {"questions": 0, "price": 0.0, "texts": len(texts)}}
    with hold_job(context):
        stored = _store(context.workspace, texts, replaced="queries")
    return {**head, "state": "complete", "reason": "", **stored}


def select_thin_items(context: JobContext) -> tuple[list[Item], Dataset]:
    """Thin items, the most popular first, and the dataset without anything generated."""
    dataset = read_original(context)
    items = dataset.catalogue.items
    order = np.argsort(-dataset.item_counts(), kind="stable").tolist()
    return [items[number] for number in order if is_thin(items[number])], dataset


def read_original(context: JobContext) -> Dataset:
    """The dataset without generated texts and values: none is ever the source of another one."""
    original = without_generated(without_values(context.dataset.catalogue.items))
    return replace(context.dataset, catalogue=Catalogue(original))


def collect_queries(workspace: Workspace, dataset: Dataset) -> list[GeneratedText]:
    """The part for texts of the queries that an LLM wrote for items, one text per item.

    Raises:
        DataError: there are none.
    """
    catalogue, by_item = dataset.catalogue, dict[int, list[str]]()
    for query in read_written_queries(workspace, catalogue):
        if part_of(query.text) != "texts":
            continue
        by_item.setdefault(int(query.items[0]), []).append(query.text)
    if not by_item:
        raise DataError(
            "an LLM has written no queries for the current items.",
            "Run `serendip queries build --llm` first.",
        )
    origin: Origin = ("queries", WRITTEN_MODEL, hash_written_queries(workspace)[:12])
    return [
        _make_text(catalogue[number], "queries", ", ".join(by_item[number]), origin)
        for number in sorted(by_item)
    ]


def _make_text(item: Item, field: WrittenField, text: str, origin: Origin) -> GeneratedText:
    """A generated text, bound to the current texts of its item."""
    source, model, prompt = origin
    return GeneratedText(item.item_id, field, source, text, model, prompt, text_digest(item))


def _store(
    workspace: Workspace, texts: Sequence[GeneratedText], replaced: WrittenSource | None = None
) -> dict[str, Any]:
    """Store the texts and count them; other texts of the source ``replaced`` are deleted."""
    with closing(workspace.open_store()) as store:
        store.generated_texts.put(texts, replaced)
    return {"texts": len(texts), "written": len({text.item_id for text in texts})}
