"""``serendip enrich run``: texts about thin items, by an LLM or by rules, each with its origin.

Keywords without any LLM: from queries that led to an item, and from the items nearest to it.

A word is borrowed where several of the items nearest by text vectors have it in their titles or
lists (genres, a path of categories), rarer words counting more; words of earlier queries go first.
Words that the item has itself say nothing new, and words of half the catalogue say nothing at all.

Shapes: N items, C size of a text vector.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Self, TypeAlias

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.dataset import Dataset
from serendip.data.item import Catalogue, Item
from serendip.data.store.generated_texts import (
    GENERATED_FIELDS,
    GeneratedText,
    WrittenField,
    WrittenSource,
    text_digest,
    without_generated,
)
from serendip.data.text import tokens
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError
from serendip.jobs.context import JobContext
from serendip.jobs.enrich.judged_queries import cut_time, training_queries
from serendip.jobs.llm_job import LlmJob, ignore_estimate, item_texts, job_folder, run_llm_job
from serendip.llm.runner import CostEstimate
from serendip.llm.tasks import Enrichment, enrich_task
from serendip.runtime.atomic_files import exclusive_lock

RULES_MODEL, RULES_VERSION = "borrowed words", "rules-1"

_NEAREST = 20
_SHARPNESS = 4
"""Power of the cosine by which a near item's words count."""
_FEWEST_LENDERS = 3
_MOST_SHARE = 0.1
"""Of the items: what more of them can lend tells nothing apart."""
_MOST_WORDS = 12
_SHORTEST = 3


@dataclass(frozen=True, slots=True, eq=False)
class RulesWriter:
    """Writes keywords about items of one catalogue.

    Args:
        items: N.
        vectors: (N, C) unit vectors of their texts; zeros where there is no text.
        queries: item number -> normalised queries that may be written from.
        lent: per item the different words that it lends.
        rarity: word -> how much it tells, of words that may be borrowed.
    """

    items: Sequence[Item]
    vectors: FloatArray
    queries: Mapping[int, Sequence[str]]
    lent: Sequence[frozenset[str]]
    rarity: Mapping[str, float]

    @classmethod
    def of(
        cls, items: Sequence[Item], vectors: FloatArray, queries: Mapping[int, Sequence[str]]
    ) -> Self:
        """With the words that may be borrowed."""
        lent = [_lent(item) for item in items]
        counts = Counter(chain.from_iterable(lent))
        most = max(_MOST_SHARE * len(items), _FEWEST_LENDERS)
        rarity = {
            word: math.log(len(items) / count)
            for word, count in counts.items()
            if _FEWEST_LENDERS <= count <= most and len(word) >= _SHORTEST and word.isalpha()
        }
        return cls(items, vectors, queries, lent, rarity)

    def keywords(self, number: int) -> str:
        """Words about one item, the most telling first, joined by commas; "" = there are none."""
        item = self.items[number]
        own = set(tokens(item.text(("title", "description", *item.attributes))))
        asked = dict.fromkeys(
            word for text in self.queries.get(number, ()) for word in tokens(text)
        )
        found = [word for word in asked if word not in own and len(word) >= _SHORTEST]
        found += [word for word in self._borrowed(number) if word not in own]
        return ", ".join(list(dict.fromkeys(found))[:_MOST_WORDS])

    def _borrowed(self, number: int) -> list[str]:
        """Words that enough near items lend, the most telling first."""
        cosines = self.vectors @ self.vectors[number]
        cosines[number] = -1.0
        count = min(_NEAREST, len(cosines) - 1)
        near = np.argpartition(-cosines, count)[:count]
        weights: defaultdict[str, float] = defaultdict(float)
        lenders: Counter[str] = Counter()
        for place in near[cosines[near] > 0].tolist():
            for word in self.lent[place]:
                if word in self.rarity:
                    weights[word] += float(cosines[place]) ** _SHARPNESS * self.rarity[word]
                    lenders[word] += 1
        told = [word for word in weights if lenders[word] >= _FEWEST_LENDERS]
        return sorted(told, key=lambda word: (-weights[word], word))


def _lent(item: Item) -> frozenset[str]:
    lists = [name for name, value in item.attributes.items() if isinstance(value, tuple)]
    return frozenset(tokens(" ".join(map(item.field_text, ("title", *lists)))))


FEW_WORDS = 12
"""A description of fewer words is thin."""

JOB = "enrich"

Origin: TypeAlias = tuple[WrittenSource, str, str]
"""Source, model and prompt of a text."""


@dataclass(frozen=True, slots=True)
class TextWriting:
    """Who writes which fields.

    Args:
        source: who writes.
        fields: which of the texts are kept.
        budget: of an LLM, all its runs together; None = none was given, and no LLM is asked.
        prompt: of an LLM, name with version.
        estimate_only: nothing is sent and nothing written.
        on_estimate: called with an LLM's cost estimate before anything is sent.
    """

    source: WrittenSource = "llm"
    fields: Sequence[WrittenField] = GENERATED_FIELDS
    budget: float | None = None
    prompt: str = "enrich-1"
    estimate_only: bool = False
    on_estimate: Callable[[CostEstimate], None] = ignore_estimate


