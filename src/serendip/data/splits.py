"""Train/test split of a dataset in time.

Events before a cut are training data, events from it on are targets. No trainer sees an event, an
item or a user that did not exist before the cut.

Items are renumbered: train items come first in catalogue order, then ``new_items``;
``Split.catalogue`` is the numbering of targets and histories, and its beginning is the numbering of
``train``. Features and query examples of the dataset are dropped: they may contain the future.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, BoolArray, FloatArray, IntArray, TimeArray
from serendip.data.dataset import Dataset, EventLog
from serendip.data.events.event import NO_SESSION
from serendip.data.events.rejections import NegativeLog
from serendip.data.events.repeats import Repeats
from serendip.data.events.search_log import LoggedRequest
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.query import History, Query, Task, UserPast
from serendip.data.users.profile import VISIT_GAP
from serendip.data.users.user import groups_of
from serendip.data.vocabulary import Vocabulary
from serendip.errors import DataError

Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Targets:
    """Events to predict, user by user, each user's in order of time.

    A target is its user's first event with its item, or one with an item that was due to come
    again (``next_choices``), and the item was not rejected before: other items of the history and
    rejected items are never recommended, so they cannot be targets.

    Args:
        numbers: (N,) int32 number in ``Split.catalogue`` of each of its items.
        rejections: user number -> negative events, items numbered as in ``Split.catalogue``.
        people: (P,) int32 numbers of the users of all targets of the split, ascending.
        events: (T,) row of each target in the log.
        places: (T,) index of the target in its user's whole history.
        known: (T,) number of events of that history visible at request time.
    """

    dataset: Dataset
    numbers: IntArray
    rejections: Mapping[int, NegativeLog]
    people: IntArray
    events: Rows
    places: Rows
    known: Rows

    def __len__(self) -> int:
        return len(self.events)

    def rows(self, rows: Rows) -> Targets:
        """Select targets by increasing row; the users keep their whole histories."""
        places, known = self.places[rows], self.known[rows]
        return replace(self, events=self.events[rows], places=places, known=known)

    @cached_property
    def users(self) -> Sequence[str]:
        """T external ids."""
        return self.dataset.users.ids_of(self.dataset.events.users[self.events])

    @cached_property
    def items(self) -> IntArray:
        """(T,) int32 numbers in ``Split.catalogue``."""
        items: IntArray = self.numbers[self.dataset.events.items[self.events]]
        return items

    @cached_property
    def times(self) -> TimeArray:
        """(T,) float64 Unix seconds."""
        return self.dataset.events.timestamps[self.events]

    @property
    def user_ids(self) -> Sequence[str]:
        """P ids of the users of all targets of the split."""
        return self.dataset.users.ids_of(self.people)

    def country(self, row: int) -> str:
        """Country of a target's request; empty = not known."""
        log, countries = self.dataset.events, self.dataset.countries
        names = () if countries is None else countries.names
        own = _name_of(log.countries, int(self.events[row]), names)
        return own or self._home(self._user(row), int(self.known[row]))

    def device(self, row: int) -> str:
        """Device of a target's request; empty = not known."""
        log, names = self.dataset.events, self.dataset.device_names
        return _name_of(log.devices, int(self.events[row]), names)

    def session(self, row: int) -> int:
        """Session of a target's request; 0 = not known."""
        sessions = self.dataset.events.sessions
        return NO_SESSION if sessions is None else int(sessions[self.events[row]])

    def history(self, row: int) -> History:
        """History of a target's user at request time, without rejected items."""
        return self._past_of(row).history

    def whole_history(self, user_id: str) -> tuple[History, Sequence[str]]:
        """All events of a user of some target, items numbered as in ``Split.catalogue``, and their
        actions, none if they are not logged.
        """
        return self._whole(self.dataset.users.number(user_id))

    def next_events(self, row: int, count: int) -> tuple[IntArray, BoolArray, Sequence[str]]:
        """Items, likes and actions of a user's next events from a target on, (count,) at most each;
        no actions if none are logged.
        """
        (whole, actions), place = self._whole(self._user(row)), int(self.places[row])
        following = slice(place, place + count)
        return whole.item_nums[following], whole.liked[following], actions[following]

    def choices_after(self, row: int, count: int) -> IntArray:
        """Distinct items of a user's next ``count`` events from a target on, and of all events of
        its own time (``choices_beside``), ascending.
        """
        return np.union1d(self.next_events(row, count)[0], self.choices_beside(row))

    def choices_beside(self, row: int) -> IntArray:
        """Distinct items of the events of a target's own time, which are not known yet then,
        ascending.

        Of those that the log has before the target and from it on, up to ``MOST_OF_ONE_TIME`` each.
        """
        whole, place = self._history(self._user(row)), int(self.places[row])
        end = int(np.searchsorted(whole.timestamps, float(self.times[row]), "right"))
        begin = max(int(self.known[row]), place - MOST_OF_ONE_TIME)
        return np.unique(whole.item_nums[begin : min(end, place + MOST_OF_ONE_TIME)])

    def page_before(self, row: int) -> int | None:
        """Number of the item whose page led to a target, as far as the log tells; None = none.

        The item that the user chose last, if that was in the same visit. Else another one of the
        very same time, as baskets are logged: the order of the log says nothing there, so the next
        one by its number is taken, and the first one after the last. Else the item chosen last,
        however long ago.
        """
        past, time = self._past_of(row), float(self.times[row])
        last = int(past.history.item_nums[-1]) if len(past.history) else None
        if last is not None and past.history.timestamps[-1] >= time - VISIT_GAP:
            return last
        left_out = np.append(past.rejected.item_nums, self.items[row])
        beside = np.setdiff1d(self.choices_beside(row), left_out)
        if len(beside):
            return int(beside[np.searchsorted(beside, self.items[row]) % len(beside)])
        return last

    def past_before(self, user_id: str, time: float) -> UserPast:
        """State of a user of some target before a time; empty for other users."""
        user = self.dataset.users.number(user_id)
        if user not in self.people:
            return UserPast(History())
        known = int(np.searchsorted(self._history(user).timestamps, time, side="left"))
        return self._past(user, known, time)

    def queries(self, task: Task = "home", repeats: Repeats | None = None) -> list[Query]:
        """One query per target; items chosen or rejected before are excluded from the answer.

        ``repeats`` say when items may be shown again; None = never.
        """
        result = []
        for row in range(len(self)):
            query = self.query(row, task, repeats)
            chosen = self._history(self._user(row)).item_nums[: int(self.known[row])]
            seen = np.setdiff1d(np.append(chosen, query.rejected.item_nums), query.again)
            result.append(replace(query, exclude=seen.astype(np.int32)))
        return result

    def query(self, row: int, task: Task = "home", repeats: Repeats | None = None) -> Query:
        """The request of one target, which excludes nothing; see ``queries``."""
        past, time = self._past_of(row), float(self.times[row])
        return past.query(
            task,
            user_id=self.users[row],
            again=NO_ITEMS if repeats is None else repeats.due(past.history, time),
            time=time,
            country=self.country(row),
            device=self.device(row),
            session=self.session(row),
        )

    def logged_query(self, request: LoggedRequest, task: Task = "search") -> Query:
        """A logged request of a user, at its time."""
        past = self.past_before(request.user_id, request.timestamp)
        return past.query(
            task,
            text=request.text,
            user_id=request.user_id,
            time=request.timestamp,
            country=request.country or past.country,
            device=request.device,
            session=request.session,
        )

    def _user(self, row: int) -> int:
        return int(self.dataset.events.users[self.events[row]])

    def _history(self, user: int) -> History:
        history = self.dataset.history(user)
        return replace(history, item_nums=self.numbers[history.item_nums])

    def _whole(self, user: int) -> tuple[History, Sequence[str]]:
        log, names = self.dataset.events, self.dataset.action_names
        codes = () if log.actions is None else log.actions[log.by_user.of(user)].tolist()
        return self._history(user), tuple(names[code] for code in codes)

    def _past_of(self, row: int) -> UserPast:
        return self._past(self._user(row), int(self.known[row]), float(self.times[row]))

    def _past(self, user: int, known: int, time: float) -> UserPast:
        history, home = self._history(user).first(known), self._home(user, known)
        past = UserPast(history, country=home, groups=groups_of(self.dataset.user_groups, user))
        if user not in self.rejections:
            return past
        rejected = self.rejections[user].at(time)
        return replace(past, history=history.without(rejected.item_nums), rejected=rejected)

    def _home(self, user: int, known: int) -> str:
        log, countries = self.dataset.events, self.dataset.countries
        if countries is None:
            return ""  # not known
        if countries.given is None or countries.given[user] or log.countries is None:
            return _name_of(countries.of_users, user, countries.names)
        rows = log.by_user.of(user)[:known]
        return _name_of(log.countries, int(rows[-1]), countries.names) if len(rows) else ""


