"""Readable names for groups of items that share the first codes of their semantic IDs.

A group is named by the words that set it apart from its siblings: frequent inside, rare in the
rest of the group that it is a part of. It repeats no word of the groups around it, and where words
allow it no name of a sibling, so a whole name is read along the codes (``group_name``). Values of
list attributes (genres, tags) count whole, years as decades, other text word by word.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from itertools import combinations

from serendip.data.arrays import IntArray
from serendip.data.item import Catalogue, Item
from serendip.data.semantic_ids import code_name

NAMED_LEVELS = 2
"""For the page: deeper groups hold a handful of items; their titles say more than any name."""

_CONSIDERED = 6
"""Words per group among which a name that no sibling bears is looked for."""

_LEAST_SHARE = 0.2
_TITLE_WEIGHT = 0.6
"""A word of a title says less about a group than an attribute that somebody chose."""

_DEEPER = " › "
_YEAR = re.compile(r"(1[89]|20)\d\d")
_WORD = re.compile(r"[^\W\d_][\w'’]{2,}")
_PART = re.compile(r"\w+")
_EMPTY_WORDS = frozenset(
    "the and for with from that this her his its are was not you all der die das und les des une "
    "del los las con por who what when how into out off over ounce ounces fluid pack count".split()
)

_Words = dict[str, float]
"""Words of one item as they are shown -> how much they say."""


def name_prefixes(
    catalogue: Catalogue, codes: IntArray, fields: Sequence[str], levels: int = NAMED_LEVELS
) -> dict[str, str]:
    """Names of all code prefixes of the first levels that have a telling word.

    Args:
        catalogue: N items.
        codes: (N, L) their semantic IDs.
        fields: item fields to read.
        levels: how many; those beyond L are none.

    Returns:
        prefix as written for people (``12`` or ``12-7``) -> what it adds to the names of the
        shorter prefixes (``Horror, Thriller``).
    """
    words = {number: _words(item, fields) for number, item in enumerate(catalogue.items)}
    return _names_within(words, codes, 0, min(levels, codes.shape[1]))


def group_name(names: Mapping[str, str], codes: IntArray | Sequence[int]) -> str:
    """The whole name of a group, coarse to fine: ``Horror, Thriller › Vampire``.

    Args:
        names: of prefixes, from ``name_prefixes``.
        codes: (l,) the prefix; a level is passed over that has no name, or one that says nothing
            new, as in artefacts from before deeper names left out what those above them say.
    """
    told: list[str] = []
    said: frozenset[str] = frozenset()
    for depth in range(1, len(codes) + 1):
        name = names.get(code_name(codes[:depth]), "")
        if _stems(name) - said:
            told.append(name)
            said |= _stems(name)
    return _DEEPER.join(told)


def _names_within(
    unsaid: Mapping[int, _Words], codes: IntArray, level: int, levels: int
) -> dict[str, str]:
    """Names of the groups of one level and below, for the items of one group.

    Args:
        unsaid: item number -> its words that no name around it has said.
        codes: (N, L) of all items.
        level: the one that divides the items.
        levels: how many are named.
    """
    if level == levels:
        return {}
    parts: dict[str, dict[int, _Words]] = defaultdict(dict)
    for number, words in unsaid.items():
        parts[code_name(codes[number, : level + 1])][number] = words
    overall = Counter(word for words in unsaid.values() for word in words)
    names: dict[str, str] = {}
    taken: set[frozenset[str]] = set()
    for prefix, part in sorted(parts.items(), key=lambda one: -len(one[1])):
        chosen = _chosen(_telling(list(part.values()), overall, len(unsaid)), taken)
        if chosen:
            names[prefix] = ", ".join(chosen)
            taken.add(frozenset(chosen))
        names |= _names_within(_without(part, chosen), codes, level + 1, levels)
    return names


def _telling(group: Sequence[_Words], overall: Counter[str], total: int) -> list[str]:
    """Words that are typical of a group among ``total`` items, the most telling first."""
    counts: Counter[str] = Counter()
    weights: dict[str, float] = {}
    for found in group:
        counts.update(found.keys())
        weights.update(found)
    scored = []
    for word, count in counts.items():
        share = count / len(group)
        lift = math.log(share * total / overall[word])
        is_typical = share >= _LEAST_SHARE and (count > 1 or len(group) == 1)
        if is_typical and (lift > 0 or len(group) == total):
            scored.append((-share * (lift + 0.1) * weights[word], word))
    return [word for _, word in sorted(scored)[:_CONSIDERED]]


def _chosen(words: Sequence[str], taken: Set[frozenset[str]]) -> tuple[str, ...]:
    """Two words, or one, that no sibling is named by; the most telling ones where all are."""
    pairs = [pair for pair in combinations(words, 2) if not _stems(pair[1]) <= _stems(pair[0])]
    named = [*pairs, *((word,) for word in words)]
    free = (one for one in named if frozenset(one) not in taken)
    return next(free, named[0] if named else ())


def _without(part: Mapping[int, _Words], said: Sequence[str]) -> dict[int, _Words]:
    """Items without the words that a name has said, in whatever number or case."""
    stems = frozenset[str]().union(*map(_stems, said))
    spoken = {word for words in part.values() for word in words if _stems(word) <= stems}
    return {
        number: {word: weight for word, weight in words.items() if word not in spoken}
        for number, words in part.items()
    }


def _stems(words: str) -> frozenset[str]:
    """What repeats: the words of an attribute or title, singular and plural alike."""
    return frozenset(word.rstrip("s") for word in _PART.findall(words.casefold()))


def _words(item: Item, fields: Sequence[str]) -> _Words:
    """Words of one item as they are shown -> how much they say."""
    found: _Words = {}
    for field in fields:
        value = item.attributes.get(field, "")
        if isinstance(value, tuple):
            found.update({part: 1.0 for part in value if part})
            continue
        text = item.field_text(field)
        if _YEAR.fullmatch(text):
            found[f"{text[:3]}0s"] = 1.0
        elif field in ("title", "description"):
            words = (word for word in _WORD.findall(text) if word.casefold() not in _EMPTY_WORDS)
            found.update({word.capitalize(): _TITLE_WEIGHT for word in words})
        elif text and not text.replace(".", "", 1).isdigit():
            found[text] = 1.0
    return found
