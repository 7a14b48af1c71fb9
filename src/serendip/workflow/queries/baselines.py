"""What suggestions have to beat: the most popular queries, and those that go along.

Both know every search before the moment of asking, by however few people, and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from serendip.data.arrays import IntArray
from serendip.data.search_log import Search

RECENT_ITEMS = 20


def by_enough(before: Sequence[Search], min_users: int) -> list[Search]:
    """Searches whose words at least ``min_users`` different people have searched."""
    users: dict[str, set[str]] = {}
    for one in before:
        users.setdefault(one.key, set()).add(one.user_id)
    return [one for one in before if len(users[one.key]) >= min_users]


def most_popular(before: Sequence[Search]) -> list[str]:
    """Queries by the number of people who searched them, then by searches, then by letters."""
    people = Counter(key for _, key in {(one.user_id, one.key) for one in before})
    searches = Counter(one.key for one in before)
    return sorted(people, key=lambda key: (-people[key], -searches[key], key))


def cooccurring(before: Sequence[Search], user_id: str, history: IntArray) -> list[str]:
    """Queries of people who searched what the user did, and of those who chose the same items.

    Each shared query counts one, and each of the user's last 20 items that was chosen after the
    query; the more popular first where both say nothing.
    """
    own = {one.key for one in before if one.user_id == user_id}
    by_user: dict[str, set[str]] = {}
    for one in before:
        if one.user_id != user_id:
            by_user.setdefault(one.user_id, set()).add(one.key)
    score: Counter[str] = Counter()
    for theirs in by_user.values():
        shared = len(own & theirs)
        if shared:
            score.update(dict.fromkeys(theirs, shared))
    recent = set(history[-RECENT_ITEMS:].tolist())
    for one in before:
        if one.user_id != user_id and recent & set(one.chosen.tolist()):
            score[one.key] += 1
    place = {key: row for row, key in enumerate(most_popular(before))}
    return sorted(place, key=lambda key: (-score[key], place[key]))


def going_on(keys: Iterable[str], typed: str, without: frozenset[str], k: int) -> list[str]:
    """The first k that have a word from which on they go on from what was typed."""
    found: list[str] = []
    for key in keys:
        if len(found) == k:
            break
        is_match = key.startswith(typed) or f" {typed}" in key
        if is_match and key not in without:
            found.append(key)
    return found
