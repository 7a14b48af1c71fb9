"""A long past in few events: the newest ones, and older ones that bear on the request.

What was done thousands of events ago matters where it is about the same things as the request.
"The same" is read off semantic IDs: the codes of what the request is about form a trie, and the
older events walk down it, all at once, one level after the other. The longer an event's way, the
more it bears on the request.

This is the general search unit of SIM (Pi et al. 2020, arXiv 2006.05639). There, events are kept
that share the category of one candidate; here the request takes the place of the candidate and
code prefixes that of categories, so that one search serves all candidates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import IntArray
from serendip.data.query import History

RECENT, RECALLED = 40, 10
"""Newest events that are kept, and older ones that may be pulled in beside them."""

_ABOUT = 10
"""So many of the newest events say what a request is about, beside what it names."""


def condense(
    history: History,
    codes: IntArray,
    named: IntArray,
    recent: int = RECENT,
    recalled: int = RECALLED,
) -> History:
    """At most ``recent + recalled`` events of a history, in order of time; O(T).

    Kept are the ``recent`` newest events and, of those before, the ones whose codes share the
    longest prefix with what the request names; equal ones in turn with the last 10 events; still
    equal ones from new to old. Events that share no prefix with either are not pulled in, and no
    item is pulled in twice or beside a recent event with it. Of a history that was condensed before
    only what was pulled in then is considered: whoever did it may have known more of the request.

    Args:
        history: T events; those with item numbers outside [0, N) are never pulled in. One of at
            most ``recent + recalled`` events is returned as it is.
        codes: (N, L) semantic IDs, coarse to fine; L = 0 pulls in nothing.
        named: (A, L) codes of what the request names: its source items, its words.
        recent: newest events to keep.
        recalled: most older events to pull in.

    Returns:
        a history whose first ``History.recalled`` events were pulled in.
    """
    if len(history) <= recent + recalled:
        return history
    border = len(history) - recent
    newest = history.item_nums[border:]
    newest = newest[(newest >= 0) & (newest < len(codes))]
    until = min(history.recalled or border, border)
    rows = _last_of_each(history.item_nums[:until], newest, codes)
    own = codes[history.item_nums[rows]]
    depth = shared_prefix(own, named) * (codes.shape[1] + 1)
    depth += shared_prefix(own, codes[newest[-_ABOUT:]])
    rows, depth = rows[depth > 0], depth[depth > 0]
    if len(rows) > recalled:
        order = np.argpartition(-(depth * border + rows), recalled)[:recalled]
        rows = np.sort(rows[order])
    return history.rows(np.concatenate([rows, np.arange(border, len(history))]), len(rows))


def shared_prefix(codes: IntArray, others: IntArray) -> NDArray[np.int64]:
    """Length (T,) of the longest prefix that each of codes (T, L) shares with any of (A, L)."""
    length = np.zeros(len(codes), dtype=np.int64)
    if not len(others):
        return length
    walking = np.arange(len(codes))
    node, branch = np.zeros(len(codes), np.int64), np.zeros(len(others), np.int64)
    for level in range(codes.shape[1]):
        # Codes beyond the largest one in the trie share a column that leads nowhere.
        nowhere = int(others[:, level].max()) + 1
        steps = branch * (nowhere + 1) + others[:, level]
        below = np.full((int(branch.max()) + 1) * (nowhere + 1), -1, dtype=np.int64)
        children, branch = np.unique(steps, return_inverse=True)
        below[children] = np.arange(len(children))
        node = below[node * (nowhere + 1) + np.minimum(codes[walking, level], nowhere)]
        walking, node = walking[node >= 0], node[node >= 0]
        length[walking] += 1
    return length


def _last_of_each(items: IntArray, without: IntArray, codes: IntArray) -> NDArray[np.intp]:
    """Ascending rows of each item's last event; items ``without`` or without codes are left out.

    Tables by item number instead of sorting: they cost nothing until they are touched.
    """
    leave_out, last = np.zeros(len(codes), np.bool_), np.zeros(len(codes), np.intp)
    leave_out[without] = True
    rows = np.flatnonzero((items >= 0) & (items < len(codes)))
    rows = rows[~leave_out[items[rows]]]
    last[items[rows]] = rows
    newest: NDArray[np.intp] = rows[last[items[rows]] == rows]
    return newest
