"""Hyperparameters and training rows of the ranker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from serendip.config import INTERNAL, Config
from serendip.data import FloatArray
from serendip.data.query import RETRIEVAL_TASKS

SearchSource = Literal["logged", "labelled", "written"]
"""Where a search that the ranker learns from comes from."""

SEARCH_SOURCES: tuple[SearchSource, ...] = get_args(SearchSource)


class SearchesConfig(Config):
    """``[ranker.searches]``: what the ranker learns search from, besides logged searches.

    Whether it orders search is decided by the training, on held-out searches of people: logged
    ones, or those labelled by people where too few are logged.
    """

    written: Annotated[float, INTERNAL] = Field(default=0.03, ge=0)
    """Weight of a query that was written for an item, by an LLM or from its fields; 0 = not
    learned. Such queries have more words of the item than those that people type."""

    labels: tuple[str, ...] = ()
    """Files of labels (query, item_id, label), relative to the workspace. Labels by an LLM
    (``serendip llm run labels``) must agree with words and meaning of the items more than chance
    does, else nothing is trained; they do not decide whether the ranker orders search."""


class RankerConfig(Config):
    """Hyperparameters of the ranker."""

    actions: tuple[str, ...] = Field(default=("interact", "like"), min_length=1)
    """Predicted actions: ``interact`` (any positive event), ``like`` (any event that counts as a
    like), or the name of an action in the log."""

    num_tasks: Annotated[int, INTERNAL] = Field(default=len(RETRIEVAL_TASKS), ge=1)
    """Number of tasks; they are numbered 0 .. num_tasks - 1. A training raises it where it learns
    from baskets."""

    hidden_size: Annotated[int, INTERNAL] = Field(default=64, ge=1)
    """Width of the deep tower's layers."""

    searches: SearchesConfig = SearchesConfig()
    """What it learns search from."""

    most_requests: Annotated[int, INTERNAL] = Field(default=20_000, ge=1)
    """Home requests that it learns from, at most: one for each event of the newer part of the log,
    or a random sample of 25 per user of it (of 3,000 where that is less). A third as many requests
    for similar items are added. If the time of the training ends first, it learns from those that
    were made by then."""

    learning_rate: Annotated[float, INTERNAL] = Field(default=3e-3, gt=0)
    """Initial learning rate; it falls linearly towards a tenth over the epochs."""

    epochs: Annotated[int, INTERNAL] = Field(default=6, ge=1)
    """Maximum number of passes over the rows."""

    patience: Annotated[int, INTERNAL] = Field(default=2, ge=1)
    """Epochs without a lower validation loss after which training stops."""

    batch_size: Annotated[int, INTERNAL] = Field(default=2048, ge=1)
    """Approximate number of rows per step; a query is never split between steps unless it has more
    rows than this."""

    validation_share: Annotated[float, INTERNAL] = Field(default=0.1, ge=0, lt=1)
    """Share of the queries that is held out for early stopping."""


@dataclass(frozen=True, slots=True, eq=False)
class RankerRows:
    """Training rows: one (query, candidate) pair each, with the outcome of every action.

    Args:
        features: (R, F) float32; NaN = the feature does not apply.
        task: (R,) int, 0 .. num_tasks - 1.
        labels: (R, A) float, 0 or 1 per action.
        weights: (R,) float weight of each row in the loss.
        group: (R,) int query number; rows of one query share it.
    """

    features: FloatArray
    task: NDArray[np.integer]
    labels: FloatArray
    weights: FloatArray
    group: NDArray[np.integer]

    def __len__(self) -> int:
        return len(self.features)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self | None:
        """Rows of several parts, one after the other; None without any."""
        if not parts:
            return None
        names = [column.name for column in fields(cls)]
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})

    def at(self, kept: NDArray[np.bool_]) -> Self:
        """The rows where ``kept`` (R,) is true."""
        return replace(self, **{part.name: getattr(self, part.name)[kept] for part in fields(self)})

    def with_columns(self, kept: NDArray[np.bool_]) -> Self:
        """The same rows with the features where ``kept`` (F,) is true."""
        return replace(self, features=self.features[:, kept])
