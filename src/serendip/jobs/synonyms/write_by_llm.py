"""``serendip synonyms build --llm``: an LLM proposes other words for what is searched most.

It is asked about queries that enough people have searched, then about words of the catalogue, the
most frequent first, with a few titles that each finds; never about people. What it says is
proposed, and only that: a pair that says no more than its term, finds nothing in the catalogue, is
unsafe or is no plain text is dropped before anybody has to read it. Answers that were paid for are
in the ledger and are never asked for again.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from serendip.content.cache import VectorCache
from serendip.content.encoders.text import open_encoder
from serendip.data.item import Catalogue
from serendip.data.privacy import is_publishable
from serendip.data.search_log import Search
from serendip.data.text import normalise, words
from serendip.engine.workspace import DATABASE_FILE, Workspace
from serendip.jobs.llm_job import job_folder, open_llm
from serendip.jobs.suggestions.build import read_search_log
from serendip.jobs.synonyms.mine import is_proper, with_proposed
from serendip.llm.ledger import Ledger
from serendip.llm.runner import CostEstimate, RunOptions, ask_all, estimate
from serendip.llm.tasks import WrittenSynonyms, synonyms_task
from serendip.runtime.atomic_files import exclusive_lock
from serendip.runtime.progress import TrainOptions
from serendip.search.lexical import LexicalConfig, LexicalIndex, word_counts
from serendip.search.phrases import phrases_of
from serendip.search.suggestions.candidates import logged_queries
from serendip.search.suggestions.checks import Blocklist, normal_form
from serendip.search.synonyms import MOST_WORDS, Synonym

_TITLES, _LONGEST_TITLE = 5, 120


@dataclass(frozen=True, slots=True)
class SynonymWriting:
    """What to ask for.

    Args:
        budget: of the job, all its runs together.
        terms: about so many, at most.
        job: its name in the ledger.
        prompt: name with version.
    """

    budget: float
    terms: int = 1_000
    job: str = "synonyms"
    prompt: str = "synonyms-1"


def write_synonyms_by_llm(
    workspace: Workspace,
    writing: SynonymWriting,
    options: TrainOptions,
    on_estimate: Callable[[CostEstimate], None] = lambda told: None,
    only_estimate: bool = False,
) -> tuple[list[Synonym], dict[str, Any]]:
    """Ask, and add what passes to the table of a workspace, as proposed.

    Args:
        workspace: its items, its log, its ledger and its ``[llm]``.
        writing: about how many terms, and what it may cost.
        options: progress.
        on_estimate: is told what it will cost before anything is sent.
        only_estimate: whether nothing is sent and nothing written.

    Returns:
        all rows of the table (none = only estimated), and what was spent and dropped.

    Raises:
        ConfigError: no LLM is configured, or the budget is no number.
        DataError: the catalogue is empty, or a line of the table is wrong.
        StorageError: the database takes no rows, or another process is at this job or the table.
    """
    config, task = workspace.settings.llm, synonyms_task(writing.prompt)
    run = RunOptions(
        writing.job,
        writing.budget,
        config.prices(),
        config.concurrency,
        config.attempts,
        config.max_tokens,
        progress=options.progress,
    )
    ledger_file = workspace.folder / DATABASE_FILE
    with open_llm(config) as llm, exclusive_lock(job_folder(workspace, writing.job)):
        log, settings = read_search_log(workspace), workspace.settings
        catalogue, fields = log.dataset.catalogue, settings.search.lexical
        index = _index_of(catalogue, fields)
        searched = _searched(log.searches, settings.queries.min_users)
        counts = word_counts(catalogue, fields.fields)
        terms = head_terms(searched, counts)[: writing.terms]
        questions = [_question(term, index, catalogue) for term in terms]
        with closing(Ledger.open(ledger_file)) as ledger:
            told = estimate(task, questions, llm.model, ledger, run)
            on_estimate(told)
            if only_estimate:
                return [], {"estimate": asdict(told)}
            outcome = ask_all(task, questions, llm, ledger, run)
    unsafe = Blocklist.of(settings.queries.unsafe_words)
    found, dropped = proposed(terms, outcome.answers, index, unsafe, f"llm:{llm.model}")
    rows, new = with_proposed(workspace, _weighed(found, workspace, options))
    facts = {
        "estimate": asdict(told),
        "state": outcome.state,
        "reason": outcome.reason,
        "failed": len(outcome.failures),
        "spent": outcome.spent,
        "new": new,
        "dropped": dict(dropped),
    }
    return rows, facts


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


def _index_of(catalogue: Catalogue, config: LexicalConfig) -> LexicalIndex:
    with tempfile.TemporaryDirectory() as scratch:  # Open files stay when their names are gone.
        return LexicalIndex.build(catalogue, Path(scratch) / "words", config)


def _question(term: str, index: LexicalIndex, catalogue: Catalogue) -> Mapping[str, Any]:
    found = index.search(term, _TITLES).item_nums.tolist()
    titles = [catalogue[number].title[:_LONGEST_TITLE] for number in found]
    return {"term": term, "finds": [title for title in titles if title]}


def _weighed(
    found: Sequence[Synonym], workspace: Workspace, options: TrainOptions
) -> list[Synonym]:
    """With the cosine of both sides as confidence: an LLM's own would say nothing."""
    if not found:
        return []
    encoder, cache = (
        open_encoder(workspace.settings.content),
        VectorCache(workspace.cache / "words"),
    )
    one, other = (
        cache.encode(encoder, texts, options.progress, "words")
        for texts in ([row.term for row in found], [row.also for row in found])
    )
    cosines = (one * other).sum(1).clip(0.0, 1.0).tolist()
    return [replace(row, confidence=share) for row, share in zip(found, cosines, strict=True)]
