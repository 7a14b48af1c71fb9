"""Cutting a dataset into what a trainer may see and what it is asked about afterwards.

``temporal``: everything before a moment is the past, everything from it on is asked about. Nobody
who trains sees a row, an item or a user that was not there before the moment.
``leave_last_out``: the last event of each user is asked about, as in the literature; the past of
one user may lie after another's target, so it flatters whatever follows trends.

Both renumber: train items come first in catalogue order, then ``new_items``; ``Split.catalogue``
is the numbering of targets and histories, and its beginning is the numbering of ``train``.
Features and query examples of the dataset are left behind: they may know the future.

Events to be foretold, and what was known of their users when they are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, IntArray, TimeArray
from serendip.data.dataset import Dataset, EventLog
from serendip.data.item import Catalogue, Item
from serendip.data.negative_log import NegativeLog
from serendip.data.query import History, Query, Surface, UserPast
from serendip.data.rejections import Rejections
from serendip.data.search_log import LoggedRequest
from serendip.data.vocabulary import Vocabulary
from serendip.errors import DataError

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A request as it might have been made, and what its user did next.

    Args:
        past: what is known of the user.
        items: (P,) int32 items of the events that follow.
        liked: (P,) bool, which of these events were likes.
        actions: the action of each; empty where the log does not say.
    """

    past: UserPast
    items: IntArray
    liked: BoolArray
    actions: Sequence[str]


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Events to be foretold, user by user, each user's in order of time.

    A target is the first event of its user with its item, and not rejected before: what is in the
    history or rejected is never recommended, so it cannot be asked for.

    Args:
        users: T external ids.
        items: (T,) int32 numbers in ``Split.catalogue``.
        times: (T,) float64 Unix seconds.
        places: (T,) place of the target in its user's whole history.
        known: (T,) how many events of that history may be known when the target is asked for.
        histories: user id -> all events, items numbered as in ``Split.catalogue``.
        rejections: user id -> what they rejected and when, in the same numbers.
        actions: user id -> the action of each event of their history; none where it is not known.
    """

    users: Sequence[str]
    items: IntArray
    times: TimeArray
    places: Rows
    known: Rows
    histories: Mapping[str, History]
    rejections: Mapping[str, Rejections] = field(default_factory=dict)
    actions: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.users)

    def history(self, row: int) -> History:
        """What the user of a target had chosen when it is asked for, but for what they rejected."""
        return self._past(self.users[row], int(self.known[row]), float(self.times[row])).history

    def moment(self, row: int, count: int) -> Moment:
        """The past of a target, and the user's next ``count`` events from the target on."""
        user, whole = self.users[row], self.histories[self.users[row]]
        following = slice(int(self.places[row]), int(self.places[row]) + count)
        return Moment(
            self._past(user, int(self.known[row]), float(self.times[row])),
            whole.item_nums[following],
            whole.liked[following],
            self.actions.get(user, ())[following],
        )

    def past_before(self, user_id: str, time: float) -> UserPast:
        """What is known of a user of some target before a moment; nothing of other users."""
        whole = self.histories.get(user_id, History())
        known = int(np.searchsorted(whole.timestamps, time, side="left"))
        return self._past(user_id, known, time)

    def queries(self, surface: Surface = "home") -> list[Query]:
        """One query per target; what was chosen or rejected before is excluded from the answer."""
        result = []
        for row, (user, time) in enumerate(zip(self.users, self.times.tolist(), strict=True)):
            known = int(self.known[row])
            past = self._past(user, known, time)
            chosen = self.histories[user].item_nums[:known]
            seen = np.union1d(chosen, past.rejected.item_nums).astype(np.int32)
            query = Query(
                surface,
                user_id=user,
                history=past.history,
                rejected=past.rejected,
                exclude=seen,
                time=time,
            )
            result.append(query)
        return result

    def _past(self, user_id: str, known: int, time: float) -> UserPast:
        """The first ``known`` events of a user, but for what is rejected at a time."""
        whole = self.histories.get(user_id, History())
        history = whole.first(known)
        if user_id not in self.rejections:
            return UserPast(history)
        rejected = self.rejections[user_id].at(time)
        return UserPast(history.without(rejected.item_nums), rejected)


