"""Baskets of users: what one user chose on one occasion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.event import NO_SESSION
from serendip.data.query import History
from serendip.data.splits import Split, Targets
from serendip.jobs.surface_quality.sample import order_users

MOST_SECONDS_BETWEEN = 1_800.0
"""Events of one user at most this far apart belong to one basket, if one has no session."""

MOST_ITEMS = 20
"""Items of a basket that are read, the first ones."""

MOST_USERS = 10_000
"""Users whose baskets are read, by the order of their hashes."""

PURCHASES = ("purchase", "order", "buy", "checkout")
"""Actions that make up baskets, if the log has any of them; else carts do, else every interaction
of interest."""

CARTS = ("add_to_cart",)


@dataclass(frozen=True, slots=True, eq=False)
class Basket:
    """Items that one user chose on one occasion.

    Args:
        user_id: of the user.
        items: (B,) int32 distinct items, in the order in which they were chosen.
        begin: Unix seconds of the first event.
        end: Unix seconds of the last event.
        session: ``session_code`` of the first event that has one; 0 = none has.
    """

    user_id: str
    items: IntArray
    begin: float
    end: float
    session: int = NO_SESSION


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

    Args:
        split: with a cut.
        targets: of its test part.
    """
    assert split.cut is not None
    wanted = basket_actions(split.train.action_names)
    histories = targets.histories
    for user_id in order_users(histories, MOST_USERS):
        history = histories[user_id]
        before: Basket | None = None
        for basket in _of_user(user_id, history, targets.actions, wanted):
            if basket.begin >= split.cut:
                yield before, basket
            before = basket


def _of_user(
    user_id: str,
    history: History,
    actions: Mapping[str, Sequence[str]],
    wanted: Sequence[str],
) -> Iterator[Basket]:
    if wanted and user_id in actions:
        chosen = np.isin(np.asarray(actions[user_id]), wanted)
        history = history.rows(np.flatnonzero(chosen), 0)
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
        first = np.sort(np.unique(part, return_index=True)[1])[:MOST_ITEMS]
        session = NO_SESSION
        if sessions is not None:
            of_basket = sessions[begin : end + 1]
            session = int(of_basket[np.argmax(of_basket != NO_SESSION)])
        yield Basket(user_id, part[first], float(times[begin]), float(times[end]), session)
