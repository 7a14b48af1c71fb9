"""``serendip enrich run``: generates texts for items, by an LLM, by rules or of written queries.

Rules generate keywords (``rules``), by tasks of the executor where there are many items.

Written queries (``serendip queries build --llm``) are appended to their items, thin or not, which
so are found by words that people would type (doc2query, Nogueira et al. 2019, arXiv:1904.08375).
The retriever and the ranker learn from others of them (``suggestions.parts``).
Each text is stored with its origin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from serendip.data.dataset import Dataset
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.store.tables.generated_texts import (
    GENERATED_FIELDS,
    GeneratedText,
    WrittenField,
    WrittenSource,
    text_digest,
    without_generated,
)
from serendip.data.store.tables.generated_values import without_values
from serendip.data.text import tokens
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, DataError
from serendip.jobs.context import JobContext
from serendip.jobs.enrich.judged_queries import cut_time, read_training_queries
from serendip.jobs.enrich.rules import write_keywords
from serendip.jobs.llm.job import LlmJob, describe_item, ignore_estimate, job_folder, run_llm_job
from serendip.jobs.suggestions.build import hash_written_queries, read_written_queries
from serendip.jobs.suggestions.parts import part_of
from serendip.llm.runner import CostEstimate
from serendip.llm.tasks import Enrichment, enrich_task
from serendip.runtime.atomic_files import exclusive_lock

RULES_MODEL, RULES_VERSION = "borrowed words", "rules-1"
WRITTEN_MODEL = "written queries"
"""Origin of texts that are written queries; their prompt is the hash of all of these."""

MIN_DESCRIPTION_WORDS = 12
"""An item with a shorter description is thin."""

_FIELDS: Mapping[WrittenSource, tuple[WrittenField, ...]] = {
    "llm": ("keywords", "description", "attributes"),
    "rules": ("keywords",),
    "queries": ("queries",),
}
"""Fields that a source writes."""

JOB = "enrich"

Origin: TypeAlias = tuple[WrittenSource, str, str]
"""Source, model and prompt of a text."""


@dataclass(frozen=True, slots=True)
class TextWriting:
    """Source, fields and limits of a run.

    Args:
        source: an LLM, rules, or the queries that an LLM wrote for items.
        fields: texts to store.
        budget: of all runs with an LLM together; None = an LLM is refused.
        prompt: name with version.
        estimate_only: send no requests and write nothing.
        on_estimate: called with the cost estimate before the first request.
        job: name in the ledger, whose runs share the budget.
    """

    source: WrittenSource = "llm"
    fields: Sequence[WrittenField] = GENERATED_FIELDS
    budget: float | None = None
    prompt: str = "enrich-1"
    estimate_only: bool = False
    on_estimate: Callable[[CostEstimate], None] = ignore_estimate
    job: str = JOB


def is_thin(item: Item) -> bool:
    """True if an item has a title and a description of less than ``MIN_DESCRIPTION_WORDS``."""
    return bool(item.title.strip()) and len(tokens(item.description)) < MIN_DESCRIPTION_WORDS


def write_texts(context: JobContext, writing: TextWriting) -> dict[str, Any]:
    """Generate texts for thin items, or of written queries; used only after they pass the gate.

    Args:
        context: items, log, ledger and ``[llm]``.
        writing: source, fields and limits.

    Returns:
        state and counts; for an LLM also estimate and spend.

    Raises:
        ConfigError: no LLM is configured, the budget is missing, negative or not a number, or the
            source writes none of the fields.
        DataError: the source is written queries, and there are none.
        StorageError: the database cannot be written, or another process writes texts.
    """
    fields = _FIELDS[writing.source]
    if not set(fields) & set(writing.fields):
        raise ConfigError(
            f"{writing.source} cannot write {', '.join(writing.fields)}.",
            f"Add --fields {fields[0]}.",
        )
    if writing.source == "llm":
        return _write_by_llm(context, writing)
    with (
        exclusive_lock(job_folder(context.workspace, JOB)),
        context.workspace.exclusive(f"job {JOB}") as require_held,
    ):
        thin, dataset = select_thin_items(context)
        head = {"source": writing.source, "items": dataset.num_items, "thin": len(thin)}
        if writing.source == "queries":
            texts = collect_queries(context.workspace, dataset)
            if writing.estimate_only:
                return {**head, "estimate": {"questions": 0, "price": 0.0, "texts": len(texts)}}
            require_held()
            stored = _store(context.workspace, texts, replaced="queries")
            return {**head, "state": "complete", "reason": "", **stored}
        if writing.estimate_only:
            return {**head, "estimate": {"questions": len(thin), "price": 0.0}}
        texts = write_by_rules(context, dataset, thin)
        require_held()
        return {**head, "state": "complete", "reason": "", **_store(context.workspace, texts)}


def _write_by_llm(context: JobContext, writing: TextWriting) -> dict[str, Any]:
    """Generate texts by an LLM; answers in the ledger are not paid for again."""
    if writing.budget is None:
        raise ConfigError("an LLM needs a budget.", "Add --budget, or --writer rules.")
    thin, dataset = select_thin_items(context)
    task = enrich_task(writing.prompt)
    job = LlmJob(writing.job, writing.budget, writing.estimate_only, writing.on_estimate)
    result = run_llm_job(
        context, task, lambda: [{"item": describe_item(item)} for item in thin], job
    )
    head = {"source": "llm", "items": dataset.num_items, "thin": len(thin)}
    if result.outcome is None:
        return {**head, **result.to_json()}
    origin: Origin = ("llm", result.model, task.prompt.name)
    texts = collect_texts(thin, result.outcome.answers, writing.fields, origin)
    return {**head, **result.to_json(), **_store(context.workspace, texts)}


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


def write_by_rules(
    context: JobContext, dataset: Dataset, thin: Sequence[Item]
) -> list[GeneratedText]:
    """Keywords of the items for which the rules find any."""
    settings, progress = context.settings, context.options.progress
    texts = dataset.catalogue.texts(settings.content.fields)
    vectors = context.vectors.encode(context.encoder, texts, progress)
    queries = read_training_queries(dataset, cut_time(dataset, min(settings.evaluation.cuts)))
    numbers = [dataset.catalogue.vocabulary.number(item.item_id) for item in thin]
    written = write_keywords(dataset.catalogue, vectors, queries, numbers, context.options)
    shown = progress.track(written, "Writing keywords", len(thin))
    origin: Origin = ("rules", RULES_MODEL, RULES_VERSION)
    return [
        _make_text(item, "keywords", text, origin)
        for item, text in zip(thin, shown, strict=True)
        if text
    ]


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


def collect_texts(
    items: Sequence[Item],
    answers: Sequence[Enrichment | None],
    fields: Sequence[WrittenField],
    origin: Origin,
) -> list[GeneratedText]:
    """Generated texts of the answers, by item and field."""
    return [
        _make_text(item, field, texts[field], origin)
        for item, answer in zip(items, answers, strict=True)
        if answer is not None
        for texts in [answer.texts(describe_item(item))]
        for field in fields
        if field in texts
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
