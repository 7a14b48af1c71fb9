"""Diversity: at most so many items of one group in any stretch of a list.

Groups are semantic IDs: items that share their first codes are alike in content, also those that
nobody has chosen yet. The rule is "at most n of every m", which large feeds have used for long
(Wilhelm et al. 2018, "Practical diversified recommendations on YouTube with determinantal point
processes", names it as the rule in production before). It was taken rather than maximal marginal
relevance because it needs no scale on which values and likenesses could be weighed against each
other (values are probabilities on one surface, divided by popularity on another, sums over ranks
or pinned titles on a third), because what it promises can be read off a page and tested, and
because the window slides: the promise holds on every page, wherever it begins.
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


class DiversitySelector:
    """Which groups are full, while a list of C rows is put together place by place.

    Args:
        config: the limit; without one no group is ever full.
        codes: (C, L) semantic IDs of the rows.
    """

    def __init__(self, config: DiversityConfig | None, codes: IntArray) -> None:
        self.fits: BoolArray = np.ones(len(codes), np.bool_)
        """(C,) True for rows whose group may stand at the next place."""

        self._config = config
        self._shown: list[int] = []
        if config is not None and len(codes):
            groups = np.unique(codes[:, : config.levels], axis=0, return_inverse=True)[1]
            self._groups = groups.reshape(-1)
            self._counts = [0] * (int(self._groups.max()) + 1)

    def add(self, row: int) -> None:
        """The row stands at the next place."""
        if self._config is None:
            return
        self._shown.append(int(self._groups[row]))
        self._count(self._shown[-1], 1)
        if len(self._shown) >= self._config.window:  # this one is out of reach of the next place
            self._count(self._shown[-self._config.window], -1)

    def _count(self, group: int, change: int) -> None:
        assert self._config is not None
        was_full = self._counts[group] >= self._config.most
        self._counts[group] += change
        is_full = self._counts[group] >= self._config.most
        if is_full != was_full:
            self.fits[self._groups == group] = not is_full
