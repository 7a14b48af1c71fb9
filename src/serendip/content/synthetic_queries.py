"""Synthetic queries from item fields, to train search before there is a search log.

Four kinds, in fixed shares: the whole title, a part of it, the title with one typo, and attribute
words ("horror 1999"). Popular items get more queries, as in real logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.item import Catalogue, Item

_KINDS = ("title", "part", "typo", "attributes")
_SHARES = (0.3, 0.25, 0.2, 0.25)
_LONG_WORD = 5
_MOST_ATTRIBUTES = 2


def write_examples(
    catalogue: Catalogue,
    counts: IntArray,
    fields: Sequence[str],
    seed: int = 0,
    count: int = 5000,
) -> tuple[list[str], IntArray]:
    """Write queries with the item that each should find.

    Args:
        catalogue: N items; those without any text are never asked for.
        counts: (N,) interactions per item; chance grows with the square root.
        fields: item fields that queries are made of.
        seed: the same seed gives the same queries.
        count: how many to write.

    Returns:
        texts and item numbers (Q,) int32; empty where no item has a text.
    """
    rng = np.random.default_rng(seed)
    askable = np.asarray([bool(item.text(fields)) for item in catalogue.items], dtype=np.bool_)
    weights = np.sqrt(1.0 + counts) * askable
    if not askable.any():
        return [], np.empty(0, dtype=np.int32)
    items = rng.choice(len(catalogue), size=count, p=weights / weights.sum()).astype(np.int32)
    kinds = rng.choice(_KINDS, size=count, p=_SHARES)
    texts = [
        _query(catalogue[int(item)], str(kind), fields, rng)
        for item, kind in zip(items, kinds, strict=True)
    ]
    return texts, items


def _query(item: Item, kind: str, fields: Sequence[str], rng: np.random.Generator) -> str:
    """One query; falls back to what the item has."""
    attributes = _attribute_words(item, fields)
    if (kind == "attributes" and attributes) or not item.title.strip():
        words = attributes or [item.text(fields)]
        size = int(rng.integers(1, _MOST_ATTRIBUTES + 1))
        chosen = rng.permutation(len(words))[:size]
        return " ".join(words[place] for place in sorted(chosen))
    if kind == "part":
        return _part(item.title, rng)
    return with_typo(item.title, rng) if kind == "typo" else item.title


def _attribute_words(item: Item, fields: Sequence[str]) -> list[str]:
    """Values of the fields that are no running text, in lower case."""
    words: list[str] = []
    for field in fields:
        if field in ("title", "description"):
            continue
        value = item.attributes.get(field, "")
        values = value if isinstance(value, tuple) else (item.field_text(field),)
        words.extend(text.casefold() for text in values if text)
    return words


def _part(title: str, rng: np.random.Generator) -> str:
    """Some neighbouring words of a title; of a single word its beginning."""
    words = title.split()
    if len(words) == 1:
        return title[: max(3, int(rng.integers(len(title) // 2, len(title) + 1)))]
    length = int(rng.integers(1, len(words)))
    begin = int(rng.integers(0, len(words) - length + 1))
    return " ".join(words[begin : begin + length])


def with_typo(text: str, rng: np.random.Generator) -> str:
    """``text`` with one wrong, missing, doubled or swapped letter in its longest word.

    Texts whose longest word has fewer than five letters come back unchanged: a typo there often
    makes another word.
    """
    words = text.split(" ")
    place = max(range(len(words)), key=lambda index: len(words[index]))
    word = words[place]
    if len(word) < _LONG_WORD:
        return text
    at = int(rng.integers(1, len(word) - 1))
    letter = ascii_lowercase[int(rng.integers(len(ascii_lowercase)))]
    edits = (
        word[:at] + letter + word[at + 1 :],
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
    )
    words[place] = edits[int(rng.integers(len(edits)))]
    return " ".join(words)
