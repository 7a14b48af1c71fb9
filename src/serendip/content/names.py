"""Readable names for groups of items that share the first codes of their semantic IDs.

A group is named by the words that set it apart: frequent inside, rare outside. Values of list
attributes (genres, tags) count whole, years as decades, other text word by word.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from serendip.data.arrays import IntArray
from serendip.data.item import Catalogue, Item
from serendip.data.semantic_ids import code_name

NAMED_LEVELS = 2
"""For the page: deeper groups hold a handful of items; their titles say more than any name."""

_WORDS_PER_NAME = 2
_LEAST_SHARE = 0.2
_TITLE_WEIGHT = 0.6
"""A word of a title says less about a group than an attribute that somebody chose."""

_YEAR = re.compile(r"(1[89]|20)\d\d")
_WORD = re.compile(r"[^\W\d_][\w'’]{2,}")
_EMPTY_WORDS = frozenset(
    "the and for with from that this her his its are was not you all der die das und les des une "
    "del los las con por who what when how into out off over".split()
)


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
        prefix as written for people (``12`` or ``12-7``) -> name (``Horror, Thriller``).
    """
    words = [_words(item, fields) for item in catalogue.items]
    overall = Counter(word for found in words for word in found)
    groups: dict[str, list[int]] = defaultdict(list)
    for number, code in enumerate(codes):
        for level in range(1, min(levels, codes.shape[1]) + 1):
            groups[code_name(code[:level])].append(number)
    names = {
        prefix: _name([words[number] for number in numbers], overall, len(words))
        for prefix, numbers in groups.items()
    }
    return {prefix: name for prefix, name in names.items() if name}


def _name(group: list[dict[str, float]], overall: Counter[str], total: int) -> str:
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
    return ", ".join(word for _, word in sorted(scored)[:_WORDS_PER_NAME])


def _words(item: Item, fields: Sequence[str]) -> dict[str, float]:
    """Words of one item as they are shown -> how much they say."""
    found: dict[str, float] = {}
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
