"""``serendip queries build --llm``: an LLM writes queries for items that no other query retrieves.

They are candidates like any others: one that does not retrieve its item, is unsafe, duplicates
another or holds only words of the title is dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.item import Catalogue
from serendip.data.privacy import is_publishable
from serendip.data.text import normalise
from serendip.jobs.context import JobContext
from serendip.jobs.llm_job import LlmJob, Question, item_texts, run_llm_job
from serendip.jobs.suggestions.build import BuiltQueries, build_queries, queries_of
from serendip.llm.tasks import WrittenQueries, queries_task
from serendip.search.suggestions.candidates import MOST_CHARACTERS, Candidate
from serendip.search.suggestions.checks import normal_form
from serendip.search.suggestions.table import QueryTable


def write_queries(
    context: JobContext, job: LlmJob, max_items: int = 1_000, prompt: str = "queries-1"
) -> tuple[str, BuiltQueries | None, dict[str, Any]]:
    """Write queries for items that no other query retrieves, then for the most popular others.

    Args:
        context: items, log, ledger and ``[llm]``.
        job: name and limits.
        max_items: that the LLM is asked about.
        prompt: name with version.

    Returns:
        name and content of the new version ("" and None after an estimate alone), and the facts
        of the run.

    Raises:
        ConfigError: no LLM is configured, or the budget is not a number of at least 0.
        DataError: the catalogue is empty.
        StorageError: the database takes no rows, or another process runs this job.
    """
    writing = QueryWriting(context, max_items)
    result = run_llm_job(context, queries_task(prompt), writing.questions, job)
    if result.outcome is None:
        return "", None, result.to_json()
    name, built, facts = writing.keep(result.outcome.answers)
    return name, built, {**result.to_json(), **facts}


@dataclass(frozen=True, eq=False)
class QueryWriting:
    """Questions about items, and what becomes of the queries written for them.

    Args:
        context: items and log.
        max_items: that the LLM is asked about.
    """

    context: JobContext
    max_items: int

    @cached_property
    def items(self) -> list[int]:
        """Numbers of the items, those that need queries most first."""
        counts = self.context.log.dataset.item_counts()
        order = _order(queries_of(self.context).table, counts)
        return [int(item) for item in order[: self.max_items]]

    def questions(self) -> list[Question]:
        """One question per item."""
        catalogue = self.context.log.dataset.catalogue
        return [{"item": item_texts(catalogue[item])} for item in self.items]

    def keep(
        self, answers: Sequence[WrittenQueries | None]
    ) -> tuple[str, BuiltQueries, dict[str, Any]]:
        """Publish a version with the queries that were written.

        Args:
            answers: one per question, None where there is none.

        Returns:
            name and content of the version, and counts of written and dropped queries.
        """
        catalogue = self.context.log.dataset.catalogue
        written, dropped = candidates_of(answers, self.items, catalogue)
        texts = {one.text: catalogue[int(one.items[0])].item_id for one in written}
        name, built = build_queries(self.context, texts)
        return name, built, {"written": len(written), "dropped": dict(dropped)}


def candidates_of(
    answers: Sequence[WrittenQueries | None], items: Sequence[int], catalogue: Catalogue
) -> tuple[list[Candidate], Counter[str]]:
    """Different plain queries that say more than a title; and test -> how many failed it.

    Args:
        answers: one per item, None where there is none.
        items: number of the item of each answer.
        catalogue: the items.
    """
    found: dict[str, Candidate] = {}
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
            elif key in found:
                dropped["written twice"] += 1
            else:
                item = np.array([number], np.int32)
                found[key] = Candidate(shown, "written", "llm", item)
    return list(found.values()), dropped


def _order(table: QueryTable, counts: IntArray) -> IntArray:
    """Items in the order in which they need queries.

    Args:
        table: of queries that no LLM wrote.
        counts: (N,) interactions per item.
    """
    reached = np.zeros(len(counts), np.bool_)
    is_rule = np.array([kind != "like" for kind in table.kinds], np.bool_)
    results = table.results[is_rule]
    reached[results[results >= 0]] = True
    return np.lexsort((-counts, reached)).astype(np.int32)
