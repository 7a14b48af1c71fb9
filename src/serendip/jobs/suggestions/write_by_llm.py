"""``serendip queries build --llm``: an LLM writes queries for items that no other query retrieves.

These candidates are verified like all others. Those that consist of words of the title, or repeat
another one, are dropped before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.items.catalogue import Catalogue
from serendip.data.privacy import is_publishable
from serendip.data.store.tables.generated_values import without_values
from serendip.data.text import normalise
from serendip.jobs.context import JobContext
from serendip.jobs.llm.job import LlmJob, Question, describe_item, run_llm_job
from serendip.jobs.suggestions.build import (
    SuggestionBuild,
    compute_queries,
    read_written_queries,
    save_written_queries,
)
from serendip.llm.tasks import WrittenQueries, queries_task
from serendip.search.suggestions.candidates import MOST_CHARACTERS, Candidate
from serendip.search.suggestions.checks import normal_form
from serendip.search.suggestions.table import QueryTable


def write_queries(
    context: JobContext, job: LlmJob, max_items: int = 1_000
) -> tuple[SuggestionBuild | None, dict[str, Any]]:
    """Write queries for items that no other query retrieves, then for the most popular others.

    Args:
        context: items, log, ledger and ``[llm]``.
        job: name and limits.
        max_items: largest number of items to write queries for.

    Returns:
        what trainings suggest now (None if the job only estimates), and the report of the run.

    Raises:
        ConfigError: no LLM is configured, or the budget is negative or not a number.
        DataError: the catalogue is empty.
        StorageError: the database cannot be written, or another process runs this job.
    """
    writing = QueryWriting(context, max_items)
    result = run_llm_job(context, queries_task(), writing.questions, job)
    if result.outcome is None:
        return None, result.to_json()
    built, facts = writing.save(result.outcome.answers)
    return built, {**result.to_json(), **facts}


@dataclass(frozen=True, eq=False)
class QueryWriting:
    """Asks for queries about items and keeps the answers.

    Args:
        context: items and log.
        max_items: largest number of items.
    """

    context: JobContext
    max_items: int

    @cached_property
    def items(self) -> list[int]:
        """Item numbers, by descending need of queries."""
        counts = self.context.log.dataset.item_counts()
        order = _order_items(compute_queries(self.context).table, counts)
        return [int(item) for item in order[: self.max_items]]

    def questions(self) -> list[Question]:
        """One question per item, about what the catalogue says of it: nothing generated."""
        catalogue = self.context.log.dataset.catalogue
        items = without_values(catalogue[item] for item in self.items)
        return [{"item": describe_item(item)} for item in items]

    def save(
        self, answers: Sequence[WrittenQueries | None]
    ) -> tuple[SuggestionBuild, dict[str, Any]]:
        """Keep the written queries.

        Args:
            answers: one per question; None = no answer.

        Returns:
            what trainings suggest now, and numbers of written and dropped queries.
        """
        catalogue = self.context.log.dataset.catalogue
        written, dropped = select_candidates(answers, self.items, catalogue)
        texts = {query.text: catalogue[int(query.items[0])].item_id for query in written}
        workspace = self.context.workspace
        save_written_queries(workspace, texts)
        built = compute_queries(self.context, read_written_queries(workspace, catalogue))
        return built, {"written": len(written), "dropped": dict(dropped)}


def select_candidates(
    answers: Sequence[WrittenQueries | None], items: Sequence[int], catalogue: Catalogue
) -> tuple[list[Candidate], Counter[str]]:
    """Select the distinct valid queries that add words to the title.

    Args:
        answers: one per item; None = no answer.
        items: item number of each answer.
        catalogue: the items.

    Returns:
        the candidates, and test -> number of queries that failed it.
    """
    candidates: dict[str, Candidate] = {}
    dropped: Counter[str] = Counter()
    for answer, number in zip(answers, items, strict=True):
        title = normal_form(catalogue[number].title)
        for text in answer.queries if answer else ():
            shown = " ".join("".join(sign for sign in text if sign.isprintable()).split())
            key = normalise(shown)
            if not key or len(shown) > MOST_CHARACTERS:
                dropped["empty or long"] += 1
            elif not is_publishable(shown):
                dropped["an address or odd signs"] += 1
            elif normal_form(shown) <= title:
                dropped["only the title"] += 1
            elif key in candidates:
                dropped["written twice"] += 1
            else:
                item = np.array([number], np.int32)
                candidates[key] = Candidate(shown, "written", "llm", item)
    return list(candidates.values()), dropped


def _order_items(table: QueryTable, counts: IntArray) -> IntArray:
    """Item numbers by descending need: items that no query retrieves, then by popularity.

    Args:
        table: queries not written by an LLM.
        counts: (N,) interactions per item.
    """
    is_retrieved = np.zeros(len(counts), np.bool_)
    is_rule = np.array([kind != "like" for kind in table.kinds], np.bool_)
    results = table.results[is_rule]
    is_retrieved[results[results >= 0]] = True
    return np.lexsort((-counts, is_retrieved)).astype(np.int32)
