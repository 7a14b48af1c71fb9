"""``serendip synonyms build --llm``: an LLM proposes synonyms for frequent terms.

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
from serendip.jobs.llm.job import LlmJob, Question, run_llm_job
from serendip.jobs.synonyms.mine import add_proposals, is_minable
from serendip.llm.tasks import WrittenSynonyms, synonyms_task
from serendip.runtime.scratch import scratch_folder
from serendip.search.lexical import LexicalIndex, word_counts
from serendip.search.phrases import phrases_of
from serendip.search.suggestions.candidates import logged_queries
from serendip.search.suggestions.checks import Blocklist, normal_form
from serendip.search.synonyms import MOST_WORDS, Synonym

_NUM_TITLES, _MAX_TITLE_LENGTH = 5, 120


def write_synonyms_by_llm(
    context: JobContext, job: LlmJob, max_terms: int = 1_000
) -> tuple[list[Synonym], dict[str, Any]]:
    """Ask an LLM for synonyms of frequent terms and add the valid ones to the table as proposed.

    Args:
        context: items, log, ledger and ``[llm]``.
        job: name and limits.
        max_terms: largest number of terms.

    Returns:
        all rows of the table (none if the job only estimates), and the report of the run.

    Raises:
        ConfigError: no LLM is configured, or the budget is negative or not a number.
        DataError: the catalogue is empty, or a line of the table is wrong.
        StorageError: the database cannot be written, or another process runs this job or changes
            the table.
    """
    writing = SynonymWriting(context, max_terms)
    result = run_llm_job(context, synonyms_task(), writing.questions, job)
    if result.outcome is None:
        return [], result.to_json()
    rows, facts = writing.add_proposals(result.outcome.answers, f"llm:{result.model}")
    return rows, {**result.to_json(), **facts}


@dataclass(frozen=True, eq=False)
class SynonymWriting:
    """Asks for synonyms of terms and adds the answers to the table.

    Args:
        context: items and log.
        max_terms: largest number of terms.
    """

    context: JobContext
    max_terms: int

    @cached_property
    def index(self) -> LexicalIndex:
        """Lexical index of the catalogue."""
        config, catalogue = self.context.settings.search.lexical, self.context.dataset.catalogue
        with scratch_folder() as scratch:  # open files can be read after deletion
            return LexicalIndex.build(catalogue, scratch / "words", config)

    @cached_property
    def terms(self) -> list[str]:
        """Normal forms of the terms: searched queries, then frequent words."""
        log, settings = self.context.log, self.context.settings
        searched = _rank_searched(log.searches, settings.queries.min_users)
        counts = word_counts(log.dataset.catalogue, settings.search.lexical.fields)
        return select_terms(searched, counts)[: self.max_terms]

    def questions(self) -> list[Question]:
        """One question per term, with a few titles that it retrieves."""
        catalogue = self.context.log.dataset.catalogue
        return [_build_question(term, self.index, catalogue) for term in self.terms]

    def add_proposals(
        self, answers: Sequence[WrittenSynonyms | None], source: str
    ) -> tuple[list[Synonym], dict[str, Any]]:
        """Add the valid synonyms to the table, as proposed.

        Args:
            answers: one per question; None = no answer.
            source: of the pairs.

        Returns:
            all rows of the table, and numbers of new and dropped pairs.
        """
        unsafe = Blocklist.of(self.context.settings.queries.unsafe_words)
        pairs, dropped = select_synonyms(self.terms, answers, self.index, unsafe, source)
        rows, new = add_proposals(self.context.workspace, _add_confidences(pairs, self.context))
        return rows, {"new": new, "dropped": dict(dropped)}


def select_terms(searched: Sequence[str], counts: Mapping[str, int]) -> list[str]:
    """Distinct terms: queries, then frequent words; terms of function words alone are left out.

    Args:
        searched: normal forms of queries, in order.
        counts: word -> number of items that have it.
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
    """Select the valid synonyms among answers; their confidences are 0.

    Args:
        terms: normal forms.
        answers: one per term; None = no answer.
        index: of the catalogue; an item must have all words of a synonym.
        unsafe: unsafe words.
        source: of the pairs.

    Returns:
        the pairs, and test -> number of answers that failed it.
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
    """Normal forms of queries that enough people have searched, by number of people."""
    logged = logged_queries(searches, min_users).candidates
    ordered = sorted(logged, key=lambda query: (-query.users, query.text))
    return [normalise(query.text) for query in ordered]


def _build_question(term: str, index: LexicalIndex, catalogue: Catalogue) -> Question:
    """The term and a few titles that it retrieves."""
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
