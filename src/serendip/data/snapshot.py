"""Snapshots: build the ``Dataset`` that a trainer may see, as of one moment, from the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray, rank_by_first
from serendip.data.dataset import Dataset, EventLog, UserCountries
from serendip.data.events.event import ActionRules
from serendip.data.events.event_table import LogColumns, Texts
from serendip.data.events.feedback import Feedback
from serendip.data.events.rejections import ImpressionLog, NegativeLog, taken_back_at
from serendip.data.events.search_log import IMPRESSION, logged_requests
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.store.store import Store
from serendip.data.store.tables.generated import with_generated
from serendip.data.users.user import group_users
from serendip.data.vocabulary import MISSING, Vocabulary

MOST_REQUESTED = 200_000  # newest request events: a ranker learns from a few thousand requests


@dataclass(frozen=True, slots=True, eq=False)
class StoreSnapshot:
    """Items and log at one moment; requests, users and generated values just after it.

    Args:
        item_version: of the newest change of an item, or an earlier one.
        event_seq: number of the newest event of the snapshot; the log goes on after it.
        event_removals: number of times that events were removed from the log before.
        last_erasure: the same number when the last user was erased; 0 = none was.
        last_item_erasure: version at which the last item was erased that is not in the snapshot.
        generated: digest of the generated values in use, or of earlier ones.
    """

    dataset: Dataset
    item_version: int
    event_seq: int
    event_removals: int
    last_erasure: int
    last_item_erasure: int
    user_changes: int
    generated: str


def read_snapshot(store: Store, rules: ActionRules) -> StoreSnapshot:
    """Take a snapshot of everything, with its place in the log: see ``take_snapshot``."""
    item_erasure = store.last_item_erasure()
    item_version = store.max_version()  # first: a change is rather applied twice than never
    user_changes, generated = store.users.changes(), _digest_generated(store)
    with store.database.read() as connection:
        items, events = store.items(connection), LogColumns.of_table(store.log.rows(connection))
        position, last_erasure = store.log.position(connection), store.last_erasure(connection)
    place = position.seq, position.removals, last_erasure, item_erasure
    dataset = _build(store, items, events, rules)
    return StoreSnapshot(dataset, item_version, *place, user_changes, generated)


def _digest_generated(store: Store) -> str:
    active = [astuple(row) for row in store.generated.of_items()]
    return hashlib.sha256(json.dumps(active).encode()).hexdigest() if active else ""


def take_snapshot(store: Store, rules: ActionRules) -> Dataset:
    """Take a snapshot: all items that are not deleted and all interactions with them.

    Items are in order of first insertion, users in order of their first event, events in order of
    time and then of arrival. Negative events are kept in a log of their own. Items carry their
    active generated values.
    """
    return read_snapshot(store, rules).dataset


def _build(store: Store, items: Sequence[Item], columns: LogColumns, rules: ActionRules) -> Dataset:
    catalogue = Catalogue(with_generated(items, store.generated.of_items()))
    feedback = Feedback.of_actions(*columns.actions, columns.values, rules)
    ignored = ~feedback.interest & (feedback.exclusions < 0)
    codes, item_ids = columns.items
    item_nums = catalogue.vocabulary.numbers(item_ids)[codes]  # (E,)
    usable = ~ignored & (item_nums >= 0)
    rows = np.flatnonzero(usable & feedback.interest)
    log_users, user_ids = columns.users
    user_nums, user_rows = rank_by_first(log_users[rows], len(user_ids))
    users = Vocabulary(user_ids[row] for row in user_rows.tolist())
    actions, action_names = _known_texts(columns.actions, rows)
    events = EventLog(
        user_nums,
        item_nums[rows],
        columns.timestamps[rows],
        feedback.liked[rows],
        columns.values[rows].astype(np.float32),
        _strengths(actions, action_names, rules),
        actions.astype(np.int16),
    )
    device_names: tuple[str, ...] = ()
    if columns.devices is not None:
        devices, device_names = _known_texts(columns.devices, rows)
        events = replace(events, devices=devices)
    if columns.sessions is not None:
        events = replace(events, sessions=columns.sessions[rows])
    requests = logged_requests(store.log.requested(MOST_REQUESTED), catalogue.vocabulary, rules)
    numbers = np.full(len(user_ids), MISSING, np.int32)
    numbers[user_rows] = np.arange(len(user_rows))
    negatives = _negative_log(columns, usable, item_nums, feedback, numbers)
    known = store.users.all()
    dataset = Dataset(
        catalogue,
        users,
        events,
        requests=requests,
        negatives=negatives,
        impressions=_impression_log(columns, item_nums),
        action_names=action_names,
        device_names=device_names,
        user_groups=group_users(users, known),
    )
    of_users = {user.user_id: user.country for user in known if user.country}
    return _with_countries(dataset, columns, ~ignored, rows, of_users)


def _with_countries(
    dataset: Dataset,
    columns: LogColumns,
    heard: BoolArray,
    rows: NDArray[np.intp],
    of_users: Mapping[str, str],
) -> Dataset:
    """The dataset with the country of each user and of each event; unchanged if none is known.

    A user's country is that of their attributes, else that of their newest event that has one. An
    event without a country has what was known of its user then, as a request would: that of the
    attributes, else that of the newest event before, so that no event tells of its future.

    Of the log, ``heard`` (A,) says which events count for the country of a user, and ``rows`` (E,)
    which are the dataset's.
    """
    if columns.countries is None and not of_users:
        return dataset
    codes, names = np.full(len(columns), MISSING, np.int32), tuple[str, ...]()
    if columns.countries is not None:
        codes, names = _known_texts(columns.countries)
    countries = Vocabulary(sorted({*names, *of_users.values()}))
    codes = np.append(countries.numbers(names), np.int32(MISSING))[codes]  # the last one of -1
    user_codes, log_users = columns.users[0], Vocabulary(columns.users[1])
    given = log_users.numbers(of_users)
    of_attribute = np.full(len(log_users), MISSING, np.int32)
    of_attribute[given[given >= 0]] = countries.numbers(of_users.values())[given >= 0]
    codes = np.where(heard, codes, MISSING)
    codes = np.where(codes >= 0, codes, of_attribute[user_codes])
    carried = _carry_forward(user_codes, codes)  # of all events
    last = np.full(len(log_users), MISSING, np.int32)
    last[user_codes] = carried  # of equal users the last write counts
    log = replace(dataset.events, countries=carried[rows])
    users = log_users.numbers(dataset.users.ids)  # (U,)
    found = np.where(of_attribute >= 0, of_attribute, last)[users]
    of_dataset = UserCountries(tuple(countries.ids), found, of_attribute[users] >= 0)
    return replace(dataset, events=log).with_countries(of_dataset)


def _carry_forward(users: IntArray, codes: IntArray) -> IntArray:
    """(E,) code of each event or, without one (-1), that of the same user's newest event before."""
    order = np.argsort(users, kind="stable")
    ordered, places = codes[order], np.arange(len(users))
    starts = np.append(True, users[order][1:] != users[order][:-1])[: len(users)]
    # A user's first event ends what is carried, with or without a code.
    last = np.maximum.accumulate(np.where((ordered >= 0) | starts, places, 0))
    carried = np.empty_like(codes)
    carried[order] = ordered[last]
    return carried


