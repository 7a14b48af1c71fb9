"""Filter of items by one attribute, configured in ``filters`` of a surface."""

from __future__ import annotations

import math
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from serendip.config import Config
from serendip.data.arrays import BoolArray
from serendip.data.items.catalogue import Catalogue
from serendip.data.query import Query

REQUEST = "request"
"""Value of a test that stands for the country of the request."""


class AttributeFilter(Config):
    """``{attribute = "genres", has = "Comedy"}``: keeps items whose attribute passes one test.

    Upper and lower case are the same. An item without the attribute is removed. A test that
    compares with the request removes nothing if the request has no country.
    """

    attribute: str = Field(min_length=1)
    """Name of the attribute."""

    equals: float | str | None = None
    """Keep items whose attribute is this text or number; "request" = the country of the request."""

    has: str | None = None
    """Keep items whose list of words contains this one (a text is a list of one word); "request" =
    the country of the request."""

    at_least: float | None = None
    """Keep items whose attribute is a number of at least this."""

    at_most: float | None = None
    """Keep items whose attribute is a number of at most this."""

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
            raise ValueError(
                f"the filter of {self.attribute!r} keeps nothing: at_least = {low:g} is above "
                f"at_most = {high:g}"
            )
        return self

    @property
    def reads_request(self) -> bool:
        """Whether the test compares with the country of the request."""
        return REQUEST in (self.equals, self.has)

    @property
    def range(self) -> tuple[float, float]:
        """``at_least`` and ``at_most``; infinite if not given."""
        low = -math.inf if self.at_least is None else self.at_least
        return low, math.inf if self.at_most is None else self.at_most

    @property
    def name(self) -> str:
        """Name in the trace: ``genres has Comedy``."""
        tests = {"=": self.equals, "has": self.has, "from": self.at_least, "to": self.at_most}
        words = (
            f"{word} {value:g}" if isinstance(value, float) else f"{word} {value}"
            for word, value in tests.items()
            if value is not None
        )
        return " ".join((self.attribute, *words))

    def keep(self, query: Query, catalogue: Catalogue) -> BoolArray:
        """(N,) bool, True = may be shown; all, if the request has no country to compare with."""
        if self.reads_request and not query.country:
            return np.ones(len(catalogue), np.bool_)
        column = catalogue.column(self.attribute)
        if self.equals is not None:
            return column.equal(query.country if self.reads_request else self.equals)
        if self.has is not None:
            return column.having(query.country if self.reads_request else self.has)
        return column.within(*self.range)
