"""Synthetic queries from item fields, to train search without a search log.

Four kinds in fixed proportions: the full title, a part of it, the title with a typo, and attribute
values ("horror 1999"). Popular items get more queries, as in real logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase

import numpy as np

from serendip.data import Catalogue, IntArray, Item

_KINDS = ("title", "part", "typo", "attributes")
_SHARES = (0.3, 0.25, 0.2, 0.25)
_MIN_TYPO_LENGTH = 5
_MAX_ATTRIBUTES = 2


def write_examples(
    catalogue: Catalogue,
    counts: IntArray,
    fields: Sequence[str],
    seed: int = 0,
    count: int = 5000,
) -> tuple[list[str], IntArray]:
    """Write queries, each with its target item.

    Items (N,) without text get none; others are drawn in proportion to sqrt(1 + count).

    Returns:
        texts and item numbers (Q,) int32; empty if no item has a text.
    """
    rng = np.random.default_rng(seed)
    has_text = np.asarray([bool(item.text(fields)) for item in catalogue.items], dtype=np.bool_)
    weights = np.sqrt(1.0 + counts) * has_text  # (N,)
    if not has_text.any():
        return [], np.empty(0, dtype=np.int32)
    items = rng.choice(len(catalogue), size=count, p=weights / weights.sum()).astype(np.int32)
    kinds = rng.choice(_KINDS, size=count, p=_SHARES)
    drawn = {number: catalogue[number] for number in np.unique(items).tolist()}
    attributes = {number: _read_attributes(item, fields) for number, item in drawn.items()}
    texts = [
        _write_query(drawn[number], attributes[number], kind, fields, rng)
        for number, kind in zip(items.tolist(), kinds.tolist(), strict=True)
    ]
    return texts, items


def write_query(item: Item, fields: Sequence[str], rng: np.random.Generator) -> str:
    """Write one query for an item, of any kind but the full title; empty if it has no text."""
    if not item.text(fields):
        return ""
    kinds, shares = _KINDS[1:], np.array(_SHARES[1:])
    kind = str(rng.choice(kinds, p=shares / shares.sum()))
    text = _write_query(item, _read_attributes(item, fields), kind, fields, rng)
    return _cut_part(item.title, rng) if text == item.title else text


def _write_query(
    item: Item,
    attributes: Sequence[str],
    kind: str,
    fields: Sequence[str],
    rng: np.random.Generator,
) -> str:
    if (kind == "attributes" and attributes) or not item.title.strip():
        values = attributes or [item.text(fields)]
        size = int(rng.integers(1, _MAX_ATTRIBUTES + 1))
        indices = rng.permutation(len(values))[:size]
        return " ".join(values[index] for index in sorted(indices))
    if kind == "part":
        return _cut_part(item.title, rng)
    return add_typo(item.title, rng) if kind == "typo" else item.title


def _read_attributes(item: Item, fields: Sequence[str]) -> list[str]:
    attributes: list[str] = []
    for field in fields:
        if field in ("title", "description"):
            continue
        value = item.attributes.get(field, "")
        values = value if isinstance(value, tuple) else (item.field_text(field),)
        attributes.extend(text.casefold() for text in values if text)
    return attributes


def _cut_part(title: str, rng: np.random.Generator) -> str:
    words = title.split()
    if len(words) == 1:
        return title[: max(3, int(rng.integers(len(title) // 2, len(title) + 1)))]
    length = int(rng.integers(1, len(words)))
    begin = int(rng.integers(0, len(words) - length + 1))
    return " ".join(words[begin : begin + length])


def add_typo(text: str, rng: np.random.Generator) -> str:
    """Substitute, delete, double or transpose a letter in the longest word of a text.

    Texts whose longest word has fewer than five letters are not changed: a typo there often makes
    another word.
    """
    words = text.split(" ")
    longest = max(range(len(words)), key=lambda index: len(words[index]))
    word = words[longest]
    if len(word) < _MIN_TYPO_LENGTH:
        return text
    position = int(rng.integers(1, len(word) - 1))
    letter = ascii_lowercase[int(rng.integers(len(ascii_lowercase)))]
    before, after = word[:position], word[position + 1 :]
    edits = (
        before + letter + after,
        before + after,
        before + word[position] + word[position:],
        before + word[position + 1] + word[position] + word[position + 2 :],
    )
    words[longest] = edits[int(rng.integers(len(edits)))]
    return " ".join(words)
