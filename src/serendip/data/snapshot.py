"""From the store to a ``Dataset``: what a trainer may see, as of one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.dataset import Dataset, EventLog
from serendip.data.event import ActionRules, EventColumns
from serendip.data.feedback import Feedback
from serendip.data.item import Catalogue
from serendip.data.negative_log import NegativeLog
from serendip.data.rejections import taken_back_at
from serendip.data.search_log import logged_requests
from serendip.data.store.generated_texts import with_generated
from serendip.data.store.store import Store
from serendip.data.vocabulary import Vocabulary

MOST_REQUESTED = 200_000
"""Newest events of requests that are read: a ranker learns from a few thousand requests."""


@dataclass(frozen=True, slots=True)
class DroppedEvents:
    """Events that are in the store but not in a snapshot; each is counted once, first reason first.

    Args:
        ignored: their action says nothing about taste (``ActionRules.ignore``).
        unknown_item: their item is unknown or deleted, or they name none.
        after_cut: they happened after the cut.
    """

    ignored: int = 0
    unknown_item: int = 0
    after_cut: int = 0


def take_snapshot(store: Store, rules: ActionRules, cut: float | None = None) -> Dataset:
    """All items that are not deleted and all interactions with them up to a time.

    Items stand in order of first insertion, users in order of their first event, events in order
    of time and then of arrival. Negative events are no interactions and kept apart. Items carry
    what machines wrote about them where that is active.

    Args:
        store: where from.
        rules: which events are interactions, likes or negative.
        cut: Unix seconds; later events are left out. None = nothing is.
    """
    return snapshot_with_drops(store, rules, cut)[0]


def snapshot_with_drops(
    store: Store, rules: ActionRules, cut: float | None = None
) -> tuple[Dataset, DroppedEvents]:
    """``take_snapshot``, and what was left out of it."""
    content = store.content()
    catalogue = Catalogue(with_generated(content.items, store.written.active()))
    columns = content.events
    feedback = Feedback.of(columns, rules)
    ignored = ~feedback.interest & (feedback.exclusions < 0)
    item_nums = catalogue.vocabulary.numbers(columns.item_ids)
    unknown = ~ignored & (item_nums < 0)
    late = columns.timestamps > (np.inf if cut is None else cut)
    after_cut = ~ignored & ~unknown & late
    usable = ~(ignored | unknown | after_cut)
    rows = np.flatnonzero(usable & feedback.interest)
    user_ids = [columns.user_ids[row] for row in rows.tolist()]
    users = Vocabulary(dict.fromkeys(user_ids))
    actions = [columns.actions[row] for row in rows.tolist()]
    names = Vocabulary(dict.fromkeys(actions))
    events = EventLog(
        users.numbers(user_ids),
        item_nums[rows],
        columns.timestamps[rows],
        feedback.liked[rows],
        columns.values[rows].astype(np.float32),
        _strengths(actions, rules),
        names.numbers(actions).astype(np.int16),
    )
    asked = store.requested(MOST_REQUESTED)
    known = [event for event in asked if cut is None or event.timestamp <= cut]
    requests = logged_requests(known, catalogue.vocabulary, rules)
    dropped = DroppedEvents(int(ignored.sum()), int(unknown.sum()), int(after_cut.sum()))
    negatives = _negatives(columns, usable, item_nums, feedback, users)
    dataset = Dataset(
        catalogue,
        users,
        events,
        cut=cut,
        requests=requests,
        negatives=negatives,
        action_names=names.ids,
    )
    return dataset, dropped


def _negatives(
    columns: EventColumns,
    usable: BoolArray,
    item_nums: IntArray,
    feedback: Feedback,
    users: Vocabulary,
) -> NegativeLog:
    """The negative ones of the usable events."""
    is_negative = usable & (feedback.exclusions >= 0)
    if not is_negative.any():
        return NegativeLog()
    rows = np.flatnonzero(usable)
    user_ids = [columns.user_ids[row] for row in rows.tolist()]
    everybody = Vocabulary(dict.fromkeys(user_ids)).numbers(user_ids).astype(np.int64)
    pairs = everybody * (int(item_nums.max()) + 1) + item_nums[rows]
    until = taken_back_at(pairs, feedback.takes_back[rows], columns.timestamps[rows])
    kept = is_negative[rows]
    rows = rows[kept]
    return NegativeLog(
        users.numbers(columns.user_ids[row] for row in rows.tolist()),
        item_nums[rows],
        columns.timestamps[rows],
        columns.values[rows].astype(np.float32),
        feedback.exclusions[rows],
        until[kept],
    )


def _strengths(actions: Sequence[str], rules: ActionRules) -> FloatArray | None:
    """(E,) how much each action counts; None where all count the same."""
    if not rules.strengths:
        return None
    return np.array([rules.strengths.get(action, 1.0) for action in actions], np.float32)
