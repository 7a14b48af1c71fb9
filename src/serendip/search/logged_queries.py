"""Queries that people have searched, of which enough people did, and which are whole.

While somebody types, a page may search after every letter: "sta" and "star tr" are searches, but
no queries. A search is an *attempt* where nothing was chosen and the same person's next search,
within minutes, begins with it. A query is whole where attempts are less than half of its
searches; only people with a search that was none count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data.privacy import is_private, people
from serendip.data.search_log import Search, typed_on
from serendip.search.query_candidates import MOST_CHARACTERS, Candidate

SAME_ATTEMPT_S = 300.0


@dataclass(frozen=True, slots=True)
class Logged:
    """What the log says of queries.

    Args:
        candidates: queries that enough people have searched and that are whole.
        dropped: test -> number of different queries that failed it.
    """

    candidates: list[Candidate]
    dropped: Mapping[str, int]


def logged_queries(searches: Sequence[Search], min_users: int) -> Logged:
    """Whole queries by at least ``min_users`` different people, in their most frequent spelling.

    A query of which any spelling is private is none: its normal form says as much as that.

    Args:
        searches: in order of time.
        min_users: people, at least; visitors with an id that the page made up do not count.
    """
    going_on = typed_on(searches, SAME_ATTEMPT_S)
    groups: dict[str, list[tuple[Search, bool]]] = {}
    for one, is_begun in zip(searches, going_on, strict=True):
        groups.setdefault(one.key, []).append((one, is_begun and not len(one.chosen)))
    dropped: Counter[str] = Counter()
    candidates = []
    for key, found in groups.items():
        whole = [one for one, is_attempt in found if not is_attempt]
        users = len(people(one.user_id for one in whole))
        if 2 * len(whole) <= len(found):
            dropped["unfinished"] += 1
        elif users < min_users:
            dropped["few users"] += 1
        elif len(key) > MOST_CHARACTERS or any(is_private(one.text) for one, _ in found):
            dropped["private or long"] += 1
        else:
            candidates.append(_candidate(whole, users))
    return Logged(candidates, dict(dropped))


def _candidate(whole: Sequence[Search], users: int) -> Candidate:
    spellings = Counter(one.text.strip() for one in whole)
    text = min(spellings, key=lambda one: (-spellings[one], one))
    items = _distinct(one.chosen.tolist() for one in whole)
    return Candidate(text, "query", "logs", items, users, len(whole))


def _distinct(lists: Iterable[Iterable[int]]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(sorted({item for found in lists for item in found}), np.int32)
