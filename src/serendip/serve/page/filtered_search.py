"""A search of the page as a value: its links keep all of it but what they change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlencode

from serendip.data.items.attribute_test import AttributeTest


@dataclass(frozen=True, slots=True)
class FilteredSearch:
    """A search of the page.

    Args:
        text: as typed.
        user_id: the visitor.
        filters: of the search, as written.
        literal: whether the text is searched as typed.
        sort: order of the results, as the engine reads it; empty = the order of the engine.
    """

    text: str
    user_id: str
    filters: tuple[str, ...] = ()
    literal: bool = False
    sort: str = ""

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Fields of a form that asks for the search in another order."""
        fields = [("q", self.text)]
        fields += [("user", self.user_id)] if self.user_id else []
        fields += [("literal", "1")] if self.literal else []
        return [*fields, *(("filter", one) for one in self.filters)]

    @property
    def link(self) -> str:
        """Link to the search."""
        fields = [*self.fields, *([("sort", self.sort)] if self.sort else [])]
        return f"/search?{urlencode(fields)}"

    @property
    def value_tests(self) -> list[AttributeTest]:
        """Its tests for values of which an item must have one."""
        tests = map(AttributeTest.parse, self.filters)
        return [test for test in tests if test.sign == "="]

    @property
    def category(self) -> str:
        """What a search without a text is of, by the words that it filters by; empty without."""
        return ", ".join(" or ".join(test.values) for test in self.value_tests if test.has_words)

    def toggle(self, filter_text: str) -> str:
        """Link to the search with a filter, or without it if it is there."""
        filters = tuple(one for one in self.filters if one != filter_text)
        if len(filters) == len(self.filters):
            filters = (*filters, filter_text)
        return replace(self, filters=filters).link

    def reword(self, text: str, literal: bool = False) -> str:
        """Link to a search for another text, with the same filters and in the same order."""
        return replace(self, text=text, literal=literal).link
