"""One data set asked three ways: what comes next, what is meant by words, what goes with an item.

The queries of the search task are made of the category path of the item that was chosen, as papers
on joint search and recommendation do with reviews that log no queries; everybody who chose an item
of a category is taken to have typed the same words. What tells them apart is their history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.dataset import Dataset, QueryExamples
from serendip.data.query import History, Query
from serendip_bench.splits import BenchSplit, RequestSet, build_sequential_split

QUERY_FIELDS = ("category",)
"""The field of an item that its query is made of."""

TASKS = ("home", "search", "similar")


@dataclass(frozen=True, slots=True, eq=False)
class UnifiedSplit:
    """What is learned from, and what is asked of each task.

    Args:
        sequences: training part (with queries), numbers of items, requests for the next item.
        tests: task, or task and set -> requests. ``home``: the whole history. ``search``: words
            and history, for targets that have words. ``similar``: the last item of the history
            and nothing else; only that item is left out of the answer.
        validation: the same of the last but one items, which stop training early.
    """

    sequences: BenchSplit
    tests: Mapping[str, RequestSet]
    validation: Mapping[str, RequestSet]


def unified_trial(dataset: Dataset, words: FloatArray) -> UnifiedSplit:
    """All but the last two items of each user are learned from, as in ``bench sequential``.

    Args:
        dataset: everything, not split.
        words: (N, C) vectors of the items' queries, in the order of ``items.jsonl``.
    """
    trial = build_sequential_split(dataset)
    texts = [dataset.catalogue[int(place)].field_text(*QUERY_FIELDS) for place in trial.numbers]
    words = words[trial.numbers]
    known = np.array([n for n, text in enumerate(texts) if text], np.int32)
    known = known[known < trial.train.num_items]
    queries = QueryExamples([texts[number] for number in known], words[known], known)
    tests, validation = (
        {"home": asked, "search": _searches(asked, texts, words), "similar": _similar(asked)}
        for asked in (trial.test, trial.validation)
    )
    sequences = replace(trial, train=trial.train.with_queries(queries))
    return UnifiedSplit(sequences, tests, validation)


def without_user(asked: RequestSet) -> RequestSet:
    """The same requests and answers, of nobody in particular."""
    queries = [replace(query, history=History(), user_id="") for query in asked.queries]
    return replace(asked, queries=queries)


def without_country(asked: RequestSet) -> RequestSet:
    """The same requests and answers, from nowhere in particular."""
    return replace(asked, queries=[replace(query, country="") for query in asked.queries])


def _searches(asked: RequestSet, texts: list[str], words: FloatArray) -> RequestSet:
    queries = [
        replace(query, surface="search", text=texts[item], text_vector=words[item])
        for query, item in zip(asked.queries, asked.items.tolist(), strict=True)
    ]
    has_words = np.array([bool(query.text) for query in queries], np.bool_)
    return RequestSet(queries, asked.items).where(has_words)


def _similar(asked: RequestSet) -> RequestSet:
    last = [query.history.item_nums[-1:] for query in asked.queries]
    queries = [Query("similar", source_items=item, exclude=item) for item in last]
    differs = np.array([item[0] for item in last], np.int32) != asked.items
    return RequestSet(queries, asked.items).where(differs)