MAX_TARGETS_PER_USER = 100
TAIL_SHARE = 0.8
COLD_USER_BELOW = 3


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """A past to learn from and targets to be judged by.

    Args:
        name: ``temporal@0.8`` or ``leave_last_out``.
        train: the past.
        targets: what came next.
        new_items: items that the past does not know, in catalogue order.
        catalogue: the items of ``train``, then ``new_items``.
        cut: Unix seconds; train is strictly before it, targets are not. None = no single cut.
        validation: targets to tune by; they are inputs of ``targets``. None = there are none.
        requests: logged ones from the cut on; none without a cut.
    """

    name: str
    train: Dataset
    targets: Targets
    new_items: Sequence[Item]
    catalogue: Catalogue
    cut: float | None = None
    validation: Targets | None = None
    requests: Sequence[LoggedRequest] = ()

    def flags(self) -> dict[str, BoolArray]:
        """What kind of target each is, (T,) bool.

        ``cold_item``: no event in train. ``tail_item``: outside the 20 % of train items with most
        events; where the border falls among items with equally many events, all of them are tail,
        so the tail is never smaller than 80 %. ``cold_user``: fewer than 3 events are
        known when the target is asked for.
        """
        counts = np.zeros(len(self.catalogue), dtype=np.int32)
        counts[: self.train.num_items] = self.train.item_counts()
        popularity = counts[self.targets.items]
        return {
            "cold_item": popularity == 0,
            "tail_item": popularity <= tail_border(counts[: self.train.num_items]),
            "cold_user": self.targets.known < COLD_USER_BELOW,
        }