def _name_of(codes: IntArray | None, row: int, names: Sequence[str]) -> str:
    return "" if codes is None or codes[row] < 0 else names[codes[row]]


MAX_TARGETS_PER_USER = 100
MOST_OF_ONE_TIME = 100  # events of the time of a target that are read on each side of it
TAIL_SHARE = 0.8
COLD_USER_BELOW = 3


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Training data and test targets.

    Args:
        name: such as ``temporal@0.8``.
        new_items: items unknown to the training data, in catalogue order.
        catalogue: the items of ``train``, then ``new_items``.
        cut: Unix seconds; train is strictly before it, targets are not.
        requests: logged requests from the cut on.
    """

    name: str
    train: Dataset
    targets: Targets
    new_items: Sequence[Item]
    catalogue: Catalogue
    cut: float
    requests: Sequence[LoggedRequest] = ()


def temporal(dataset: Dataset, fraction: float, next_fraction: float = 1.0) -> Split:
    """Temporal split: cut all users at one time.

    Targets are the events from the time at which ``fraction`` of the events have happened to the
    time of ``next_fraction``; at most the first 100 of each user. Items that a user rejected before
    are not targets, as they are never recommended. If several events share the time of the cut, it
    moves back to the first of them, so that train is strictly before every target. The history of a
    target is every event of its user strictly before the target's time, including those after the
    cut.

    Raises:
        DataError: the fractions are not 0 < fraction < next_fraction <= 1, or all events have
            the same time.
    """
    if not 0 < fraction < next_fraction <= 1:
        raise DataError(
            f"cannot split at {fraction} up to {next_fraction}.",
            "Fractions must be 0 < fraction < next_fraction <= 1.",
        )
    times = dataset.events.timestamps
    begin, end = _moment(times, fraction), _moment(times, next_fraction)
    if begin == 0:
        begin = int(np.searchsorted(times, times[0], side="right")) if len(times) else 0
    if begin == len(times):
        raise DataError(
            f"{len(times)} events cannot be split by time.", "Events need different timestamps."
        )
    cut = float(times[begin])
    in_train = np.arange(len(times)) < begin
    available_from = np.asarray(dataset.catalogue.available_from)  # (N,)
    known = np.isfinite(available_from) & (available_from < cut)
    known[dataset.events.items[in_train]] = True
    old = np.concatenate([np.flatnonzero(known), np.flatnonzero(~known)])
    numbers = np.empty(dataset.num_items, dtype=np.int32)
    numbers[old] = np.arange(dataset.num_items, dtype=np.int32)
    catalogue = dataset.catalogue.rows(old.astype(np.int32))
    train = _train_part(dataset, in_train, np.where(known, numbers, -1), cut)
    requests = [
        request.renumbered(numbers) for request in dataset.requests if request.timestamp >= cut
    ]
    targets = _find_targets(dataset, numbers, np.arange(begin, max(begin, end)))
    new_items = catalogue.items[train.num_items :]
    return Split(f"temporal@{fraction:g}", train, targets, new_items, catalogue, cut, requests)


def next_choices(dataset: Dataset, split: Split, repeats: Repeats) -> Targets:
    """The targets of a temporal split up to the end of the data, and items that came again.

    A choice from the cut on of an item that its user had chosen before is a target if the item was
    due: if a service that knows these repeats could have shown it then.

    Without one, these are the split's own targets.
    """
    if not repeats.is_on:
        return split.targets
    numbers = split.catalogue.vocabulary.numbers(dataset.catalogue.vocabulary.ids)
    begin = int(np.searchsorted(dataset.events.timestamps, split.cut, side="left"))
    due = _are_due(dataset.events, repeats.after[numbers])
    due[:begin] = False
    if not due.any():
        return split.targets
    return _find_targets(dataset, numbers, np.arange(begin, len(dataset.events)), due)


def _train_part(dataset: Dataset, in_train: BoolArray, numbers: IntArray, cut: float) -> Dataset:
    """What is known before a cut: these events (E,), and items with a number (N,), not -1."""
    events, last = dataset.events.rows(in_train), float(dataset.events.timestamps[in_train][-1])
    user_numbers, dense = np.unique(events.users, return_inverse=True)
    new_users = np.full(dataset.num_users, -1, np.int32)
    new_users[user_numbers] = np.arange(len(user_numbers), dtype=np.int32)
    train_events = replace(events, users=dense.astype(np.int32), items=numbers[events.items])
    past = (request for request in dataset.requests if request.ended <= last)
    requests = (request.renumbered(numbers) for request in past)
    countries = dataset.countries
    return Dataset(
        dataset.catalogue.rows(np.flatnonzero(numbers >= 0).astype(np.int32)),
        Vocabulary(dataset.users.ids_of(user_numbers)),
        train_events,
        cut=last,
        requests=[request for request in requests if request.says_something],
        negatives=dataset.negatives.before(cut).renumbered(new_users, numbers),
        impressions=dataset.impressions.before(cut).renumbered(numbers),
        action_names=dataset.action_names,
        countries=countries and countries.of_part(user_numbers, train_events),
        device_names=dataset.device_names,
        user_groups={name: own.of_part(user_numbers) for name, own in dataset.user_groups.items()},
    )


def _find_targets(
    dataset: Dataset, numbers: IntArray, rows: Rows, also: BoolArray | None = None
) -> Targets:
    log = dataset.events
    rows = rows[np.lexsort((rows, log.users[rows]))]
    rejections = dataset.negatives.of_users(numbers)
    wanted = _is_first_choice(log) if also is None else _is_first_choice(log) | also
    usable = wanted[rows] & ~_are_rejected(log, rows, numbers, rejections)
    rows = _first_of_users(rows[usable], log.users)
    places, known = _history_indices(log.users)[rows], _history_indices_of_moments(log)[rows]
    return Targets(dataset, numbers, rejections, np.unique(log.users[rows]), rows, places, known)


def _are_rejected(
    log: EventLog, rows: Rows, numbers: IntArray, rejections: Mapping[int, NegativeLog]
) -> BoolArray:
    rejected = np.zeros(len(rows), np.bool_)
    of_rejecting = np.isin(log.users[rows], list(rejections)) if rejections else rejected
    for place in np.flatnonzero(of_rejecting).tolist():
        row = rows[place]
        then = rejections[int(log.users[row])].at(float(log.timestamps[row]))
        rejected[place] = int(numbers[log.items[row]]) in then.item_nums
    return rejected


def _moment(times: TimeArray, fraction: float) -> int:  # moved to the first event of equal time
    row = math.floor(fraction * len(times))
    return row if row >= len(times) else int(np.searchsorted(times, times[row], side="left"))


def _history_indices(users: IntArray) -> Rows:
    """(E,) index of each event in its user's history."""
    order = np.argsort(users, kind="stable")
    _, starts, lengths = np.unique(users[order], return_index=True, return_counts=True)
    places = np.empty(len(users), dtype=np.intp)
    places[order] = np.arange(len(users)) - np.repeat(starts, lengths)
    return places


