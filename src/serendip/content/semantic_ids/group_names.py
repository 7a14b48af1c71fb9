"""Readable names of groups of items that share the first codes of their semantic IDs.

A group is named by the words that distinguish it from its siblings: frequent in the group, rare in
the rest of its parent group. A name repeats no word of its parent groups and, if possible, no name
of a sibling, so a full name is the path along the codes (``build_group_name``). Values of list
attributes (genres, tags) are one word each, years become decades, other text is split into words.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from itertools import combinations

from serendip.data import Catalogue, IntArray, Item
from serendip.data.items.semantic_ids import code_name

NAMED_LEVELS = 2  # deeper groups have few items, whose titles describe them better
_NUM_CANDIDATES = 6  # words per group from which a name that no sibling has is chosen
_MIN_SHARE = 0.2  # share of a group's items that must have a word of its name
_TITLE_WEIGHT = 0.6  # weight beside that of an attribute value, which is a deliberate description
_SEPARATOR = " › "
_YEAR = re.compile(r"(1[89]|20)\d\d")
_WORD = re.compile(r"[^\W\d_][\w'’]{2,}")
_PART = re.compile(r"\w+")
_STOP_WORDS = frozenset(
    "the and for with from that this her his its are was not you all der die das und les des une "
    "del los las con por who what when how into out off over ounce ounces fluid pack count".split()
)

_Words = dict[str, float]  # as shown -> weight


def name_prefixes(
    catalogue: Catalogue, codes: IntArray, fields: Sequence[str], levels: int = NAMED_LEVELS
) -> dict[str, str]:
    """Name the code prefixes of the first levels; prefixes without a typical word have no name.

    Codes are (N, L); there are at most L levels.

    Returns:
        prefix as it is shown (``12`` or ``12-7``) -> name of its last level (``Horror, Thriller``).
    """
    words = {number: _read_words(item, fields) for number, item in enumerate(catalogue.items)}
    return _name_level(words, codes, 0, min(levels, codes.shape[1]))


def build_group_name(names: Mapping[str, str], codes: IntArray | Sequence[int]) -> str:
    """Build the full name of a group, coarse to fine: ``Horror, Thriller › Vampire``.

    Levels of the prefix (l,) without a name, or whose name only repeats words, are skipped.
    """
    path: list[str] = []
    used: frozenset[str] = frozenset()
    for depth in range(1, len(codes) + 1):
        name = names.get(code_name(codes[:depth]), "")
        if _find_stems(name) - used:
            path.append(name)
            used |= _find_stems(name)
    return _SEPARATOR.join(path)


def shared_parts(name: str, *items: Item) -> str:
    """The words of a group's full name that each of some items has; empty = none."""
    owned = [_read_words(item, ("title", *item.attributes)) for item in items]
    levels = (
        [word for word in level.split(", ") if all(word in own for own in owned)]
        for level in name.split(_SEPARATOR)
    )
    return _SEPARATOR.join(", ".join(level) for level in levels if level)


def _name_level(
    unused: Mapping[int, _Words], codes: IntArray, level: int, levels: int
) -> dict[str, str]:
    """Name the groups of one level and all deeper ones, within one parent group.

    ``unused`` has the words of each item of the parent that are not part of a parent's name.
    """
    if level == levels:
        return {}
    groups: dict[str, dict[int, _Words]] = defaultdict(dict)
    for number, words in unused.items():
        groups[code_name(codes[number, : level + 1])][number] = words
    overall = Counter(word for words in unused.values() for word in words)
    names: dict[str, str] = {}
    taken: set[frozenset[str]] = set()
    # Large groups choose first.
    for prefix, group in sorted(groups.items(), key=lambda entry: -len(entry[1])):
        candidates = _rank_words(list(group.values()), overall, len(unused))
        name = _choose_name(candidates, taken)
        if name:
            names[prefix] = ", ".join(name)
            taken.add(frozenset(name))
        names |= _name_level(_remove_words(group, name), codes, level + 1, levels)
    return names


def _rank_words(group: Sequence[_Words], overall: Counter[str], total: int) -> list[str]:
    """Rank the words typical of a group among the ``total`` items of its parent, best first.

    Score: share of the group's items * (log lift over the parent + 0.1) * weight of the word.
    """
    counts: Counter[str] = Counter()
    weights: dict[str, float] = {}
    for words in group:
        counts.update(words.keys())
        weights.update(words)
    scored = []
    for word, count in counts.items():
        share = count / len(group)
        lift = math.log(share * total / overall[word])
        is_typical = share >= _MIN_SHARE and (count > 1 or len(group) == 1)
        if is_typical and (lift > 0 or len(group) == total):
            scored.append((-share * (lift + 0.1) * weights[word], word))
    return [word for _, word in sorted(scored)[:_NUM_CANDIDATES]]


def _choose_name(words: Sequence[str], taken: Set[frozenset[str]]) -> tuple[str, ...]:
    pairs = [
        pair for pair in combinations(words, 2) if not _find_stems(pair[1]) <= _find_stems(pair[0])
    ]
    candidates = [*pairs, *((word,) for word in words)]
    free = (candidate for candidate in candidates if frozenset(candidate) not in taken)
    return next(free, candidates[0] if candidates else ())


def _remove_words(group: Mapping[int, _Words], name: Sequence[str]) -> dict[int, _Words]:
    stems = frozenset[str]().union(*map(_find_stems, name))  # whatever their number or case
    used = {word for words in group.values() for word in words if _find_stems(word) <= stems}
    return {
        number: {word: weight for word, weight in words.items() if word not in used}
        for number, words in group.items()
    }


def _find_stems(text: str) -> frozenset[str]:
    """Words of a text in lower case without a final "s", so that plurals count as repetitions."""
    return frozenset(word.rstrip("s") for word in _PART.findall(text.casefold()))


def _read_words(item: Item, fields: Sequence[str]) -> _Words:
    weights: _Words = {}
    for field in fields:
        value = item.attributes.get(field, "")
        if isinstance(value, tuple):
            weights.update({part: 1.0 for part in value if part})
            continue
        text = item.field_text(field)
        if _YEAR.fullmatch(text):
            weights[f"{text[:3]}0s"] = 1.0
        elif field in ("title", "description"):
            words = (word for word in _WORD.findall(text) if word.casefold() not in _STOP_WORDS)
            weights.update({word.capitalize(): _TITLE_WEIGHT for word in words})
        elif text and not text.replace(".", "", 1).isdigit():
            weights[text] = 1.0
    return weights
