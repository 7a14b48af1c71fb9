"""What an LLM writes for search: synonyms of frequent terms, queries and texts for items.

Terms are queries that enough people have searched, then the most frequent words of the catalogue,
each with a few titles that it retrieves; nothing about users is sent. Answers become proposed
pairs. Answers that repeat their term, retrieve no item, are unsafe or not plain text are dropped.

Queries are asked for items that no other query retrieves, then for popular ones. Texts are asked
for items with hardly any words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import numpy as np

from serendip.data import Catalogue, IntArray, Item
from serendip.data.events.search_log import Search
from serendip.data.privacy import is_publishable
from serendip.data.store.tables.generated import Generated, text_digest, without_generated
from serendip.data.text import normalise, tokens, words
from serendip.jobs.context import JobContext
from serendip.jobs.llm.job import (
    Question,
    Writing,
    describe_item,
    put_generated,
    read_original,
    select_valid,
)
from serendip.jobs.suggestions.build import compute_queries
from serendip.jobs.synonyms import add_proposals, is_minable
from serendip.llm.tasks import Enrichment, Task, WrittenQueries, WrittenSynonyms
from serendip.runtime.atomic_files import scratch_folder
from serendip.search.lexical import LexicalIndex, word_counts
from serendip.search.phrases import phrases_of
from serendip.search.suggestions.candidates import MOST_CHARACTERS, logged_queries
from serendip.search.suggestions.checks import Blocklist, normal_form
from serendip.search.suggestions.table import QueryTable
from serendip.search.synonyms import MOST_WORDS, Synonym

_NUM_TITLES, _MAX_TITLE_LENGTH = 5, 120

MIN_DESCRIPTION_WORDS = 12
"""An item with a shorter description is thin."""


def ask_synonyms(context: JobContext, most: int = 1_000) -> Writing[WrittenSynonyms]:
    """Ask for synonyms of terms, and add the answers to the file that people review."""
    log, settings, task = context.query_log, context.settings, Task.of(WrittenSynonyms)
    catalogue, fields = log.dataset.catalogue, settings.search.fields
    with scratch_folder() as scratch:  # open files can be read after deletion
        index = LexicalIndex.build(catalogue, scratch / "words", fields)
    searched = _rank_searched(log.searches, settings.queries.min_users)
    terms = select_terms(searched, word_counts(catalogue, fields))[:most]

    def keep(answers: Sequence[WrittenSynonyms | None], model: str) -> dict[str, Any]:
        unsafe = Blocklist.of(settings.queries.unsafe_words)
        pairs, dropped = select_synonyms(terms, answers, index, unsafe, f"llm:{model}")
        found = add_proposals(context.workspace, _add_confidences(pairs, context))
        return {**found, "dropped": dropped}

    return Writing(task, [_build_question(term, index, catalogue) for term in terms], keep)


def select_terms(searched: Sequence[str], counts: Mapping[str, int]) -> list[str]:
    """Distinct terms: queries, then frequent words; terms of function words alone are left out.

    Queries are normal forms, in order; counts: word -> number of items that have it.
    """
    minable = (word for word, count in counts.items() if is_minable(word, count))
    frequent = sorted(minable, key=lambda word: (-counts[word], word))
    terms = dict.fromkeys([*searched, *frequent])
    return [term for term in terms if 0 < len(words(term)) <= MOST_WORDS and any(phrases_of(term))]


def select_synonyms(
    terms: Sequence[str],
    answers: Sequence[WrittenSynonyms | None],
    index: LexicalIndex,
    unsafe: Blocklist,
    source: str,
) -> tuple[list[Synonym], dict[str, int]]:
    """Select the valid synonyms among answers, one per term, None = no answer; their confidences
    are 0.

    An item must have all words of a synonym. Returns also test -> number of answers that failed it.
    """

    def find_problem(term: str, text: str, also: str) -> str:
        tests = {
            "empty or long": not also or len(words(also)) > MOST_WORDS,
            "an address or odd signs": not is_publishable(text),
            "unsafe": not unsafe.allows(also),
            "only the term": normal_form(also) <= normal_form(term),
            "finds nothing": not also or not len(index.having_all(also, 1)),
        }
        return next((name for name, fails in tests.items() if fails), "")

    pairs, dropped = select_valid(
        ((term, also), Synonym(term, also, "proposed", 0.0, source), find_problem(term, text, also))
        for term, answer in zip(terms, answers, strict=True)
        for text in (answer.synonyms if answer else ())
        for also in [normalise(text)]
    )
    return list(pairs.values()), dropped


def _rank_searched(searches: Sequence[Search], min_users: int) -> list[str]:
    logged = logged_queries(searches, min_users)
    ordered = sorted(logged, key=lambda query: (-query.users, query.text))
    return [normalise(query.text) for query in ordered]


def _build_question(term: str, index: LexicalIndex, catalogue: Catalogue) -> Question:
    numbers = index.search(term, _NUM_TITLES).item_nums.tolist()
    titles = [catalogue[number].title[:_MAX_TITLE_LENGTH] for number in numbers]
    return {"term": term, "finds": [title for title in titles if title]}


def _add_confidences(pairs: Sequence[Synonym], context: JobContext) -> list[Synonym]:
    """Set the confidences to the cosine of the two terms; those of LLMs are not calibrated."""
    if not pairs:
        return []
    terms, synonyms = (
        context.word_vectors.encode(context.encoder, texts, context.options.progress, "words")
        for texts in ([pair.term for pair in pairs], [pair.also for pair in pairs])
    )
    cosines = (terms * synonyms).sum(1).clip(0.0, 1.0).tolist()
    return [replace(pair, confidence=cosine) for pair, cosine in zip(pairs, cosines, strict=True)]


def ask_queries(context: JobContext, most: int = 1_000) -> Writing[WrittenQueries]:
    """Ask for queries about items that no other query retrieves, then about popular ones.

    An LLM is told what the catalogue says of an item: nothing generated.
    """
    dataset, task = context.query_log.dataset, Task.of(WrittenQueries)
    catalogue = dataset.catalogue
    order = _order_items(compute_queries(context)[0], dataset.item_counts())
    numbers = order[:most].tolist()

    def keep(answers: Sequence[WrittenQueries | None], model: str) -> dict[str, Any]:
        texts, dropped = select_queries(answers, numbers, catalogue)
        origin = model, task.prompt.name
        rows = [
            Generated("query", catalogue[number].item_id, normalise(text), "llm", text, *origin)
            for text, number in texts.items()
        ]
        put_generated(context, rows)
        return {"written": len(rows), "queries": list(texts), "dropped": dropped}

    items = without_generated(catalogue[number] for number in numbers)
    return Writing(task, [{"item": describe_item(item)} for item in items], keep)


def select_queries(
    answers: Sequence[WrittenQueries | None], items: Sequence[int], catalogue: Catalogue
) -> tuple[dict[str, int], dict[str, int]]:
    """Select the distinct valid queries that add words to the title.

    Answers are one per item; None = no answer. Returns query -> its item number, and test -> number
    of queries that failed it.
    """

    def read() -> Iterator[tuple[str, tuple[str, int], str]]:
        for answer, number in zip(answers, items, strict=True):
            title = normal_form(catalogue[number].title)
            for text in answer.queries if answer else ():
                shown = " ".join("".join(sign for sign in text if sign.isprintable()).split())
                yield normalise(shown), (shown, number), _find_problem(shown, title)

    queries, dropped = select_valid(read())
    return dict(queries.values()), dropped


def _find_problem(text: str, title: Set[str]) -> str:
    if not normalise(text) or len(text) > MOST_CHARACTERS:
        return "empty or long"
    if not is_publishable(text):
        return "an address or odd signs"
    return "only the title" if normal_form(text) <= title else ""


def _order_items(table: QueryTable, counts: IntArray) -> IntArray:
    """Item numbers by descending need: items that no query retrieves, then by popularity.

    The table has queries not written by an LLM.
    """
    is_retrieved = np.zeros(len(counts), np.bool_)
    is_rule = np.array([kind != "like" for kind in table.kinds], np.bool_)
    results = table.results[is_rule]
    is_retrieved[results[results >= 0]] = True
    return np.lexsort((-counts, is_retrieved)).astype(np.int32)


def ask_texts(context: JobContext) -> Writing[Enrichment]:
    """Ask for texts of thin items, the most popular first."""
    dataset, task = read_original(context), Task.of(Enrichment)
    order = np.argsort(-dataset.item_counts(), kind="stable").tolist()
    thin = [item for item in map(dataset.catalogue.__getitem__, order) if is_thin(item)]

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


def is_thin(item: Item) -> bool:
    """True if an item has a title and a description of less than ``MIN_DESCRIPTION_WORDS``."""
    return bool(item.title.strip()) and len(tokens(item.description)) < MIN_DESCRIPTION_WORDS
