"""Diversity: at most n items of one group in any window of m positions.

Groups are semantic IDs: items that share their first codes are similar in content, including items
that nobody has chosen yet; or the values of an attribute, so that of the variants of a product one
is shown. "At most n of every m" has long been in use in large feeds (Wilhelm et
al. 2018, "Practical diversified recommendations on YouTube with determinantal point processes",
names it as the rule in production before). We prefer it to maximal marginal relevance for three
reasons: it needs no scale on which values and similarities are comparable (values are probabilities
on one surface, divided by popularity on another, sums over ranks or pinned titles on a third), its
promise can be read off a page and tested, and because the window slides, the promise holds on every
page, wherever it begins.
"""

from __future__ import annotations

import math
from typing import Annotated, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from serendip.config import INTERNAL, Config
from serendip.data.arrays import IntArray
from serendip.engine.stages.base import ListRule, Slate
from serendip.engine.state import EngineState


class DiversityConfig(Config):
    """``[surfaces.<name>.diversity]``."""

    most: PositiveInt = 3
    """Maximum number of items of one group ..."""

    window: int = Field(default=10, ge=2)
    """... in any window of this many consecutive positions."""

    levels: Annotated[PositiveInt, INTERNAL] = 1
    """Items with the same first ``levels`` codes are of one group."""

    attribute: str = ""
    """Items with an equal value of this attribute are of one group instead, such as the variants of
    a product; an item without it is alone. Empty = semantic IDs."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.most >= self.window:
            raise ValueError(
                f"most = {self.most} limits nothing: it must be below window = {self.window}"
            )
        return self


def find_groups(config: DiversityConfig, items: IntArray, state: EngineState) -> IntArray:
    """(C, L) codes of which the first ``levels`` are the group of each item (C,)."""
    if not config.attribute:
        return state.features.codes[items]
    column = state.catalogue.column(config.attribute)
    numbered: dict[tuple[tuple[str, ...], float], int] = {}
    groups = np.arange(len(items), 2 * len(items), dtype=np.int32)
    values = zip(column.words_of(items), column.numbers_of(items).tolist(), strict=True)
    for row, (words, number) in enumerate(values):
        if words or not math.isnan(number):
            value = (words, 0.0 if math.isnan(number) else number)
            groups[row] = numbered.setdefault(value, len(numbered))
    return groups[:, None]


class DiversityRule(ListRule):
    """Lets a candidate wait while its group is full.

    ``positions`` are those at which a better organic row had to wait.
    """

    name = "moved by diversity"

    def __init__(self, config: DiversityConfig) -> None:
        self._config = config

    def begin(self, slate: Slate) -> None:
        """Find the rows whose group has room in the window that the next position ends."""
        groups = slate.ranked.codes[:, : self._config.levels]
        shown, counts = np.unique(
            groups[slate.rows[1 - self._config.window :]], axis=0, return_counts=True
        )
        full = shown[counts >= self._config.most]
        slate.fits = ~(groups[:, None] == full[None]).all(2).any(1)

    def place(self, slate: Slate) -> int:
        """The best organic row whose group has room; the best of all if every group is full."""
        fitting = slate.organic & slate.fits
        row = int(np.argmax(fitting if fitting.any() else slate.organic))
        if slate.organic[:row].any():
            slate.positions[self.name].append(len(slate))
        return row
