"""``serendip synonyms build --llm``: an LLM proposes other words for what is searched most.

Terms are queries that enough people have searched, then the most frequent words of the catalogue,
each with a few titles that it retrieves; nothing about users is sent. Answers become proposed
pairs; one that repeats its term, retrieves no item, is unsafe or is not plain text is dropped.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from serendip.data.item import Catalogue
from serendip.data.privacy import is_publishable
from serendip.data.search_log import Search
from serendip.data.text import normalise, words
from serendip.jobs.context import JobContext
from serendip.jobs.llm_job import LlmJob, Question, run_llm_job
from serendip.jobs.synonyms.mine import is_proper, with_proposed
from serendip.llm.tasks import WrittenSynonyms, synonyms_task
from serendip.search.lexical import LexicalIndex, word_counts
from serendip.search.phrases import phrases_of
from serendip.search.suggestions.candidates import logged_queries
from serendip.search.suggestions.checks import Blocklist, normal_form
from serendip.search.synonyms import MOST_WORDS, Synonym

_TITLES, _LONGEST_TITLE = 5, 120


def write_synonyms_by_llm(
    context: JobContext, job: LlmJob, max_terms: int = 1_000, prompt: str = "synonyms-1"
) -> tuple[list[Synonym], dict[str, Any]]:
    """Ask for synonyms of frequent terms, and add those that pass the checks as proposed.

    Args:
        context: items, log, ledger and ``[llm]``.
        job: name and limits.
        max_terms: that the LLM is asked about.
        prompt: name with version.

    Returns:
        all rows of the table (none after an estimate alone), and the facts of the run.

    Raises:
        ConfigError: no LLM is configured, or the budget is not a number of at least 0.
        DataError: the catalogue is empty, or a line of the table is wrong.
        StorageError: the database takes no rows, or another process runs this job or changes the
            table.
    """
    writing = SynonymWriting(context, max_terms)
    result = run_llm_job(context, synonyms_task(prompt), writing.questions, job)
    if result.outcome is None:
        return [], result.to_json()
    rows, facts = writing.keep(result.outcome.answers, f"llm:{result.model}")
    return rows, {**result.to_json(), **facts}


@dataclass(frozen=True, eq=False)
class SynonymWriting:
    """Questions about terms, and what becomes of the synonyms proposed for them.

    Args:
        context: items and log.
        max_terms: that the LLM is asked about.
    """

    context: JobContext
    max_terms: int

    @cached_property
    def index(self) -> LexicalIndex:
        """Of the catalogue."""
        config, catalogue = self.context.settings.search.lexical, self.context.dataset.catalogue
        with tempfile.TemporaryDirectory() as scratch:  # Open files outlive their names.
            return LexicalIndex.build(catalogue, Path(scratch) / "words", config)

    @cached_property
    def terms(self) -> list[str]:
        """Normal forms of the terms: queries that people searched, then frequent words."""
        log, settings = self.context.log, self.context.settings
        searched = _searched(log.searches, settings.queries.min_users)
        counts = word_counts(log.dataset.catalogue, settings.search.lexical.fields)
        return head_terms(searched, counts)[: self.max_terms]

    def questions(self) -> list[Question]:
        """One question per term, with a few titles that it retrieves."""
        catalogue = self.context.log.dataset.catalogue
        return [_question(term, self.index, catalogue) for term in self.terms]

    def keep(
        self, answers: Sequence[WrittenSynonyms | None], source: str
    ) -> tuple[list[Synonym], dict[str, Any]]:
        """Add the synonyms that pass the checks to the table, as proposed.

        Args:
            answers: one per question, None where there is none.
            source: of the pairs.

        Returns:
            all rows of the table, and counts of new and dropped pairs.
        """
        unsafe = Blocklist.of(self.context.settings.queries.unsafe_words)
        found, dropped = proposed(self.terms, answers, self.index, unsafe, source)
        rows, new = with_proposed(self.context.workspace, _weighed(found, self.context))
        return rows, {"new": new, "dropped": dict(dropped)}


def head_terms(searched: Sequence[str], counts: Mapping[str, int]) -> list[str]:
    """What is asked about, each once: queries, then words, none of them a word of grammar alone.

    Args:
        searched: normal forms of queries, in order.
        counts: word -> number of items that have it.
    """
    known = (word for word, count in counts.items() if is_proper(word, count))
    frequent = sorted(known, key=lambda word: (-counts[word], word))
    terms = dict.fromkeys([*searched, *frequent])
    return [term for term in terms if 0 < len(words(term)) <= MOST_WORDS and any(phrases_of(term))]


def proposed(
    terms: Sequence[str],
    answers: Sequence[WrittenSynonyms | None],
    index: LexicalIndex,
    unsafe: Blocklist,
    source: str,
) -> tuple[list[Synonym], Counter[str]]:
    """Pairs that are worth reading, and test -> how many failed it; confidences are still 0.

    Args:
        terms: normal forms.
        answers: one per term, None where there is none.
        index: of the catalogue; all words of a synonym must be in one item.
        unsafe: what nobody is to be offered.
        source: of the pairs.
    """
    found: dict[tuple[str, str], Synonym] = {}
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
            elif (term, also) in found:
                dropped["written twice"] += 1
            elif not len(index.having_all(also, 1)):
                dropped["finds nothing"] += 1
            else:
                found[term, also] = Synonym(term, also, "proposed", 0.0, source)
    return list(found.values()), dropped


def _searched(searches: Sequence[Search], min_users: int) -> list[str]:
    """Normal forms of what enough people have searched, most people first."""
    logged = logged_queries(searches, min_users).candidates
    ordered = sorted(logged, key=lambda one: (-one.users, one.text))
    return [normalise(one.text) for one in ordered]


def _question(term: str, index: LexicalIndex, catalogue: Catalogue) -> Question:
    found = index.search(term, _TITLES).item_nums.tolist()
    titles = [catalogue[number].title[:_LONGEST_TITLE] for number in found]
    return {"term": term, "finds": [title for title in titles if title]}


def _weighed(found: Sequence[Synonym], context: JobContext) -> list[Synonym]:
    """With the cosine of both sides as confidence: an LLM's own is not calibrated."""
    if not found:
        return []
    one, other = (
        context.word_vectors.encode(context.encoder, texts, context.options.progress, "words")
        for texts in ([row.term for row in found], [row.also for row in found])
    )
    cosines = (one * other).sum(1).clip(0.0, 1.0).tolist()
    return [replace(row, confidence=share) for row, share in zip(found, cosines, strict=True)]
