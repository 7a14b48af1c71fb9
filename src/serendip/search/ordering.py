"""The order of a search's answer: exact titles, titles that were meant, then the fused list."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.item_list import ItemList
from serendip.search.lexical import is_allowed
from serendip.search.understanding import CORRECTED, EXACT, Reading

RATIO_WEIGHT = 0.8
"""``title_match`` of a title that is no exact or corrected match is at most this."""


def titles_first(
    reading: Reading,
    words: ItemList,
    fused: ItemList,
    keys: Sequence[str],
    allowed: BoolArray | None,
) -> ItemList:
    """Put the titles of ``reading`` before ``fused`` and fill the fields that tell why.

    Args:
        reading: how the text was understood.
        words: BM25 hits.
        fused: all other hits, best first.
        keys: normalised titles by item number.
        allowed: (N,) bool; only these titles are put first.

    Returns:
        all items with ``bm25`` and ``title_match``; scores never rise.
    """
    titled: dict[int, float] = dict.fromkeys(reading.exact.tolist(), EXACT)
    for number in reading.corrected.tolist():
        titled.setdefault(number, CORRECTED)
    titled = {n: match for n, match in titled.items() if is_allowed(n, allowed)}
    rest = [number for number in fused.item_nums.tolist() if number not in titled]
    numbers = np.asarray([*titled, *rest], dtype=np.int32)
    scores = _scores_in(fused, numbers)
    lead = np.arange(len(titled), 0, -1, dtype=np.float32)
    scores[: len(lead)] = fused.scores.max(initial=0.0) + lead
    likeness = _likeness(reading.corrected_key, [keys[number] for number in rest])
    matches = np.concatenate([np.asarray(list(titled.values()), dtype=np.float32), likeness])
    fields = {"bm25": _scores_in(words, numbers), "title_match": matches}
    return ItemList(numbers, scores, fields)


def nothing_found() -> ItemList:
    """An empty answer with its fields."""
    none = np.empty(0, dtype=np.float32)
    return ItemList(fields={"bm25": none, "title_match": none})


def _scores_in(source: ItemList, numbers: IntArray) -> FloatArray:
    """Scores of ``numbers`` in a list; 0 for those not in it."""
    found = dict(zip(source.item_nums.tolist(), source.scores.tolist(), strict=True))
    return np.asarray([found.get(number, 0.0) for number in numbers.tolist()], dtype=np.float32)


def _likeness(key: str, titles: Sequence[str]) -> FloatArray:
    """Similarity of whole titles with the text, 0 to .8."""
    from rapidfuzz.fuzz import ratio

    weight = RATIO_WEIGHT / 100.0
    return np.asarray([weight * ratio(key, title) for title in titles], dtype=np.float32)
