"""What people searched next who had found nothing: the log's own rewrites."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from serendip.data.privacy import people, private_keys
from serendip.data.search_log import Search
from serendip.data.text import normalise, words
from serendip.search.logged_queries import SAME_ATTEMPT_S
from serendip.search.rewrite_changes import RewriteKind
from serendip.search.rewrites import Rewrite

_DOUBT = 2.0
"""People who are added to those that gave up: two of two prove less than twenty of twenty."""


def reformulated(searches: Sequence[Search], min_users: int) -> dict[str, list[Rewrite]]:
    """Text -> what enough people searched next, within minutes, and chose from.

    The confidence is the share of those people among all who chose nothing after the text. Going on
    typing is no other search, and a text of which any spelling is private is none.

    Args:
        searches: in order of time.
        min_users: people, at least, who went the same way; made-up visitors do not count.
    """
    private = private_keys(one.text for one in searches)
    gave_up: dict[str, set[str]] = defaultdict(set)
    went: dict[tuple[str, str], set[str]] = defaultdict(set)
    spelt: dict[str, Counter[str]] = defaultdict(Counter)
    last: dict[str, Search] = {}
    for now in searches:
        before = last.get(now.user_id)
        last[now.user_id] = now
        spelt[now.key][now.text.strip()] += 1
        if not len(now.chosen):
            gave_up[now.key].add(now.user_id)
        if before is not None and _is_next(before, now):
            went[before.key, now.key].add(now.user_id)
    found: dict[str, list[Rewrite]] = defaultdict(list)
    for (key, other), users in sorted(went.items()):
        count = len(people(users))
        if count >= min_users and not {key, other} & private:
            share = count / (len(people(gave_up[key])) + _DOUBT)
            text = min(spelt[other], key=lambda one: (-spelt[other][one], one))
            found[key].append(Rewrite(text, kind_of(key, other), share))
    return dict(found)


def kind_of(key: str, other: str) -> RewriteKind:
    """What a text is to another one, by their words."""
    before, after = set(words(key)), set(words(normalise(other)))
    if after < before:
        return "broader"
    return "narrower" if after > before else "substitute"


def _is_next(before: Search, now: Search) -> bool:
    """Whether nothing was chosen before, something is now, and it is another text, not the rest."""
    is_soon = now.timestamp - before.timestamp <= SAME_ATTEMPT_S
    gave_up = not len(before.chosen) and len(now.chosen) > 0
    return is_soon and gave_up and not now.key.startswith(before.key)
