"""Queries from attributes: single values, and combinations of two or three that items share.

The *head* of a combination is a value of the main attribute (a genre, a type of product); before it
stands what narrows it: a decade, a value of another attribute (a brand, a person), or a rarer value
of the main attribute: "90s Horror", "Acme Drills", "Horror Comedy", "80s Horror Comedy". A
combination leads to items that have all of its values.

Shapes: N items, V values, F values that come first, H heads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from serendip.data import Artefact, BoolArray, Catalogue, IntArray, TimeArray, normalise, words
from serendip.data.items.attributes import AttributeValues
from serendip.files.names import is_called

LEAST_ITEMS, _FEWEST_ITEMS = 5, 2

_ITEMS_OF_SMALL = 20
"""Items of a catalogue for each one that its combinations have to lead to."""

_HEADS_OF_VALUE = 3
"""Combinations of one brand or person: with the heads that go along with it the most."""

_MAX_CHARACTERS = 40

_USUAL_CHARACTERS = 25
"""Median length of the values of an attribute above which these are texts rather than names."""

_FEWEST_VALUES = 3
"""Distinct values of an attribute beside the main one: fewer are yes and no."""

_MAX_HEADS = 100
"""Values of the main attribute that may be heads, those of most items."""

_NESTED = 0.9
"""Share of the items of a value that have another one, from which on it is a part of that one."""

_SEVERAL = frozenset(",&/;+")
"""Signs between names, as in "Tools & Home", beside which nothing of a query reads well."""

_FIRST_YEAR, _LAST_YEAR = 1930, 2029


@dataclass(frozen=True, eq=False)
class ValueItems:
    """Values or queries (V), and the items that have them: (V, N) 1 where an item has the value."""

    texts: Sequence[str]
    items: csr_array

    @classmethod
    def of(
        cls, names: Sequence[str], values: NDArray[np.integer], owners: NDArray[np.integer], n: int
    ) -> ValueItems:
        """Build from pairs (T,) of a value, a row of ``names``, and an item that has it."""
        matrix = csr_array((np.ones(len(values), np.int32), (values, owners)), (len(names), n))
        matrix.data[:] = 1  # a value twice in one list counts once
        return cls(names, matrix)

    @property
    def sizes(self) -> IntArray:
        """(V,) number of items of each."""
        return np.diff(self.items.indptr).astype(np.int32)

    def rows(self, rows: NDArray[np.intp]) -> ValueItems:
        """Some of the values."""
        return ValueItems([self.texts[row] for row in rows.tolist()], self.items[rows])

    def __iter__(self) -> Iterator[tuple[str, IntArray]]:
        lists = np.split(self.items.indices, self.items.indptr[1:-1])
        for text, items in zip(self.texts, lists, strict=False):
            yield text, np.sort(items).astype(np.int32)

    def largest(self, most: int, least: int) -> ValueItems:
        """At most ``most`` values that ``least`` items or more have, those of most items first."""
        order = np.argsort(-self.sizes, kind="stable")
        return self.rows(order[self.sizes[order] >= least][:most])


def least_items(num_items: int) -> int:
    """Items that a combination leads to in a catalogue of N items, at least."""
    return min(LEAST_ITEMS, max(_FEWEST_ITEMS, num_items // _ITEMS_OF_SMALL))


def find_decade(value: object) -> str:
    """The decade of a year from 1930 to 2029, as people say it: ``90s``, ``2010s``; else empty."""
    if not isinstance(value, float) or not value.is_integer():
        return ""
    decade = int(value) // 10 * 10
    short = f"{decade % 100}s" if decade < 2000 else f"{decade}s"
    return short if _FIRST_YEAR <= value <= _LAST_YEAR else ""


def find_values(catalogue: Catalogue, name: str) -> ValueItems:
    """The texts of an attribute, alone or in lists, without placeholders such as "(none)"."""
    values = catalogue.values(name)
    single = np.flatnonzero(values.has_value() & (np.diff(values.starts) == 0))
    owners = np.repeat(np.arange(len(values)), np.diff(values.starts))
    texts = [*values.texts, *values.members]
    found = ValueItems.of(
        texts,
        np.concatenate([values.codes[single], values.listed + len(values.texts)]),
        np.concatenate([single, owners]),
        len(values),
    )
    return found.rows(np.flatnonzero([_is_name(text) for text in texts]))


def _is_name(text: str) -> bool:
    is_placeholder = text.startswith(("(", "[", "<"))
    return len(text) <= _MAX_CHARACTERS and not is_placeholder and bool(normalise(text))


def find_decades(values: AttributeValues) -> ValueItems | None:
    """The decades of an attribute of years; None for any other."""
    known = values.numbers[np.isfinite(values.numbers)]
    is_year = (known % 1 == 0) & (known >= 1000) & (known <= _LAST_YEAR)
    if not len(known) or not is_year.all():
        return None
    decades = np.array([find_decade(year) for year in values.numbers.tolist()])
    owners = np.flatnonzero(decades != "")
    texts, rows = np.unique(decades[owners], return_inverse=True)
    return ValueItems.of(texts.tolist(), rows, owners, len(decades))


def single_values(catalogue: Catalogue, main: str) -> Iterator[ValueItems]:
    """The values of the main attribute, and of each other one that holds names."""
    if main:
        yield find_values(catalogue, main)
    for name in catalogue.attribute_names:
        if name != main and not catalogue.is_code(name):
            lengths = [len(text) for text in catalogue.values(name).sizes()]
            if len(lengths) >= _FEWEST_VALUES and np.median(lengths) <= _USUAL_CHARACTERS:
                yield find_values(catalogue, name)


def combined_values(
    catalogue: Catalogue, main: str
) -> Iterator[tuple[Literal["rule", "name"], ValueItems]]:
    """The combinations with values of the main attribute as heads, and their kind; none without
    one.

    ``name`` has a value of another attribute, such as a person or a brand; all others are ``rule``.
    """
    if not main:
        return
    first, *others = single_values(catalogue, main)
    least = least_items(len(catalogue))
    heads = first.largest(_MAX_HEADS, least)
    pairs = _pair(heads)
    yield "rule", pairs
    for name in catalogue.attribute_names:
        decades = find_decades(catalogue.values(name))
        if decades is not None:
            yield "rule", _combine(decades, heads)
            yield "rule", _combine(decades, pairs)
    for values in others:
        names = values.largest(len(values.texts), least)
        yield "name", _combine(names, heads, _HEADS_OF_VALUE)


def _combine(firsts: ValueItems, heads: ValueItems, most: int | None = None) -> ValueItems:
    """Values before heads, where enough items have both; none of a head that is a part of a value.

    ``most`` combinations of one value, those that go along the most; None = all.
    """
    left, right, counts, lifts = _count_pairs(firsts, heads)
    kept = counts < _NESTED * heads.sizes[right]
    order = np.lexsort((-counts * lifts, left))
    order = order[kept[order]]
    if most is not None:
        begins = np.searchsorted(left[order], left[order])
        order = order[np.arange(len(order)) - begins < most]
    return _join(firsts, heads, left[order], right[order])


def _pair(heads: ValueItems) -> ValueItems:
    """Pairs of heads, the rarer one before the more general one; none of paths."""
    left, right, counts, _ = _count_pairs(heads, heads)
    sizes = heads.sizes
    is_first = (sizes[left] < sizes[right]) | ((sizes[left] == sizes[right]) & (left < right))
    left, right, counts = left[is_first], right[is_first], counts[is_first]
    nested = counts >= _NESTED * sizes[left]
    if 2 * counts[nested].sum() > counts.sum():
        return heads.rows(np.empty(0, np.intp))
    return _join(heads, heads, left[~nested], right[~nested])


def _count_pairs(
    firsts: ValueItems, heads: ValueItems
) -> tuple[NDArray[np.intp], NDArray[np.intp], IntArray, NDArray[np.float64]]:
    num_items = firsts.items.shape[1]
    together = (firsts.items @ heads.items.T).tocoo()
    enough = together.data >= least_items(num_items)
    left, right = (places[enough].astype(np.intp) for places in together.coords)
    counts = together.data[enough]
    chance = firsts.sizes[left] / num_items * heads.sizes[right]
    return left, right, counts, np.log2(counts / chance)


def _join(
    firsts: ValueItems, heads: ValueItems, left: NDArray[np.intp], right: NDArray[np.intp]
) -> ValueItems:
    """The pairs as queries, without those that repeat a word or have several names as a value."""
    texts = [
        (firsts.texts[one], heads.texts[other])
        for one, other in zip(left.tolist(), right.tolist(), strict=True)
    ]
    kept = np.flatnonzero([_reads_well(*pair) for pair in texts])
    joined = [" ".join(texts[place]) for place in kept.tolist()]
    return ValueItems(joined, firsts.items[left[kept]].multiply(heads.items[right[kept]]).tocsr())


def _reads_well(first: str, head: str) -> bool:
    is_list = bool(_SEVERAL & {*first, *head})
    return not is_list and not {*words(normalise(first))} & {*words(normalise(head))}


MOST = 100
_YES_NO = {"true", "false", "yes", "no"}


@dataclass(frozen=True)
class Categories(Artefact):
    """C categories: the values of one attribute, case-folded, at most 100.

    The name is empty if no attribute of the catalogue is suitable.
    """

    name: str = ""
    values: tuple[str, ...] = ()

    @classmethod
    def of(cls, catalogue: Catalogue, name: str = "") -> Self:
        """Build from the values of an attribute; without a name, of ``main_attribute``."""
        attribute = name or main_attribute(catalogue)
        if not attribute:
            return cls()
        sizes = catalogue.values(attribute).sizes()
        return cls(attribute, tuple(sorted(sizes, key=lambda text: (-sizes[text], text))[:MOST]))

    def __len__(self) -> int:
        return len(self.values)

    def of_items(self, catalogue: Catalogue, items: IntArray) -> list[list[int]]:
        """Numbers of the categories of each of some items."""
        words = catalogue.column(self.name).words_of(items) if self.name else [()] * len(items)
        return [self._find(some) for some in words]

    def among(self, catalogue: Catalogue, items: IntArray) -> BoolArray:
        """(C,) bool, the categories that occur among some items."""
        mask = np.zeros(len(self), np.bool_)
        if self.name:
            mask[self._find(catalogue.column(self.name).count_words(items))] = True
        return mask

    def matrix(self, catalogue: Catalogue) -> BoolArray:
        """(N, C) bool, the categories of each item."""
        masks = [catalogue.column(self.name).having(value) for value in self.values]
        return np.array(masks, np.bool_).reshape(len(self), len(catalogue)).T

    def _find(self, words: Iterable[str]) -> list[int]:
        numbers = {self._numbers.get(word.casefold(), -1) for word in words}
        return sorted(numbers - {-1})

    def find_starts(self, catalogue: Catalogue, starts: TimeArray) -> TimeArray:
        """(C,) when the first item of each category appeared; infinite = none has.

        Args:
            catalogue: N items.
            starts: (N,) Unix seconds.
        """
        of_categories = np.where(self.matrix(catalogue), starts[:, None], np.inf)  # (N, C)
        first: TimeArray = of_categories.min(axis=0, initial=np.inf)
        return first

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {value: number for number, value in enumerate(self.values)}


def main_attribute(catalogue: Catalogue) -> str:
    """The text attribute that is called a category and whose values items share, else the one with
    the fewest distinct values, among those that half the items have.

    Empty if there is none with two values or more and fewer than one per item. Yes and no are no
    categories.
    """
    sizes = {}
    for name in catalogue.attribute_names:
        values = catalogue.values(name)
        num_values = len(values.sizes().keys() - _YES_NO)
        if 1 < num_values < len(catalogue) and 2 * values.has_value().sum() >= len(catalogue):
            sizes[name] = num_values

    def rank(name: str) -> tuple[bool, int]:
        is_category = is_called(name, "category") and 2 * sizes[name] <= len(catalogue)
        return not is_category, sizes[name]

    return min(sizes, key=rank, default="")
