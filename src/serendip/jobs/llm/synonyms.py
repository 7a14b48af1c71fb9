"""Synonyms of frequent terms, proposed by an LLM.

Terms are queries that enough people have searched, then the most frequent words of the catalogue,
each with a few titles that it retrieves; nothing about users is sent. Answers become proposed
pairs. Answers that repeat their term, retrieve no item, are unsafe or not plain text are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from serendip.data.events.search_log import Search
from serendip.data.items.catalogue import Catalogue
from serendip.data.privacy import is_publishable
from serendip.data.text import normalise, words
from serendip.jobs.context import JobContext
from serendip.jobs.llm.job import Question, Writing, select_valid
from serendip.jobs.synonyms import add_proposals, is_minable
from serendip.llm.tasks import Task, WrittenSynonyms
from serendip.runtime.scratch import scratch_folder
from serendip.search.language import phrases_of
from serendip.search.lexical import LexicalIndex, word_counts
from serendip.search.suggestions.candidates import logged_queries
from serendip.search.suggestions.checks import Blocklist, normal_form
from serendip.search.synonyms import MOST_WORDS, Synonym

_NUM_TITLES, _MAX_TITLE_LENGTH = 5, 120


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