def temporal(dataset: Dataset, fraction: float, next_fraction: float = 1.0) -> Split:
    """Cut all users at one moment.

    Targets are the events from the moment at which ``fraction`` of the events have happened up to
    the moment of ``next_fraction``; at most the first 100 of each user. What a user rejected before
    is not asked for, as nothing recommends it. A moment never lies inside
    events of one second: it moves back to the first of them, so that train is strictly before every
    target. The history of a target is every event of its user strictly before the target's time,
    also those after the cut.

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
            f"{len(times)} events cannot be split by time.", "Give events at different times."
        )
    cut = float(times[begin])
    in_train = np.arange(len(times)) < begin
    known = np.fromiter(
        (
            item.available_from is not None and item.available_from < cut
            for item in dataset.catalogue.items
        ),
        dtype=np.bool_,
    )
    known[dataset.events.items[in_train]] = True
    negatives = dataset.negatives.before(cut)
    parts = _Parts.of(dataset, in_train, known, float(times[begin - 1]), negatives)
    targets = parts.targets(np.arange(begin, max(begin, end)), strictly_before=True)
    return parts.split(f"temporal@{fraction:g}", targets, cut=cut)


def leave_last_out(dataset: Dataset) -> Split:
    """Ask for the last event of every user with three events or more.

    Train holds all but the last two events of these users and everything of the others. The last
    but one is the validation target, and only input when the last one is asked for. Items without
    an event in train are new.
    """
    last, second, in_train = [], [], np.ones(len(dataset.events), dtype=np.bool_)
    order = np.argsort(dataset.events.users, kind="stable")
    users = dataset.events.users[order]
    ends = np.flatnonzero(np.append(users[1:] != users[:-1], True)) if len(users) else users
    for begin, end in zip([0, *(ends[:-1] + 1).tolist()], ends.tolist(), strict=False):
        if end - begin + 1 >= 3:
            second.append(order[end - 1])
            last.append(order[end])
    in_train[[*second, *last]] = False
    known = np.zeros(dataset.num_items, dtype=np.bool_)
    known[dataset.events.items[in_train]] = True
    asked_at = np.full(dataset.num_users + 1, np.inf)  # the last: users without interactions
    asked_at[dataset.events.users[second]] = dataset.events.timestamps[second]
    negatives = dataset.negatives.before(asked_at[dataset.negatives.users])
    parts = _Parts.of(dataset, in_train, known, None, negatives)
    targets = parts.targets(np.array(last, dtype=np.intp), strictly_before=False)
    validation = parts.targets(np.array(second, dtype=np.intp), strictly_before=False)
    return parts.split("leave_last_out", targets, validation=validation)


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """A dataset with the new numbers, and its past."""

    dataset: Dataset
    train: Dataset
    catalogue: Catalogue
    numbers: IntArray

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        in_train: BoolArray,
        known: BoolArray,
        cut: float | None,
        negatives: NegativeLog,
    ) -> _Parts:
        old = np.concatenate([np.flatnonzero(known), np.flatnonzero(~known)])
        numbers = np.empty(dataset.num_items, dtype=np.int32)
        numbers[old] = np.arange(dataset.num_items, dtype=np.int32)
        items = [dataset.catalogue[number] for number in old.tolist()]
        events = dataset.events.rows(in_train)
        user_numbers, dense = np.unique(events.users, return_inverse=True)
        new_users = np.full(dataset.num_users, -1, np.int32)
        new_users[user_numbers] = np.arange(len(user_numbers), dtype=np.int32)
        train_events = EventLog(
            dense.astype(np.int32),
            numbers[events.items],
            events.timestamps,
            events.liked,
            events.values,
            events.strengths,
            events.actions,
        )
        train = Dataset(
            Catalogue(items[: int(known.sum())]),
            Vocabulary(dataset.users.ids_of(user_numbers)),
            train_events,
            cut=cut,
            requests=_past_requests(dataset, np.where(known, numbers, -1), cut),
            negatives=negatives.renumbered(new_users, np.where(known, numbers, -1)),
            action_names=dataset.action_names,
        )
        return cls(dataset, train, Catalogue(items), numbers)

    def targets(self, rows: Rows, strictly_before: bool) -> Targets:
        """Events by their row in the log, as targets."""
        log = self.dataset.events
        places = _places(log.users)
        rows = rows[np.lexsort((rows, log.users[rows]))]
        histories = self.dataset.histories()
        rejections = self.dataset.negatives.of_users(self.numbers)
        kept, known = [], []
        last_user, asked = -1, 0
        for row in rows.tolist():
            user, history = int(log.users[row]), histories[int(log.users[row])]
            asked = asked if user == last_user else 0
            last_user = user
            before = int(places[row])
            if strictly_before:
                before = int(np.searchsorted(history.timestamps, log.timestamps[row], side="left"))
            time, item = float(log.timestamps[row]), int(self.numbers[log.items[row]])
            if user in rejections and item in rejections[user].at(time).item_nums:
                continue
            if asked < MAX_TARGETS_PER_USER and not self._is_repeated(history, int(places[row])):
                kept.append(row)
                known.append(before)
                asked += 1
        chosen = np.array(kept, dtype=np.intp)
        users = np.unique(log.users[chosen]).tolist()
        return Targets(
            users=self.dataset.users.ids_of(log.users[chosen]),
            items=self.numbers[log.items[chosen]],
            times=log.timestamps[chosen],
            places=places[chosen],
            known=np.array(known, dtype=np.intp),
            histories={
                self.dataset.users.id(user): History(
                    self.numbers[histories[user].item_nums],
                    histories[user].timestamps,
                    histories[user].liked,
                )
                for user in users
            },
            rejections={
                self.dataset.users.id(user): rejections[user]
                for user in users
                if user in rejections
            },
            actions=self._actions(users),
        )

    def _actions(self, users: Sequence[int]) -> dict[str, list[str]]:
        """User id -> the action of each event of theirs; none where the log does not say."""
        log, names = self.dataset.events, self.dataset.action_names
        if log.actions is None:
            return {}
        order = np.argsort(log.users, kind="stable")
        ordered = log.users[order]
        found = {}
        for user in users:
            begin, end = np.searchsorted(ordered, [user, user + 1])
            places = log.actions[order[begin:end]].tolist()
            found[self.dataset.users.id(user)] = [names[place] for place in places]
        return found

    def split(
        self,
        name: str,
        targets: Targets,
        cut: float | None = None,
        validation: Targets | None = None,
    ) -> Split:
        new_items = self.catalogue.items[self.train.num_items :]
        later = [one for one in self.dataset.requests if cut is not None and one.timestamp >= cut]
        requests = [one.renumbered(self.numbers) for one in later]
        return Split(
            name, self.train, targets, new_items, self.catalogue, cut, validation, requests
        )

    @staticmethod
    def _is_repeated(history: History, place: int) -> bool:
        return bool((history.item_nums[:place] == history.item_nums[place]).any())


def _past_requests(dataset: Dataset, numbers: IntArray, cut: float | None) -> list[LoggedRequest]:
    """Requests that ended by the cut and say something of items that have a number.

    Without a cut there is no moment before which all is known, so there are none.
    """
    past = (one for one in dataset.requests if cut is not None and one.ended <= cut)
    found = (one.renumbered(numbers) for one in past)
    return [one for one in found if one.says_something]


def _moment(times: TimeArray, fraction: float) -> int:
    """Row of the first event at or after a fraction of all, moved to the first of its second."""
    row = math.floor(fraction * len(times))
    return row if row >= len(times) else int(np.searchsorted(times, times[row], side="left"))


def _places(users: IntArray) -> Rows:
    """(E,) place of each event in its user's history."""
    order = np.argsort(users, kind="stable")
    ordered = users[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(users) else order
    lengths = np.diff(np.append(starts, len(users)))
    places = np.empty(len(users), dtype=np.intp)
    places[order] = np.arange(len(users)) - np.repeat(starts, lengths)
    return places


def tail_border(counts: IntArray) -> int:
    """Most events that an item of the tail has."""
    if not len(counts):
        return 0
    head = math.floor((1 - TAIL_SHARE) * len(counts) + 1e-9)
    return int(np.sort(counts)[::-1][head])
