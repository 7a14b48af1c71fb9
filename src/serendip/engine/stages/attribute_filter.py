"""A filter by one attribute of the items, as ``filters`` of a surface names it."""

from __future__ import annotations

import math
from typing import Self

from pydantic import Field, model_validator

from serendip.config import Config
from serendip.data.arrays import BoolArray
from serendip.data.item import Catalogue
from serendip.data.query import Query

REQUEST = "request"
"""Stands for what the request says; the one thing that it says so far is its country."""


class AttributeFilter(Config):
    """``{attribute = "genres", has = "Comedy"}``: keeps items whose attribute passes one test.

    Upper and lower case are the same. An item without the attribute is left out. A test against
    the request keeps everything where the request does not say its country.
    """

    attribute: str = Field(min_length=1)
    """Name of the attribute."""

    equals: float | str | None = None
    """The attribute is this text or number; "request" = the country of the request."""

    has: str | None = None
    """The list has this word (a text is a list of one); "request" = the country of the request."""

    at_least: float | None = None
    """The number is this or more."""

    at_most: float | None = None
    """The number is this or less."""

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        has_range = self.at_least is not None or self.at_most is not None
        if (self.equals is not None) + (self.has is not None) + has_range != 1:
            raise ValueError(
                f"the filter of {self.attribute!r} needs one test: equals, has, or at_least and "
                "at_most"
            )
        low, high = self.range
        if not low <= high:
            raise ValueError(f"no {self.attribute!r} is at least {low:g} and at most {high:g}")
        return self

    @property
    def reads_request(self) -> bool:
        """Whether it compares with what the request says."""
        return REQUEST in (self.equals, self.has)

    @property
    def range(self) -> tuple[float, float]:
        """Both ends; infinite where none is given."""
        low = -math.inf if self.at_least is None else self.at_least
        return low, math.inf if self.at_most is None else self.at_most

    @property
    def name(self) -> str:
        """What the trace calls it: ``genres has Comedy``."""
        tests = {"=": self.equals, "has": self.has, "from": self.at_least, "to": self.at_most}
        words = (
            f"{word} {value:g}" if isinstance(value, float) else f"{word} {value}"
            for word, value in tests.items()
            if value is not None
        )
        return " ".join((self.attribute, *words))

    def keep(self, query: Query, catalogue: Catalogue) -> BoolArray | None:
        """(N,) bool, True = may be shown; None where the request does not say what is compared."""
        if self.reads_request and not query.country:
            return None
        column = catalogue.column(self.attribute)
        if self.equals is not None:
            return column.equal(query.country if self.reads_request else self.equals)
        if self.has is not None:
            return column.having(query.country if self.reads_request else self.has)
        return column.within(*self.range)
