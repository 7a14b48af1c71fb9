"""Baskets of users: what one user chose on one occasion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serendip.data import BoolArray, History, IntArray, Query, Task
from serendip.data.events.event import NO_SESSION
from serendip.data.splits import Split, Targets
from serendip.jobs.surface_quality.sample import Keys, hash_key, order_users, sample_requests

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


@dataclass(frozen=True, slots=True, eq=False)
class BasketRequest:
    """A request that starts from items of a basket.

    Args:
        source: (S,) int32 items that it starts from.
        wanted: basket whose items are wanted.
        chosen: (W,) rows of these in ``wanted``.
    """

    basket: Basket
    source: IntArray
    wanted: Basket
    chosen: NDArray[np.intp]
    time: float

    @property
    def items(self) -> IntArray:
        """(W,) int32 wanted items."""
        return self.wanted.items[self.chosen]

    def query(self, targets: Targets, task: Task) -> Query:
        """The request of its user at its time."""
        return targets.past_before(self.basket.user_id, self.time).query(
            task,
            user_id=self.basket.user_id,
            source_items=self.source,
            time=self.time,
            session=self.basket.session,
        )


def ask_about_baskets(
    split: Split, targets: Targets, task: Task, limit: int
) -> tuple[list[BasketRequest], Keys, int]:
    """Requests of the cart, or of the page after an order, of the test part of a split.

    Task ``cart``: at the beginning of a basket, with half of it in the cart, what else is in it?
    ``thank_you``: just after a basket, what is in the user's next one? Returns a sample of at most
    ``limit``, what identifies each in other runs, and how many it was drawn from.
    """
    pairs = [
        (before, after)
        for before, after in read_baskets(split, targets)
        if (len(after.items) > 1 if task == "cart" else before is not None)
    ]
    users = [after.user_id for _, after in pairs]
    rows, keys = sample_requests(users, lambda row: pairs[row][1].key, limit)
    asked = []
    for row in rows.tolist():
        before, after = pairs[row]
        if task == "cart" or before is None:
            part, rest = split_basket(after)
            asked.append(BasketRequest(after, after.items[part], after, rest, after.begin))
        else:
            every, time = np.arange(len(after.items)), float(np.nextafter(before.end, np.inf))
            asked.append(BasketRequest(before, before.items, after, every, time))
    return asked, keys, len(pairs)


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
