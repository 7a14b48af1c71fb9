"""Three tasks on one data set of sequences: next item, search and similar items.

The query of a search request is the text of the target's category path, as in papers on joint
search and recommendation with review data, which has no queries. Requests for items of one category
differ in their history only.

Shapes: N items, C content dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from serendip.data import Dataset, FloatArray, History, Query, QueryExamples
from serendip_bench.splits import BenchSplit, RequestSet, build_sequential_split

QUERY_FIELDS = ("category",)
"""Item fields whose text is the query of the item."""

TASKS = ("home", "search", "similar")


@dataclass(frozen=True, slots=True, eq=False)
class UnifiedSplit:
    """Training data, and the requests of each task.

    Args:
        sequences: training part (with queries), item numbers, requests for the next item.
        tests: task, or task and set -> requests. Input of ``home``: the whole history; of
            ``search``: query and history, for targets with a query text; of ``similar``: the last
            item of the history alone, which is the only excluded item.
        validation: the same for the last but one items, for early stopping.
    """

    sequences: BenchSplit
    tests: Mapping[str, RequestSet]
    validation: Mapping[str, RequestSet]


def build_unified_split(dataset: Dataset, words: FloatArray) -> UnifiedSplit:
    """Train on all but the last two items of each user, as in ``bench sequential``.

    Args:
        dataset: unsplit.
        words: (N, C) vectors of the items' queries, in the order of ``items.jsonl``.
    """
    split = build_sequential_split(dataset)
    texts = [dataset.catalogue[int(number)].field_text(*QUERY_FIELDS) for number in split.numbers]
    words = words[split.numbers]  # (N, C)
    with_text = np.array([n for n, text in enumerate(texts) if text], np.int32)
    with_text = with_text[with_text < split.train.num_items]
    queries = QueryExamples([texts[number] for number in with_text], words[with_text], with_text)
    tests, validation = (
        {
            "home": requests,
            "search": _to_searches(requests, texts, words),
            "similar": _to_similar(requests),
        }
        for requests in (split.test, split.validation)
    )
    sequences = replace(split, train=split.train.with_queries(queries))
    return UnifiedSplit(sequences, tests, validation)


def without_user(requests: RequestSet) -> RequestSet:
    """The same requests and targets without user id and history."""
    queries = [replace(query, history=History(), user_id="") for query in requests.queries]
    return replace(requests, queries=queries)


def without_country(requests: RequestSet) -> RequestSet:
    """The same requests and targets without the country."""
    return replace(requests, queries=[replace(query, country="") for query in requests.queries])


def _to_searches(requests: RequestSet, texts: list[str], words: FloatArray) -> RequestSet:
    queries = [
        replace(query, surface="search", text=texts[item], text_vector=words[item])
        for query, item in zip(requests.queries, requests.items.tolist(), strict=True)
    ]
    has_words = np.array([bool(query.text) for query in queries], np.bool_)
    return RequestSet(queries, requests.items).where(has_words)


def _to_similar(requests: RequestSet) -> RequestSet:
    last = [query.history.item_nums[-1:] for query in requests.queries]
    queries = [Query("similar", source_items=item, exclude=item) for item in last]
    differs = np.array([item[0] for item in last], np.int32) != requests.items
    return RequestSet(queries, requests.items).where(differs)
