"""Baskets of users: what one user chose on one occasion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serendip.data import BoolArray, History, IntArray, Task
from serendip.data.events.event import NO_SESSION
from serendip.data.events.repeats import Repeats
from serendip.data.splits import Split, Targets
from serendip.jobs.surface_quality.requests import LabelledQuery, label_actions
from serendip.jobs.surface_quality.sample import hash_key, order_users, sample_requests

MOST_SECONDS_BETWEEN = 1_800.0
"""Events of one user at most this far apart belong to one basket, if one has no session."""

MOST_ITEMS = 20
"""Items of a basket that are read, the first ones."""

MOST_USERS = 10_000
"""Users whose baskets are read, by the order of their hashes."""

PURCHASES = ("purchase", "order", "buy", "checkout")
"""Actions that make up baskets, if the log has any; else carts do, else every interaction."""

CARTS = ("add_to_cart",)


@dataclass(frozen=True, slots=True, eq=False)
class Basket:
    """Items that one user chose on one occasion.

    Args:
        items: (B,) int32 distinct items, in the order in which they were chosen.
        liked: (B,) bool, whether the choice counts as a like.
        actions: action of each choice; empty if not logged.
        session: ``session_code`` of the first event that has one; 0 = none has.
    """

    user_id: str
    items: IntArray
    liked: BoolArray
    actions: Sequence[str]
    begin: float
    end: float
    session: int = NO_SESSION

    @property
    def key(self) -> int:
        """What identifies it in other runs."""
        return hash_key(self.user_id, self.begin)


def ask_about_baskets(
    split: Split, targets: Targets, task: Task, repeats: Repeats, limit: int
) -> tuple[list[LabelledQuery], int]:
    """Requests of the cart, or of the page after an order, of the test part of a split.

    Task ``cart``: at the beginning of a basket, with half of it in the cart, what else is in it?
    ``thank_you``: just after a basket, what is in the user's next one? Returns a sample of at most
    ``limit``, and how many it was drawn from.
    """
    pairs = [
        (before, after)
        for before, after in read_baskets(split, targets)
        if (len(after.items) > 1 if task == "cart" else before is not None)
    ]
    users = [after.user_id for _, after in pairs]
    rows, keys = sample_requests(users, lambda row: pairs[row][1].key, limit)
    asked = []
    for row, key in zip(rows.tolist(), keys.tolist(), strict=True):
        before, after = pairs[row]
        if task == "cart" or before is None:
            part, wanted = split_basket(after)
            source, session, time = after.items[part], after.session, after.begin
        else:
            wanted, time = np.arange(len(after.items)), float(np.nextafter(before.end, np.inf))
            source, session = before.items, before.session
        past, user_id = targets.past_before(after.user_id, time), after.user_id
        query = past.query(task, user_id=user_id, source_items=source, time=time, session=session)
        query = replace(query, again=repeats.due(past.history, time))
        names = after.actions or [""] * len(after.items)
        labels = [label_actions(bool(after.liked[row]), [names[row]]) for row in wanted.tolist()]
        asked.append(LabelledQuery(query, after.items[wanted], labels, key=key))
    return asked, len(pairs)


def split_basket(basket: Basket) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of a half of a basket, at random by its key, and of the rest; neither is empty."""
    order = np.random.default_rng(basket.key).permutation(len(basket.items))
    half = len(order) // 2
    return np.sort(order[:half]), np.sort(order[half:])


def basket_actions(action_names: Sequence[str]) -> tuple[str, ...]:
    """Actions that make up baskets in a log with these actions; empty = all of them."""
    for actions in (PURCHASES, CARTS):
        present = tuple(name for name in actions if name in action_names)
        if present:
            return present
    return ()


def read_baskets(split: Split, targets: Targets) -> Iterator[tuple[Basket | None, Basket]]:
    """Every basket that begins after the cut, with the same user's basket before it.

    Only users with a target have baskets, and ``MOST_USERS`` of them are read. A basket that a cut
    goes through is not tested.
    """
    wanted = basket_actions(split.train.action_names)
    for user_id in order_users(targets.user_ids, MOST_USERS):
        before: Basket | None = None
        for basket in _of_user(user_id, *targets.whole_history(user_id), wanted):
            if basket.begin >= split.cut:
                yield before, basket
            before = basket


def _of_user(
    user_id: str, history: History, actions: Sequence[str], wanted: Sequence[str]
) -> Iterator[Basket]:
    names = np.asarray(actions)
    if wanted and len(names):
        rows = np.flatnonzero(np.isin(names, wanted))
        history, names = history.rows(rows, 0), names[rows]
    items, times, sessions = history.item_nums, history.timestamps, history.sessions
    if not len(items):
        return
    is_apart = np.diff(times) > MOST_SECONDS_BETWEEN
    if sessions is not None:
        before, after = sessions[:-1], sessions[1:]
        have_both = (before != NO_SESSION) & (after != NO_SESSION)
        is_apart = np.where(have_both, before != after, is_apart)
    ends = np.flatnonzero(np.append(is_apart, True))
    for begin, end in zip([0, *(ends[:-1] + 1).tolist()], ends.tolist(), strict=True):
        part = items[begin : end + 1]
        first = begin + np.sort(np.unique(part, return_index=True)[1])[:MOST_ITEMS]
        done = names[first].tolist() if len(names) else ()
        session = NO_SESSION
        if sessions is not None:
            of_basket = sessions[begin : end + 1]
            session = int(of_basket[np.argmax(of_basket != NO_SESSION)])
        yield Basket(
            user_id,
            items[first],
            history.liked[first],
            done,
            float(times[begin]),
            float(times[end]),
            session,
        )
