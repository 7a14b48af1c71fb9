"""Inputs of the context encoder for a batch of requests; plain numpy, in training and serving.

Shapes: B queries, T history steps, N items, L code levels, E size of item vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serendip.data import FloatArray, History, IntArray, Query, Task, TimeArray
from serendip.data.query import RECALLED, select_relevant_history

if TYPE_CHECKING:
    from serendip.models.retriever.config import RetrieverConfig

NONE = -1
"""Number that means: no source item, no query, no target."""

HOME, SIMILAR, SEARCH = 0, 1, 2
NUM_TASKS = 3
TASK_OF: Mapping[Task, int] = {
    "home": HOME,
    "similar": SIMILAR,
    "search": SEARCH,
    "cart": SIMILAR,
    "thank_you": SIMILAR,
}

GAP_LIMITS = np.array([1.0, 10.0, 60.0, 600.0, 3600.0, 86_400.0, 604_800.0, 2_592_000.0])
"""Borders, in seconds, of the time gap buckets: from a second to 30 days."""

NUM_GAPS = len(GAP_LIMITS) + 2

LongArray = NDArray[np.int64]


def gap_buckets(seconds: TimeArray) -> LongArray:
    """Bucket the times between two steps; bucket 0 = no step before (NaN)."""
    buckets = np.searchsorted(GAP_LIMITS, np.nan_to_num(seconds), side="right") + 1
    return np.where(np.isnan(seconds), 0, buckets).astype(np.int64)


def build_requests(
    queries: Sequence[Query],
    item_vectors: FloatArray,
    projected: FloatArray,
    codes: IntArray,
    texts: Sequence[FloatArray | None],
    config: RetrieverConfig,
    countries: Sequence[str] = (),
) -> dict[str, NDArray[Any]]:
    """Build the encoder's inputs, by name, for a batch of queries, imputing missing context.

    Args:
        queries: B requests.
        item_vectors: (N, E).
        projected: (N, E) projected content of the items.
        codes: (N, L) semantic IDs; of a history longer than ``max_len``, up to a fifth of what
            is read are older events about the same things (see ``select_relevant_history``).
        texts: projected text (E,) of each query, or None.
        config: ``max_len`` is read.
        countries: countries seen in training; others count as unknown.
    """
    max_len = config.max_len
    count, size = len(queries), item_vectors.shape[1]
    histories = [_readable(query, codes, max_len) for query in queries]
    longest = max(1, *(len(history) for history in histories)) if count else 1
    steps = np.zeros((count, longest, size), np.float32)  # (B, T, E)
    liked = np.zeros((count, longest), np.int64)
    gaps = np.zeros((count, longest), np.int64)
    places = np.full((count, longest), max_len, np.int64)  # ``max_len`` = padding
    # Text and source of each request, and whether it has them.
    request = np.zeros((2, count, 1, size), np.float32)  # (2, B, 1, E)
    is_given = np.zeros((2, count, 1), np.float32)
    for row, (query, history) in enumerate(zip(queries, histories, strict=True)):
        length = len(history)
        if length:
            steps[row, :length] = item_vectors[history.item_nums]
            liked[row, :length] = history.liked
            gaps[row, 1:length] = gap_buckets(np.diff(history.timestamps))
            places[row, :length] = np.arange(length)
        sources = _sources(query, history.item_nums[-1:], len(item_vectors))
        text, is_similar = texts[row], TASK_OF[query.task] == SIMILAR
        if text is None and len(sources) and is_similar:
            text = projected[sources].mean(0, dtype=np.float32)
        if text is not None:
            request[0, row, 0], is_given[0, row] = text, 1.0
        if len(sources):
            request[1, row, 0], is_given[1, row] = item_vectors[sources].mean(0), 1.0
    prefix = np.array([[len(history)] for history in histories], np.int64)
    task = np.array([[TASK_OF[query.task]] for query in queries], np.int64)
    inputs: dict[str, NDArray[Any]] = {
        "history": steps,
        "liked": liked,
        "gaps": gaps,
        "places": places,
    }
    inputs |= {"prefix": prefix, "task": task, "text": request[0], "has_text": is_given[0]}
    inputs |= {"source": request[1], "has_source": is_given[1]}
    return {**inputs, "country": _countries(queries, countries)} if countries else inputs


def _countries(queries: Sequence[Query], names: Sequence[str]) -> LongArray:
    """(B, 1) 1 + index of the country in ``names``; 0 = unknown, or not a home request."""
    number = {name: index for index, name in enumerate(names, start=1)}
    return np.array(
        [[number.get(query.country, 0) if TASK_OF[query.task] == HOME else 0] for query in queries],
        np.int64,
    )


def _readable(query: Query, codes: IntArray, max_len: int) -> History:
    """Up to ``max_len`` events of items in the model, some of them retrieved by relevance."""
    sources = query.source_items
    sources = sources[(sources >= 0) & (sources < len(codes))]
    num_retrieved = min(RECALLED, max_len // 5)
    history = query.history.known(len(codes))
    return select_relevant_history(
        history, codes, codes[sources], max_len - num_retrieved, num_retrieved
    ).last(max_len)


def _sources(query: Query, last: IntArray, num_items: int) -> IntArray:
    """Source items of a request: those given, else ``last`` unless it is a search."""
    given = query.source_items
    given = given[(given >= 0) & (given < num_items)]
    if len(given) or TASK_OF[query.task] == SEARCH:
        return given
    return last
