"""From the store to a ``Dataset``: what a trainer may see, as of one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray
from serendip.data.dataset import Dataset, EventLog
from serendip.data.event import ActionRules
from serendip.data.event_columns import EventColumns
from serendip.data.item import Catalogue
from serendip.data.requests import logged_requests
from serendip.data.store import Store
from serendip.data.vocabulary import Vocabulary
from serendip.data.written import with_written

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
    of time and then of arrival. Items carry what machines wrote about them where that is active.

    Args:
        store: where from.
        rules: which events are interactions and which likes.
        cut: Unix seconds; later events are left out. None = nothing is.
    """
    return snapshot_with_drops(store, rules, cut)[0]


def snapshot_with_drops(
    store: Store, rules: ActionRules, cut: float | None = None
) -> tuple[Dataset, DroppedEvents]:
    """``take_snapshot``, and what was left out of it."""
    content = store.content()
    catalogue = Catalogue(with_written(content.items, store.written.active()))
    columns = content.events
    actions = np.array(columns.actions, dtype=object)
    ignored = np.isin(actions, list(rules.ignore)) if len(columns) else np.zeros(0, np.bool_)
    item_nums = catalogue.vocabulary.numbers(columns.item_ids)
    unknown = ~ignored & (item_nums < 0)
    late = columns.timestamps > (np.inf if cut is None else cut)
    after_cut = ~ignored & ~unknown & late
    rows = np.flatnonzero(~(ignored | unknown | after_cut))
    user_ids = [columns.user_ids[row] for row in rows.tolist()]
    users = Vocabulary(dict.fromkeys(user_ids))
    events = EventLog(
        users.numbers(user_ids),
        item_nums[rows],
        columns.timestamps[rows],
        likes(columns, rules)[rows],
        columns.values[rows].astype(np.float32),
        _strengths([columns.actions[row] for row in rows.tolist()], rules),
    )
    asked = store.requested(MOST_REQUESTED)
    known = [event for event in asked if cut is None or event.timestamp <= cut]
    requests = logged_requests(known, catalogue.vocabulary, rules)
    dropped = DroppedEvents(int(ignored.sum()), int(unknown.sum()), int(after_cut.sum()))
    return Dataset(catalogue, users, events, cut=cut, requests=requests), dropped


def _strengths(actions: Sequence[str], rules: ActionRules) -> FloatArray | None:
    """(E,) how much each action counts; None where all count the same."""
    if not rules.strengths:
        return None
    return np.array([rules.strengths.get(action, 1.0) for action in actions], np.float32)


def likes(columns: EventColumns, rules: ActionRules) -> BoolArray:
    """(E,) which events are likes; ``ActionRules.is_like`` for all rows at once."""
    by_name = {action: action in rules.always_like for action in set(columns.actions)}
    by_action = np.fromiter((by_name[action] for action in columns.actions), dtype=np.bool_)
    with_value = ~np.isnan(columns.values)
    liked: BoolArray = np.where(with_value, columns.values >= rules.like_at_least, by_action)
    return liked
