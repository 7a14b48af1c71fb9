"""Queries for items that no other query retrieves, by an LLM.

Those that consist of words of the title, or repeat another one, are dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from serendip.data import Catalogue, IntArray
from serendip.data.privacy import is_publishable
from serendip.data.store.tables.generated import Generated, without_generated
from serendip.data.text import normalise
from serendip.jobs.context import JobContext
from serendip.jobs.llm.job import Question, Writing, describe_item
from serendip.jobs.suggestions.build import compute_queries
from serendip.llm.tasks import Task, WrittenQueries
from serendip.search.suggestions.candidates import MOST_CHARACTERS
from serendip.search.suggestions.checks import normal_form
from serendip.search.suggestions.table import QueryTable


@dataclass(frozen=True, eq=False)
class QueryWriting(Writing[WrittenQueries]):
    """Asks for queries about items that no other query retrieves, then about popular ones."""

    context: JobContext
    most: int = 1_000

    task = Task.of(WrittenQueries)

    @cached_property
    def items(self) -> list[int]:
        """Item numbers, by descending need of queries."""
        counts = self.context.query_log.dataset.item_counts()
        order = _order_items(compute_queries(self.context)[0], counts)
        return [int(item) for item in order[: self.most]]

    def questions(self) -> list[Question]:
        """One question per item, about what the catalogue says of it: nothing generated."""
        catalogue = self.context.query_log.dataset.catalogue
        items = without_generated(catalogue[item] for item in self.items)
        return [{"item": describe_item(item)} for item in items]

    def keep(self, answers: Sequence[WrittenQueries | None], model: str) -> dict[str, Any]:
        """Store the queries, which are used only after they pass the gate."""
        catalogue, prompt = self.context.query_log.dataset.catalogue, self.task.prompt.name
        texts, dropped = select_queries(answers, self.items, catalogue)
        rows = [
            Generated(
                *("query", catalogue[number].item_id, normalise(text), "llm"),
                *(text, model, prompt),
            )
            for text, number in texts.items()
        ]
        with self.context.workspace.open_store() as store:
            store.generated.put(rows)
        return {"written": len(rows), "queries": list(texts), "dropped": dict(dropped)}


def select_queries(
    answers: Sequence[WrittenQueries | None], items: Sequence[int], catalogue: Catalogue
) -> tuple[dict[str, int], Counter[str]]:
    """Select the distinct valid queries that add words to the title.

    Answers are one per item; None = no answer. Returns query -> its item number, and test -> number
    of queries that failed it.
    """
    queries: dict[str, tuple[str, int]] = {}
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
            elif key in queries:
                dropped["written twice"] += 1
            else:
                queries[key] = shown, number
    return dict(queries.values()), dropped


def _order_items(table: QueryTable, counts: IntArray) -> IntArray:
    """Item numbers by descending need: items that no query retrieves, then by popularity.

    The table has queries not written by an LLM.
    """
    is_retrieved = np.zeros(len(counts), np.bool_)
    is_rule = np.array([kind != "like" for kind in table.kinds], np.bool_)
    results = table.results[is_rule]
    is_retrieved[results[results >= 0]] = True
    return np.lexsort((-counts, is_retrieved)).astype(np.int32)
