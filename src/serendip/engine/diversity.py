"""Diversity: at most so many items of one group in any stretch of a list.

Groups are semantic IDs: items that share their first codes are alike in content, also those that
nobody has chosen yet. The rule is "at most n of every m", which large feeds have used for long
(Wilhelm et al. 2018, "Practical diversified recommendations on YouTube with determinantal point
processes", section 4 names it as the rule in production before). It was taken rather than maximal
marginal relevance because it needs no scale on which values and likenesses could be weighed
against each other (values are probabilities on one surface and ranks or pinned titles on
another), because what it promises can be read off a page and tested, and because the window
slides: the promise holds on every page, wherever it begins.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from serendip.config import Config
from serendip.data.arrays import BoolArray, IntArray


class DiversityConfig(Config):
    """``[surfaces.<name>.diversity]``."""

    most: PositiveInt = 3
    """At most so many items of one group ..."""

    window: int = Field(default=10, ge=2)
    """... in any so many places that follow one another."""

    levels: PositiveInt = 1
    """Items are of one group where their first so many codes are the same."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.most >= self.window:
            raise ValueError(f"most = {self.most} of window = {self.window} places limits nothing")
        return self


class Spread:
    """Which groups are full, while a list of C rows is put together place by place."""

    def __init__(self, config: DiversityConfig | None, codes: IntArray) -> None:
        """From the codes (C, L) of the rows; without a config no group is ever full."""
        self._config = config
        self._shown: list[int] = []
        self._groups = np.zeros(len(codes), np.intp)
        if config is not None and len(codes):
            prefixes = codes[:, : config.levels]
            self._groups = np.unique(prefixes, axis=0, return_inverse=True)[1].reshape(-1)
        self._counts = np.zeros(int(self._groups.max(initial=0)) + 1, np.intp)

    def fits(self) -> BoolArray:
        """(C,) True for rows whose group may stand at the next place."""
        if self._config is None:
            return np.ones(len(self._groups), np.bool_)
        fits: BoolArray = (self._counts < self._config.most)[self._groups]
        return fits

    def add(self, row: int) -> None:
        """The row stands at the next place."""
        if self._config is None:
            return
        self._shown.append(int(self._groups[row]))
        self._counts[self._shown[-1]] += 1
        if len(self._shown) >= self._config.window:  # this one is out of reach of the next place
            self._counts[self._shown[-self._config.window]] -= 1
