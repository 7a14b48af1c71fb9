"""Tests of attributes that a request makes: ``genres=Comedy|Drama``, ``year>=1990``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Self, cast

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.data.items.catalogue import Catalogue
from serendip.errors import DataError

Sign = Literal["=", "!=", ">=", "<="]

OR = "|"  # separates the values of a test of which an item needs one
_OR_TEST = " OR "  # separates tests of which an item needs one
MAX_VALUES = 100  # of all tests of a request
_LEVELS = re.compile("[/>›»→]")  # between the levels of a path, which an item has in a list
_WRITTEN = re.compile(r"(.+?)(!=|>=|<=|=)(.*)", re.DOTALL)
_HELP = (
    "Write one as genres=Comedy|Drama, brand!=Acme, year>=1990, or several with OR between them: "
    "brand=Acme OR year<=2010."
)


@dataclass(frozen=True, slots=True)
class AttributeTest:
    """One test; upper and lower case are the same.

    Args:
        sign: ``=`` one of the values is the attribute, or in its list, as are all levels of a path
            of categories; ``!=`` none is, or there is
            no attribute; ``>=`` and ``<=`` the attribute is a number in this range.
        values: one or more; a single number for a range.
        others: tests of which an item may pass one instead: ``brand=Acme OR year>=1990``.
    """

    attribute: str
    sign: Sign
    values: tuple[str, ...]
    others: tuple[AttributeTest, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a written test; what is none is a ``DataError``."""
        first, *others = text.split(_OR_TEST)
        if others and all(map(_WRITTEN.fullmatch, (first, *others))):
            return replace(cls.parse(first), others=tuple(map(cls.parse, others)))
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise DataError(f"filter {text[:80]!r} is no test of an attribute.", _HELP)
        name, sign, written = (part.strip() for part in found.groups())
        values = tuple(value for part in written.split(OR) if (value := part.strip()))
        test = cls(name, cast(Sign, sign), values)
        if not name or not values:
            raise DataError(f"filter {text[:80]!r} has no attribute or no value.", _HELP)
        if test.is_range and (len(values) > 1 or math.isnan(_number(values[0]))):
            raise DataError(f"filter {text[:80]!r} compares with no number.", _HELP)
        return test

    @property
    def all(self) -> tuple[AttributeTest, ...]:
        """The test itself and those that may be passed instead."""
        return (self, *self.others)

    @property
    def is_range(self) -> bool:
        """Whether it compares numbers."""
        return self.sign in (">=", "<=")

    @property
    def has_words(self) -> bool:
        """Whether one of its values is no number."""
        return any(math.isnan(_number(value)) for value in self.values)

    def keep(self, catalogue: Catalogue) -> BoolArray:
        """(N,) bool, True = the item passes."""
        if self.others:
            alone = replace(self, others=())
            masks = [one.keep(catalogue) for one in (alone, *self.others)]
            passing: BoolArray = np.logical_or.reduce(masks)
            return passing
        column = catalogue.column(self.attribute)
        if self.is_range:
            number = _number(self.values[0])
            low, high = (number, math.inf) if self.sign == ">=" else (-math.inf, number)
            return column.within(low, high)
        numbers = [number for value in self.values if not math.isnan(number := _number(value))]
        passing = column.any_of(self.values, numbers)
        for value in self.values:
            levels = [level for part in _LEVELS.split(value) if (level := part.strip())]
            if len(levels) > 1 and not column.any_of([value], []).any():
                passing |= np.logical_and.reduce([column.any_of([one], []) for one in levels])
        return passing if self.sign == "=" else ~passing


def parse_tests(texts: Iterable[str], catalogue: Catalogue) -> tuple[AttributeTest, ...]:
    """Read the tests of a request; an item has to pass all.

    Raises:
        DataError: one is no test, no item has the attribute, or it is compared with a number and is
            none; or they have too many values.
    """
    tests = tuple(map(AttributeTest.parse, texts))
    single = [one for test in tests for one in test.all]
    count = sum(len(test.values) for test in single)
    if count > MAX_VALUES:
        raise DataError(f"the filters have {count} values.", f"Send at most {MAX_VALUES} in all.")
    ranges = [test.attribute for test in single if test.is_range]
    require_attributes((test.attribute for test in single), catalogue)
    require_numbers(ranges, catalogue)
    return tests


def require_attributes(names: Iterable[str], catalogue: Catalogue) -> None:
    """Refuse names of attributes that no item has.

    Raises:
        DataError: the name, and those that items have.
    """
    asked = list(names)
    known = catalogue.attribute_names if asked else ()
    for name in asked:
        if name not in known:
            listed = ", ".join(known[:20]) or "none"
            raise DataError(f"no item has the attribute {name[:80]!r}.", f"Items have: {listed}.")


def is_field(name: str, catalogue: Catalogue) -> bool:
    """Whether items may have a value of this name: an attribute, or a field that cards show."""
    return name in ("description", "available_from") or name in catalogue.attribute_names


def require_fields(names: Iterable[str], catalogue: Catalogue) -> None:
    """Refuse names of fields that no item has.

    Raises:
        DataError: the name, and the attributes that items have.
    """
    require_attributes((name for name in names if not is_field(name, catalogue)), catalogue)


def require_numbers(names: Iterable[str], catalogue: Catalogue) -> None:
    """Refuse names of attributes that are a number for no item.

    Raises:
        DataError: there is none; the hint says how texts are read as numbers.
    """
    for name in names:
        if not catalogue.column(name).has_numbers:
            raise DataError(
                f"the attribute {name[:80]!r} is a number for no item.",
                "Texts such as 12,50 € are numbers with [items.decimals] in serendip.toml.",
            )


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
