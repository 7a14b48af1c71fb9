"""What people searched with success after a search without: offered to others who find nothing.

A reformulation is the next search of the same person, within half an hour, of which something was
chosen. A text that only goes on from the one before it is none, and private texts are left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from serendip.data.events.search_log import Search
from serendip.data.privacy import count_people, private_keys
from serendip.data.text import words
from serendip.search.phrases import most_frequent
from serendip.search.rewrites import Rewrite, RewriteKind

WITHIN_S = 1_800.0
"""Seconds within which a next search is a reformulation."""

_PRIOR_PEOPLE = 2.0
"""Smoothing of the share of a reformulation: pseudo-count of people who gave up."""


def find_reformulations(
    searches: Sequence[Search], min_people: int
) -> Mapping[str, Sequence[Rewrite]]:
    """Normal form of a search without success -> its reformulations, those of most people first.

    Each is in its most frequent spelling, and its confidence is the share of these people among all
    who chose nothing before, in (0, 1).

    Args:
        searches: by time.
        min_people: of a reformulation; generated visitor ids are nobody.
    """
    private = private_keys(search.text for search in searches)
    known = count_people(search.user_id for search in searches)
    gave_up: dict[str, set[str]] = defaultdict(set)
    people: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    last: dict[str, Search] = {}
    for search in searches:
        spellings[search.key][search.text.strip()] += 1
        if search.user_id not in known:
            continue
        before = last.get(search.user_id)
        last[search.user_id] = search
        if not len(search.chosen):
            gave_up[search.key].add(search.user_id)
        elif before is not None and _is_reformulation(before, search):
            people[before.key][search.key].add(search.user_id)
    found = {}
    for key in sorted(people.keys() - private):
        num_gave_up = len(gave_up[key]) + _PRIOR_PEOPLE
        counts = {other: len(users) for other, users in people[key].items() if other not in private}
        ways = [
            Rewrite(most_frequent(spellings[other]), _kind_of(key, other), count / num_gave_up)
            for other, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
            if count >= min_people
        ]
        if ways:
            found[key] = ways
    return found


def _kind_of(key: str, other: str) -> RewriteKind:
    return "broader" if {*words(other)} < {*words(key)} else "substitute"


def _is_reformulation(before: Search, search: Search) -> bool:
    is_soon = search.timestamp - before.timestamp <= WITHIN_S
    return is_soon and not len(before.chosen) and not search.key.startswith(before.key)
