"""Taste: how alike items are to what a user likes, whether or not anybody has chosen them.

The ranker learned from items that people chose, and values one without a past too low. Content
knows all items alike: an item fits a taste as the mean of its largest likenesses to single items
that the user likes, since a mean over all of them would find what lies between several tastes.
The newest likes count, and where these are few the newest other choices.

Shapes: C items, T items that are liked.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.data.query import History, Query
from serendip.engine.stages.batch import Batch
from serendip.engine.stages.scoring import round_scores
from serendip.engine.stages.surfaces import RETRIEVER

_LIKES = 100
"""Items of a history that others are compared with."""

_NEAREST = 3
"""Largest likenesses whose mean counts."""

_CONTENT = "content"


def taste_scores(batch: Batch, row: int, items: IntArray) -> FloatArray:
    """How well items (C,) fit a query of a batch, by scores that do not rest on their past.

    Where the query has a text, or neither source items nor a history, these are the retriever's.
    """
    query = batch.queries[row]
    context = _find_context(query, batch.pasts[row])
    if not len(context) and RETRIEVER in batch.state.models:
        rows = np.full(len(items), row, np.int32)
        return round_scores(batch.scores(RETRIEVER).of_items(rows, items))
    votes = batch.state.models[_CONTENT].compute_votes(replace(query, source_items=context), items)
    if votes is None or not len(votes[0]):
        return np.zeros(len(items), np.float32)
    count = min(_NEAREST, len(votes[1]))
    nearest = np.partition(votes[1], -count, axis=0)[-count:]  # (3, C) of (T, C)
    return round_scores(np.sort(nearest, axis=0).mean(axis=0))


def _find_context(query: Query, past: History) -> IntArray:
    """Items (T,) that others are compared with; none where the query has a text."""
    if query.text or len(query.source_items):
        return NO_ITEMS if query.text else query.source_items
    return past.item_nums[np.argsort(past.liked, kind="stable")[-_LIKES:]]  # newest likes last
