"""Queries for items that no other query retrieves, by an LLM.

Those that consist of words of the title, or repeat another one, are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Any

import numpy as np

from serendip.data import Catalogue, IntArray
from serendip.data.privacy import is_publishable
from serendip.data.store.tables.generated import Generated, without_generated
from serendip.data.text import normalise
from serendip.jobs.context import JobContext
from serendip.jobs.llm.job import Writing, describe_item, put_generated, select_valid
from serendip.jobs.suggestions.build import compute_queries
from serendip.llm.tasks import Task, WrittenQueries
from serendip.search.suggestions.candidates import MOST_CHARACTERS
from serendip.search.suggestions.checks import normal_form
from serendip.search.suggestions.table import QueryTable


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