def is_thin(item: Item) -> bool:
    """Whether an item has a title, and hardly a word beside it that describes it."""
    return bool(item.title.strip()) and len(tokens(item.description)) < FEW_WORDS


def write_texts(context: JobContext, writing: TextWriting) -> dict[str, Any]:
    """Write texts about every thin item; they are used only after they passed a gate.

    Args:
        context: items, log, ledger and ``[llm]``.
        writing: by whom, and which fields.

    Returns:
        state, counts and, of an LLM, estimate and spend.

    Raises:
        ConfigError: no LLM is configured, it has no budget, or the budget is not a number of at
            least 0; or rules are to write other fields than keywords.
        StorageError: the database takes no rows, or another process writes texts.
    """
    if writing.source == "llm":
        return _write_by_llm(context, writing)
    if "keywords" not in writing.fields:
        raise ConfigError(
            f"rules write no {', '.join(writing.fields)}.", "They write keywords alone."
        )
    with exclusive_lock(job_folder(context.workspace, JOB)):
        thin, dataset = thin_items(context)
        head = {"source": writing.source, "items": dataset.num_items, "thin": len(thin)}
        if writing.estimate_only:
            return {**head, "estimate": {"questions": len(thin), "price": 0.0}}
        texts = write_by_rules(context, dataset, thin)
        return {**head, "state": "complete", "reason": "", **_keep(context.workspace, texts)}


def _write_by_llm(context: JobContext, writing: TextWriting) -> dict[str, Any]:
    """Texts by an LLM; answers in the ledger are not paid for again."""
    if writing.budget is None:
        raise ConfigError("an LLM is asked within a budget.", "Add --budget, or --writer rules.")
    thin, dataset = thin_items(context)
    task = enrich_task(writing.prompt)
    job = LlmJob(JOB, writing.budget, writing.estimate_only, writing.on_estimate)
    result = run_llm_job(context, task, lambda: [{"item": item_texts(item)} for item in thin], job)
    head = {"source": "llm", "items": dataset.num_items, "thin": len(thin)}
    if result.outcome is None:
        return {**head, **result.to_json()}
    origin: Origin = ("llm", result.model, task.prompt.name)
    texts = texts_of(thin, result.outcome.answers, writing.fields, origin)
    return {**head, **result.to_json(), **_keep(context.workspace, texts)}


def thin_items(context: JobContext) -> tuple[list[Item], Dataset]:
    """Items to write about, the most popular first, and the dataset without generated texts.

    A generated text is never the source of another one.
    """
    known = context.dataset
    dataset = replace(known, catalogue=Catalogue(without_generated(known.catalogue.items)))
    items = dataset.catalogue.items
    order = np.argsort(-dataset.item_counts(), kind="stable").tolist()
    return [items[number] for number in order if is_thin(items[number])], dataset


def write_by_rules(
    context: JobContext, dataset: Dataset, thin: Sequence[Item]
) -> list[GeneratedText]:
    """Keywords about the items for which the rules find any."""
    settings, progress = context.settings, context.options.progress
    items, texts = dataset.catalogue.items, dataset.catalogue.texts(settings.content.fields)
    vectors = context.vectors.encode(context.encoder, texts, progress)
    queries = training_queries(dataset, cut_time(dataset, min(settings.evaluation.cuts)))
    writer = RulesWriter.of(items, vectors, queries)
    found = []
    for item in progress.track(thin, "Writing keywords", len(thin)):
        text = writer.keywords(dataset.catalogue.vocabulary.number(item.item_id))
        if text:
            found.append(_row(item, "keywords", text, ("rules", RULES_MODEL, RULES_VERSION)))
    return found


def texts_of(
    items: Sequence[Item],
    answers: Sequence[Enrichment | None],
    fields: Sequence[WrittenField],
    origin: Origin,
) -> list[GeneratedText]:
    """What answers about items say, field by field."""
    return [
        _row(item, field, said[field], origin)
        for item, answer in zip(items, answers, strict=True)
        if answer is not None
        for said in [answer.texts(item_texts(item))]
        for field in fields
        if field in said
    ]


def _row(item: Item, field: WrittenField, text: str, origin: Origin) -> GeneratedText:
    source, model, prompt = origin
    return GeneratedText(item.item_id, field, source, text, model, prompt, text_digest(item))


def _keep(workspace: Workspace, texts: Sequence[GeneratedText]) -> dict[str, Any]:
    with closing(workspace.open_store()) as store:
        store.generated_texts.put(texts)
    return {"texts": len(texts), "written": len({one.item_id for one in texts})}