def _negative_log(
    columns: LogColumns,
    usable: BoolArray,
    item_nums: IntArray,
    feedback: Feedback,
    user_nums: IntArray,
) -> NegativeLog:
    is_negative = usable & (feedback.exclusions >= 0)
    if not is_negative.any():
        return NegativeLog()
    users, rows = columns.users[0], np.flatnonzero(usable)
    pairs = users[rows].astype(np.int64) * (int(item_nums.max()) + 1) + item_nums[rows]
    until = taken_back_at(pairs, feedback.takes_back[rows], columns.timestamps[rows])
    kept = is_negative[rows]
    rows = rows[kept]
    return NegativeLog(
        user_nums[users[rows]],
        item_nums[rows],
        columns.timestamps[rows],
        columns.values[rows].astype(np.float32),
        feedback.exclusions[rows],
        until[kept],
    )


def _impression_log(columns: LogColumns, item_nums: IntArray) -> ImpressionLog:
    """The impressions of known items (E,), -1 = not known."""
    actions, names = columns.actions
    if IMPRESSION not in names:
        return ImpressionLog()
    rows = np.flatnonzero((actions == names.index(IMPRESSION)) & (item_nums >= 0))
    return ImpressionLog(item_nums[rows], columns.timestamps[rows])


def _known_texts(
    texts: Texts, rows: NDArray[np.intp] | slice = slice(None)
) -> tuple[IntArray, tuple[str, ...]]:
    """(E,) int32 codes of some events by first appearance, -1 for no text, and the texts."""
    codes, names = texts
    codes, used = rank_by_first(codes[rows], len(names))
    known = [names[code] for code in used.tolist()]
    if "" not in known:
        return codes, tuple(known)
    none = known.index("")
    codes = np.where(codes == none, -1, codes - (codes > none)).astype(np.int32)
    return codes, tuple(name for name in known if name)


def _strengths(actions: IntArray, names: Sequence[str], rules: ActionRules) -> FloatArray | None:
    if not rules.strengths:
        return None
    return np.array([rules.strengths.get(name, 1.0) for name in names], np.float32)[actions]  # (E,)