def _history_indices_of_moments(log: EventLog) -> Rows:
    """(E,) number of events of each event's user that are strictly before its time."""
    order = np.argsort(log.users, kind="stable")
    users, times = log.users[order], log.timestamps[order]
    is_new = np.append(True, (users[1:] != users[:-1]) | (times[1:] != times[:-1]))[: len(users)]
    first = np.maximum.accumulate(np.where(is_new, np.arange(len(users)), 0))
    places = np.empty(len(users), np.intp)
    places[order] = _history_indices(log.users)[order[first]]
    return places


def _is_first_choice(log: EventLog) -> BoolArray:  # (E,)
    width = int(log.items.max(initial=0)) + 1
    first = np.unique(log.users.astype(np.int64) * width + log.items, return_index=True)[1]
    is_first = np.zeros(len(log), np.bool_)
    is_first[first] = True
    return is_first


def _are_due(log: EventLog, after: FloatArray) -> BoolArray:
    """(E,) True for choices of an item whose time to come again (N,) had passed."""
    width = int(log.items.max(initial=0)) + 1
    pairs = log.users.astype(np.int64) * width + log.items
    order = np.argsort(pairs, kind="stable")  # of one pair in order of time
    earlier, later = order[:-1], order[1:]
    since, now = log.timestamps[earlier], log.timestamps[later]
    due = np.zeros(len(log), np.bool_)
    due[later] = (
        (pairs[earlier] == pairs[later]) & (since < now) & (since + after[log.items[later]] <= now)
    )
    return due


def _first_of_users(rows: Rows, users: IntArray) -> Rows:
    kept = _history_indices(users[rows]) < MAX_TARGETS_PER_USER
    return rows[kept]


def tail_border(counts: IntArray) -> int:
    """Largest number of events of a tail item."""
    if not len(counts):
        return 0
    head = math.floor((1 - TAIL_SHARE) * len(counts) + 1e-9)
    return int(np.sort(counts)[::-1][head])
