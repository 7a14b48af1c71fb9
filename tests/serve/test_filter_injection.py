"""Filters against an evaluator in plain Python: no name or value becomes more than that.

Names and values of items and of filters come from the same hostile words, so that they meet often:
the signs and separators of filters themselves, quotes, SQL, paths of JSON, numbers in odd writing,
and letters that are the same only in another case or another normal form.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import reduce
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serendip.data import Catalogue, Item
from serendip.data.items.attribute_test import parse_tests
from serendip.errors import DataError

NAMES = (
    *("a", "A", "a b", "a'", '"a"', "a=b", "a=", "=a", "a>", "!a", "a|b", "a,b", "a\\", "$.a"),
    *("é", "e\u0301", "İ", "ı", "ﬁ", "Ａ", "가", "ㄱㅏ", "item_id", "title", "__class__", "1"),
    *("a' OR '1'='1' --", "a); drop table items; --", "<a>", "x\u202ey", "🏳️‍🌈", "a.b", "%", "*"),
)
ALIKE = (
    ("a", "A", "Ａ", "a ", "\ufeffa", "a\nb", "a\tb", "a b"),
    ("a|b", "a", "b", "|", "a, b", "a=b"),
    (">=1", "!=", "=", "<", "<=", "=1"),
    ("'", '"', "a'", "\\", "%", "_", "*"),
    ("' OR '1'='1", "'; drop table items; --", "a AND", "NEAR(", "$.a"),
    ("NaN", "nan", "Infinity", "-inf", "1e400", "null", "true"),
    ("1", "1.0", "01", "1e0", "0x1", "1_0", "10", "1.5"),
    ("٣", "3", "-0", "0", "\u00a0", "\u2028"),
    ("é", "e\u0301", "É", "E\u0301"),
    ("İ", "i\u0307", "ı", "I", "i"),
    ("ß", "SS", "ss", "ẞ", "ſs"),
    ("ﬁ", "fi", "\u212a", "k"),
    ("가", "ㄱㅏ", "\u1100\u1161", "x\u202ey", "🏳️‍🌈"),
)
VALUES = tuple(dict.fromkeys(value for group in ALIKE for value in group))
NUMBERS = (0.0, -0.0, 1.0, 1.5, 3.0, 10.0, -1.0, 1e308, -1e308, 5e-324, 2.0**53, 0.1)
SIGNS = ("!=", ">=", "<=", "=")
ODD_SIGNS = (*SIGNS, "==", "=!=", "<", ">", "=<", "|=", "")
MAX_TESTS, MAX_VALUES = 20, 100

numbers = st.sampled_from(NUMBERS)
words = st.sampled_from(VALUES) | st.lists(st.sampled_from(VALUES), max_size=3).map("".join)


def list_filters(names: Sequence[str], values: Sequence[str]) -> st.SearchStrategy[list[str]]:
    """Filters of a request, most of them tests of these names and values."""
    name, value = st.sampled_from(names), st.sampled_from(values) | numbers.map(repr)
    several = st.lists(value, min_size=1, max_size=4).map("|".join)
    equal = st.builds("{}{}{}".format, name, st.sampled_from(("=", "!=", " = ", "\n!=")), several)
    within = st.builds("{}{}{}".format, name, st.sampled_from((">=", "<=", " >= ")), numbers)
    odd = st.builds("{}{}{}".format, name | words, st.sampled_from(ODD_SIGNS), several | words)
    test = equal | equal | within
    either = st.lists(test, min_size=2, max_size=3).map(" OR ".join)
    return st.one_of(
        st.lists(equal, min_size=1, max_size=2),
        st.lists(test, min_size=1, max_size=3),
        st.lists(test | either, min_size=1, max_size=2),
        st.lists(test | odd | words, min_size=1, max_size=2),
        st.lists(equal, min_size=MAX_TESTS - 1, max_size=MAX_TESTS + 1),
    )


Attributes = dict[str, Any]
Shop = tuple[list[Attributes], dict[int, Attributes], list[list[str]]]


@st.composite
def shops(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Shop:
    """Attributes of the first items, of those posted or changed later by number, and filters."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    values = [*draw(st.sampled_from(ALIKE)), *draw(st.lists(words, max_size=2))]
    word = st.sampled_from(values)
    value = word | numbers | st.lists(word, max_size=3).map(tuple)
    attributes = st.dictionaries(st.sampled_from(names), value, max_size=3)
    first = draw(st.lists(attributes, min_size=3, max_size=6))
    late = draw(st.dictionaries(st.integers(0, len(first) + 2), attributes, max_size=5))
    return first, late, draw(st.lists(list_filters(names, values), min_size=4, max_size=8))


