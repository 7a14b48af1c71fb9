"""One attribute of all items as columns, so that a filter costs a few comparisons, and only once.

Masks of the generation's part are cached.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from typing import Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, IntArray, TimeArray, distinct, locate, take_ranges
from serendip.data.rows.row_array import put_rows
from serendip.data.rows.strings import Strings

Attribute: TypeAlias = str | float | tuple[str, ...]
AttributeKind: TypeAlias = Literal["list", "number", "text"]

MISSING_TEXT = 0  # row 0 of ``texts`` is unused
# Last words of the names of attributes that hold ids or codes.
_CODE_NAMES = frozenset(("id", "ids", "sku", "ean", "gtin", "isbn", "asin", "upc", "mpn", "code"))
_LEAST_CODES = 20  # distinct texts from which on those with digits are ids or codes, and no sizes
_MOST_CODES = 1_000  # distinct texts that are looked at
_NAME_WORDS = re.compile(r"[A-Z]*[a-z]+|[A-Z]+")
_ADDRESS = re.compile(r"\S+://\S+|\S*/\S+\.\w{2,5}")  # an address, or the path of a file
_CACHED_MASKS = 64  # kept per attribute


@dataclass(frozen=True, eq=False)
class AttributeValues:
    """Values of one attribute of N items, dictionary-encoded; compared without regard to case.

    Args:
        numbers: (N,) float64, NaN if the attribute is not a number or is missing.
        codes: (N,) int32 row of the text in ``texts``, ``MISSING_TEXT`` = it is not a text.
        texts: distinct texts, the first one unused.
        starts: (N + 1,) int64 offsets of the lists.
        listed: (T,) int32 rows of the lists' values in ``members``.
        members: distinct values of lists.
    """

    numbers: TimeArray
    codes: IntArray
    texts: Sequence[str]
    starts: NDArray[np.int64]
    listed: IntArray
    members: Sequence[str]

    @classmethod
    def of(cls, values: Iterable[Attribute | None]) -> Self:
        """Build from one value per item, None for an item without one."""
        numbers: list[float] = []
        codes: list[int] = []
        texts: dict[str | None, int] = {None: MISSING_TEXT}
        members: dict[str, int] = {}
        listed, ends = list[int](), [0]
        for value in values:
            numbers.append(float(value) if isinstance(value, int | float) else np.nan)
            text = value if isinstance(value, str) else None
            codes.append(texts.setdefault(text, len(texts)))
            if isinstance(value, tuple | list):
                listed.extend(members.setdefault(part, len(members)) for part in value)
            ends.append(len(listed))
        return cls(
            np.array(numbers, np.float64),
            np.array(codes, np.int32),
            Strings.of(text or "" for text in texts),
            np.array(ends, np.int64),
            np.array(listed, np.int32),
            Strings.of(members),
        )

    @classmethod
    def none(cls, count: int) -> Self:
        """``count`` items without the attribute; takes no memory."""
        no_number = np.broadcast_to(np.nan, (count,))
        no_code = np.broadcast_to(np.int32(MISSING_TEXT), (count,))
        starts = np.broadcast_to(np.int64(0), (count + 1,))
        return cls(no_number, no_code, Strings.of([""]), starts, np.empty(0, np.int32), ())

    def __len__(self) -> int:
        return len(self.numbers)

    def text(self, row: int) -> str:
        """The text of an item that has one."""
        return self.texts[int(self.codes[row])]

    def members_of(self, row: int) -> tuple[str, ...]:
        """The list of an item."""
        begin, end = int(self.starts[row]), int(self.starts[row + 1])
        return tuple(self.members[code] for code in self.listed[begin:end].tolist())

    def words_of(self, row: int) -> tuple[str, ...]:
        """The list of an item; a text is a list of one."""
        if self.codes[row] != MISSING_TEXT:
            return (self.text(row),)
        return self.members_of(row)

    def count_words(self, rows: NDArray[np.integer]) -> Counter[str]:
        """Number of some items (M,) with each text, or word of their lists."""
        codes = self.codes[rows]
        starts, entries = take_ranges(self.starts, rows)
        owners = np.repeat(np.arange(len(rows)), np.diff(starts))
        pairs = distinct(owners * len(self.members) + self.listed[entries])
        members = pairs % max(len(self.members), 1)
        counts: Counter[str] = Counter()
        for found, names in ((codes[codes != MISSING_TEXT], self.texts), (members, self.members)):
            for code, count in zip(*np.unique(found, return_counts=True), strict=True):
                counts[names[code]] += int(count)
        return counts

    @cached_property
    def are_codes(self) -> bool:
        """Whether the texts and words of lists are addresses, ids or codes.

        Ids and codes are many, most with a digit and none of these with a space.
        """
        texts = (*islice(self.texts, 1, _MOST_CODES + 1), *islice(self.members, _MOST_CODES))
        if texts and sum(map(bool, map(_ADDRESS.fullmatch, texts))) > len(texts) / 2:
            return True
        codes = sum(" " not in text and any(map(str.isdigit, text)) for text in texts)
        return len(texts) >= _LEAST_CODES and codes > len(texts) / 2

    def having(self, word: str) -> BoolArray:
        """(N,) True where the list contains this value; a text counts as a list of one.

        Kept for the words that were asked for last; do not write to it.
        """
        return self._masks(word)

    @cached_property
    def _masks(self) -> Callable[[str], BoolArray]:
        @lru_cache(_CACHED_MASKS)
        def compute(word: str) -> BoolArray:
            mask = self.any_of([word], ())
            mask.setflags(write=False)
            return mask

        return compute

    def any_of(self, words: Sequence[str], numbers: Sequence[float]) -> BoolArray:
        """(N,) True where the attribute has one of the words or equals one of the numbers."""
        folded = {word.casefold() for word in words}
        codes = [code for word in folded for code in self._text_codes.get(word, ())]
        mask = _is_one_of(self.codes, codes)
        members = [code for word in folded for code in self._member_codes.get(word, ())]
        entries = np.flatnonzero(_is_one_of(self.listed, members))
        mask[np.searchsorted(self.starts, entries, side="right") - 1] = True
        return mask | np.isin(self.numbers, numbers) if len(numbers) else mask

    def within(self, least: float, most: float) -> BoolArray:
        """(N,) True where the attribute is a number in this range, both ends included."""
        inside: BoolArray = (self.numbers >= least) & (self.numbers <= most)
        return inside

    def sizes(self) -> Counter[str]:
        """Case-folded value -> number of items that have it, as a text or in a list."""
        of_texts = np.bincount(self.codes, minlength=len(self.texts)).tolist()
        counts: Counter[str] = Counter()
        for text, count in list(zip(self.texts, of_texts, strict=True))[1:]:
            counts[text.casefold()] += count
        folded: dict[str, int] = {}
        rows = np.array(
            [folded.setdefault(name.casefold(), len(folded)) for name in self.members], np.int64
        )
        owners = np.repeat(np.arange(len(self)), np.diff(self.starts))  # (T,)
        pairs = np.unique(owners * max(len(folded), 1) + rows[self.listed])
        of_lists = np.bincount(pairs % max(len(folded), 1), minlength=len(folded)).tolist()
        counts.update(dict(zip(folded, of_lists, strict=True)))
        return counts

    def has_value(self) -> BoolArray:
        """(N,) True where the attribute is a text or a list that is not empty."""
        has_text: BoolArray = self.codes != MISSING_TEXT
        return has_text | (np.diff(self.starts) > 0)

    @cached_property
    def median(self) -> float:
        """Median of the finite numbers; NaN without any."""
        finite = self.numbers[np.isfinite(self.numbers)]
        return float(np.median(finite)) if len(finite) else math.nan

    @cached_property
    def _text_codes(self) -> Mapping[str, list[int]]:
        return _fold(self.texts, MISSING_TEXT + 1)

    @cached_property
    def _member_codes(self) -> Mapping[str, list[int]]:
        return _fold(self.members, 0)


def _fold(names: Sequence[str], first: int) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if row >= first:
            rows.setdefault(name.casefold(), []).append(row)
    return rows


def is_code_name(name: str) -> bool:
    """Whether an attribute of this name holds ids or codes: ``parent_sku``, ``productId``."""
    words = _NAME_WORDS.findall(name)
    return bool(words) and words[-1].casefold() in _CODE_NAMES


def _is_one_of(codes: IntArray, wanted: Sequence[int]) -> BoolArray:
    mask: BoolArray = np.isin(codes, wanted) if len(wanted) > 1 else np.zeros(len(codes), np.bool_)
    if len(wanted) == 1:
        mask = codes == wanted[0]
    return mask


@dataclass(frozen=True, eq=False)
class AttributeColumn:
    """One attribute of all N items of a catalogue.

    Args:
        base: values of the items of the generation.
        late: (L,) late items, ascending.
        values: of these.
    """

    base: AttributeValues
    late: IntArray
    values: AttributeValues

    def having(self, word: str) -> BoolArray:
        """(N,) as ``AttributeValues.having``; do not write to it."""
        return self._put(self.base.having(word), self.values.having(word))

    def within(self, least: float, most: float) -> BoolArray:
        """(N,) True where the attribute is a number in this range, both ends included."""
        return self._put(self.base.within(least, most), self.values.within(least, most))

    def any_of(self, words: Sequence[str], numbers: Sequence[float]) -> BoolArray:
        """(N,) as ``AttributeValues.any_of``."""
        return self._put(self.base.any_of(words, numbers), self.values.any_of(words, numbers))

    @cached_property
    def has_numbers(self) -> bool:
        """Whether the attribute of any item is a number."""
        late = np.isfinite(self.values.numbers).any()
        return not math.isnan(self.base.median) or bool(late)

    @cached_property
    def numbers(self) -> TimeArray:
        """(N,) float64, NaN if the attribute is not a number or is missing."""
        return np.asarray(self._numbers) if len(self.late) else self.base.numbers

    @cached_property
    def _numbers(self) -> TimeArray:
        return put_rows(self.base.numbers, self.late, self.values.numbers)

    def numbers_of(self, items: IntArray) -> TimeArray:
        """(C,) float64 ``numbers`` of some items, at a cost that does not depend on N."""
        numbers: TimeArray = self._numbers[items]
        return numbers

    def having_of(self, word: str, items: IntArray) -> BoolArray:
        """(C,) ``having`` of some items, at a cost that does not depend on N after the first."""
        mask = put_rows(self.base.having(word), self.late, self.values.having(word))
        having: BoolArray = mask[items]
        return having

    def words_of(self, items: IntArray) -> list[tuple[str, ...]]:
        """Of each of some items (C,) its list; a text is a list of one."""
        places, is_late = locate(self.late, items)
        return [
            self.values.words_of(place) if late else self.base.words_of(item)
            for item, place, late in zip(
                items.tolist(), places.tolist(), is_late.tolist(), strict=True
            )
        ]

    def count_words(self, items: IntArray) -> Counter[str]:
        """Number of some items (C,) with each text, or word of their lists."""
        places, is_late = locate(self.late, items)
        return self.base.count_words(items[~is_late]) + self.values.count_words(places[is_late])

    @property
    def median(self) -> float:
        """Median of the numbers of the items of the generation."""
        return self.base.median

    def _put(self, base: BoolArray, late: BoolArray) -> BoolArray:
        return np.asarray(put_rows(base, self.late, late)) if len(self.late) else base
