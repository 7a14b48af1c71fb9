"""What a judge of matches leaves out of a list; the next ones move up.

A list with one item that has nothing to do with the request costs more than a shorter list. The
judge (``serendip judge distil``) compares words with items: those that are searched (typed, or
meant where they were misspelt), else the title of the item that the request is about, else of the
newest one of the user's past; where there is none of them it has nothing to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field, PositiveInt

from serendip.config import Config
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.query import Query
from serendip.models.relevance.model import RelevanceModel

if TYPE_CHECKING:
    from serendip.engine.state import EngineState

BAD = "chance of a bad match"
"""Name of the number in an answer; NaN = not judged."""


class RelevanceFilterConfig(Config):
    """``[surfaces.<name>.bad_matches]``."""

    cut: float | None = Field(default=None, gt=0, le=1)
    """Chance of a bad match from which on an item is left out. Without it: the cut with which
    ``serendip judge distil`` could prove its promise."""

    depth: PositiveInt = 200
    """So many of the best candidates are judged; what stands behind them is not shown."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What is left of R ordered candidates.

    Args:
        kept: (R,) bool.
        chances: (R,) of a bad match, NaN where nothing was said; None = nobody was asked.
        judged: how many were judged.
    """

    kept: BoolArray
    chances: FloatArray | None = None
    judged: int = 0

    @classmethod
    def all_of(cls, count: int) -> Self:
        """Nobody judged."""
        return cls(np.ones(count, np.bool_))


def filter_relevant(
    config: RelevanceFilterConfig,
    judge: RelevanceModel,
    state: EngineState,
    query: Query,
    items: IntArray,
    is_pinned: BoolArray,
) -> Kept:
    """The candidates that are no bad match.

    Args:
        config: how many are judged, and from which chance on one is left out.
        judge: who judges.
        state: whose titles stand in for words.
        query: as the models see it.
        items: (R,) numbers, best first.
        is_pinned: (R,) what bears the title that was typed: never left out.
    """
    asked = words_of(judge, state, query)
    if asked is None:
        return Kept.all_of(len(items))
    chances = np.full(len(items), np.nan, np.float32)
    chances[: config.depth] = judge.chances(*asked, items[: config.depth])
    cut = judge.cut if config.cut is None else config.cut
    is_bad = chances >= (np.inf if cut is None else cut)  # the threshold
    kept = (np.arange(len(items)) < config.depth) & ~is_bad
    return Kept(kept | is_pinned, chances, int(np.isfinite(chances).sum()))


def words_of(
    judge: RelevanceModel, state: EngineState, query: Query
) -> tuple[str, FloatArray] | None:
    """What a request asks for in words, and their vector; None where nothing says it."""
    if query.searched.strip() and query.text_vector is not None:
        return query.searched, query.text_vector
    about = [*query.source_items[-1:].tolist(), *query.history.item_nums[-1:].tolist()]
    if not about or not judge.knows(about[0]):
        return None
    return state.catalogue[about[0]].title, judge.title_vector(about[0])