often = settings(
    deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


class Refused(Exception):
    """The filter is no test, or one that no item can pass or fail."""


def read(text: str, rows: Sequence[Attributes]) -> tuple[str, str, list[str]]:
    """Name, sign and values: the first sign counts that has a name before it.

    Args:
        text: a filter.
        rows: attributes that items have or once had, whose names and numbers may be asked for.
    """
    places = [(text.find(sign, 1), -len(sign), sign) for sign in SIGNS]
    place, _, sign = min((one for one in places if one[0] > 0), default=(0, 0, ""))
    name = text[:place].strip()
    values = [value.strip() for value in text[place + len(sign) :].split("|")]
    values = [value for value in values if value]
    if not sign or not values or not any(name in row for row in rows):
        raise Refused
    if sign in (">=", "<="):
        is_numeric = any(isinstance(row.get(name), float) for row in rows)
        if len(values) > 1 or to_number(values[0]) is None or not is_numeric:
            raise Refused
    return name, sign, values


def read_any(text: str, rows: Sequence[Attributes]) -> list[tuple[str, str, list[str]]]:
    """The tests of which one is enough; an OR that is not between two tests is of a value."""
    parts = text.split(" OR ")
    are_tests = all(any(part.find(sign, 1) > 0 for sign in SIGNS) for part in parts)
    return [read(part, rows) for part in (parts if are_tests else [text])]


def passes(name: str, sign: str, values: list[str], attributes: Attributes) -> bool:
    value = attributes.get(name)
    numbers = [number for text in values if (number := to_number(text)) is not None]
    if sign == ">=":
        return isinstance(value, float) and value >= numbers[0]
    if sign == "<=":
        return isinstance(value, float) and value <= numbers[0]
    if isinstance(value, str | tuple):
        folded = [text.casefold() for text in values]
        parts = [value] if isinstance(value, str) else value
        is_one = any(part.casefold() in folded for part in parts)
    else:
        is_one = value in numbers
    return is_one == (sign == "=")


def to_number(text: str) -> float | None:
    with suppress(ValueError):
        if math.isfinite(number := float(text)):
            return number
    return None


def expected(
    texts: Sequence[str], items: Mapping[str, Attributes], rows: Sequence[Attributes]
) -> list[str] | None:
    """Ids of the items that pass; None = the filters are refused."""
    try:
        tests = [read_any(text, rows) for text in texts]
    except Refused:
        return None
    if sum(len(values) for choices in tests for *_, values in choices) > MAX_VALUES:
        return None
    return sorted(
        name
        for name, one in items.items()
        if all(any(passes(*test, one) for test in choices) for choices in tests)
    )


def kept(texts: Sequence[str], catalogue: Catalogue) -> list[str] | None:
    """The same of the product."""
    try:
        masks = [test.keep(catalogue) for test in parse_tests(texts, catalogue)]
    except DataError as error:
        assert error.message and error.hint
        return None
    passing = reduce(np.logical_and, masks)
    return sorted(
        item.item_id for item, passes in zip(catalogue.items, passing, strict=True) if passes
    )


KINDS = ("refused", "none", "some")
"""What becomes of filters: an error, no item, items."""


def test_filters_keep_what_a_plain_evaluator_keeps() -> None:
    kinds = Counter[str]()

    @settings(often, max_examples=60)
    @given(shops())
    def compare(shop: Shop) -> None:
        first, late, requests = shop
        rows = dict(enumerate(first)) | late
        catalogue = Catalogue([Item(f"i{n}", "", "", one) for n, one in enumerate(first)])
        catalogue = catalogue.with_late([Item(f"i{n}", "", "", one) for n, one in late.items()])
        items = {f"i{number}": one for number, one in rows.items()}
        for texts in requests:
            wanted = expected(texts, items, [*first, *late.values()])
            assert kept(texts, catalogue) == wanted, texts
            kinds["refused" if wanted is None else "none" if not wanted else "some"] += 1

    compare()
    # Neither all are refused, nor do all items pass.
    assert min(kinds[name] for name in KINDS) > 25, kinds
