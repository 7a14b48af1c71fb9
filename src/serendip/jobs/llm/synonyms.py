"""Synonyms of frequent terms, proposed by an LLM.

Terms are queries that enough people have searched, then the most frequent words of the catalogue,
each with a few titles that it retrieves; nothing about users is sent. Answers become proposed
pairs. Answers that repeat their term, retrieve no item, are unsafe or not plain text are dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from serendip.data.events.search_log import Search
from serendip.data.items.catalogue import Catalogue
from serendip.data.privacy import is_publishable
from serendip.data.text import normalise, words
from serendip.jobs.context import JobContext
from serendip.jobs.llm.job import Question, Writing
from serendip.jobs.synonyms import add_proposals, is_minable
from serendip.llm.tasks import Task, WrittenSynonyms
from serendip.runtime.scratch import scratch_folder
from serendip.search.lexical import LexicalIndex, word_counts
from serendip.search.phrases import phrases_of
from serendip.search.suggestions.candidates import logged_queries
from serendip.search.suggestions.checks import Blocklist, normal_form
from serendip.search.synonyms import MOST_WORDS, Synonym

_NUM_TITLES, _MAX_TITLE_LENGTH = 5, 120


@dataclass(frozen=True, eq=False)
class SynonymWriting(Writing[WrittenSynonyms]):
    """Asks for synonyms of terms and adds the answers to the file that people review."""

    context: JobContext
    most: int = 1_000

    task = Task.of(WrittenSynonyms)

    @cached_property
    def index(self) -> LexicalIndex:
        """Lexical index of the catalogue."""
        fields, catalogue = self.context.settings.search.fields, self.context.dataset.catalogue
        with scratch_folder() as scratch:  # open files can be read after deletion
            return LexicalIndex.build(catalogue, scratch / "words", fields)

    @cached_property
    def terms(self) -> list[str]:
        """Normal forms of the terms: searched queries, then frequent words."""
        log, settings = self.context.query_log, self.context.settings
        searched = _rank_searched(log.searches, settings.queries.min_users)
        counts = word_counts(log.dataset.catalogue, settings.search.fields)
        return select_terms(searched, counts)[: self.most]

    def questions(self) -> list[Question]:
        """One question per term, with a few titles that it retrieves."""
        catalogue = self.context.query_log.dataset.catalogue
        return [_build_question(term, self.index, catalogue) for term in self.terms]

    def keep(self, answers: Sequence[WrittenSynonyms | None], model: str) -> dict[str, Any]:
        """Add the valid synonyms as proposed: people accept them."""
        unsafe = Blocklist.of(self.context.settings.queries.unsafe_words)
        pairs, dropped = select_synonyms(self.terms, answers, self.index, unsafe, f"llm:{model}")
        found = add_proposals(self.context.workspace, _add_confidences(pairs, self.context))
        return {**found, "dropped": dict(dropped)}


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
) -> tuple[list[Synonym], Counter[str]]:
    """Select the valid synonyms among answers, one per term, None = no answer; their confidences
    are 0.

    An item must have all words of a synonym. Returns also test -> number of answers that failed it.
    """
    pairs: dict[tuple[str, str], Synonym] = {}
    dropped: Counter[str] = Counter()
    for term, answer in zip(terms, answers, strict=True):
        for text in answer.synonyms if answer else ():
            also = normalise(text)
            if not also or len(words(also)) > MOST_WORDS:
                dropped["empty or long"] += 1
            elif not is_publishable(text):
                dropped["an address or odd signs"] += 1
            elif not unsafe.allows(also):
                dropped["unsafe"] += 1
            elif normal_form(also) <= normal_form(term):
                dropped["only the term"] += 1
            elif (term, also) in pairs:
                dropped["written twice"] += 1
            elif not len(index.having_all(also, 1)):
                dropped["finds nothing"] += 1
            else:
                pairs[term, also] = Synonym(term, also, "proposed", 0.0, source)
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
