"""Surfaces: for each, the parts of a request that it reads, its sources, filters and list rules.

``[surfaces.<name>]`` in ``serendip.toml`` changes a surface below or adds one of any other name;
neither needs code. Keys that a table leaves out have the values of the surface of that name, else
of the surface that its task is named after. ``selection.py`` builds the stages.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveInt, model_validator

from serendip.config import INTERNAL, Config
from serendip.data import NO_ITEMS, History, Query, Task
from serendip.data.events.event import NO_SESSION
from serendip.data.events.rejections import Rejected
from serendip.data.items.attribute_test import AttributeTest
from serendip.data.query import ITEM_TASKS
from serendip.engine.config.serve import Duration
from serendip.engine.stages.list_filters import MinValueConfig, RelevanceFilterConfig
from serendip.engine.stages.list_rules import (
    SPONSORED,
    DiversityConfig,
    ExplorationConfig,
    SponsoredConfig,
)
from serendip.engine.state import TYPED_TEXTS
from serendip.errors import DataError, UnsupportedError

RequestPart = Literal["user", "query", "items", "country", "device", "time"]
REQUEST_PARTS: tuple[RequestPart, ...] = ("user", "query", "items", "country", "device", "time")

SEEN = "seen"  # the filter of what the user has chosen or rejected
COUNTRY = "request"  # stands for the country of the request in a test


def _check_filter(written: Any) -> Any:
    if not isinstance(written, str):
        raise ValueError('write a test as a text, such as "genres=Comedy|Drama" or "year>=1990"')
    try:
        return written if written == SEEN else AttributeTest.parse(written) and written
    except DataError as error:
        raise ValueError(f"{error.message} {error.hint}".rstrip(".")) from None


RANKER = "ranker"  # the default scorer
LEARNED: Literal["learned"] = "learned"  # the popularity discount of the training
RETRIEVER = "retriever"  # compares items with and without interactions
NOT_A_SURFACE = "suggest"  # queries, not items; events may name it
_DEFAULT_WEIGHTS = {"interact": 1.0, "like": 1.0}  # of the actions; what no ranker predicts is 0
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


class ItemValueConfig(Config):
    """``[surfaces.<name>.item_value]``."""

    attribute: str = Field(min_length=1)
    """Attribute of the items that holds the value: a price, a margin, minutes. It may be negative;
    an item without it has the median of those that have it."""

    actions: tuple[str, ...] = ()
    """Actions that are worth the item's value; the others are worth the same for all items. Empty =
    all actions of ``action_weights``."""


class FrequencyConfig(Config):
    """``[surfaces.<name>.frequency]``: how often one user is shown the same item."""

    impressions: int = Field(default=3, ge=1)
    """An item that was shown to a user so often is left out for a while."""

    within: Duration = "1d"
    """Time in which impressions count, such as ``1d`` or ``12h``."""


class SurfaceConfig(Config):
    """``[surfaces.<name>]``: how one surface is answered."""

    task: Task
    """The task that the models predict; several surfaces may share one. ``cart`` and ``thank_you``
    are those of a basket: what else is in it, and what is in the next one. Where too few baskets
    are known to learn from, they are answered as the task ``similar``, which the surface ``next``
    shows."""

    context: tuple[RequestPart, ...] = REQUEST_PARTS
    """Parts of a request that are read; a surface without "user" answers everybody the same."""

    sources: dict[str, PositiveInt]
    """Source -> maximum number of its candidates. They are asked in this order, but `words` first;
    what has not begun when half of the time is over is left out."""

    filters: tuple[Annotated[str, BeforeValidator(_check_filter)], ...] = (SEEN,)
    """Filters besides those of deleted items, items not available yet and items of the request:
    "seen" = items that the user has interacted with and that do not come again (``[repeats]``), or
    tests of attributes as a request writes them: `"genres=Comedy|Drama"`, `"year>=1990"`. The value
    `request` is the country of the request; without one all items pass."""

    scorer: str = RANKER
    """What orders the candidates: the ranker, or a model by its own scores, such as ``sasrec``."""

    action_weights: dict[str, float] = Field(default=_DEFAULT_WEIGHTS)
    """Value of a candidate = sum over actions of weight x P(action), if the ranker orders the
    task and has learned one of the actions; otherwise sources are fused by rank, and neither this
    nor the discount is read."""

    item_value: ItemValueConfig | None = None
    """Number of an item by which its actions are worth more, such as its price; none without the
    table."""

    popularity_discount: NonNegativeFloat | Literal["learned"] = 0.0
    """Divides the value by (20 + interactions) to this power: 0 ranks by what is chosen next, more
    prefers items that are particular to the context over items that everybody chooses. ``learned``
    = the most that the newest events allow for the surface's task, see
    ``jobs/train/ranker/popularity_discount.py``; 0 where too little is known."""

    rejection_discount: Annotated[float, INTERNAL] = Field(default=0.5, ge=0, le=1)
    """Share of its value that an item loses which has the content of one that the user does not
    want to be recommended; less for an item that is less alike. 0 = none."""

    pin_exact_titles: Annotated[bool, INTERNAL] = False
    """Put items that match the typed text better before all others: those with the title first."""

    diversity: DiversityConfig | None = None
    """Limit of similar items in any window of the list; none without the table."""

    frequency: FrequencyConfig | None = None
    """Limit of the impressions of one item for one user; none without the table."""

    exploration: ExplorationConfig | None = None
    """Positions for new items (``data.items.reception``); none without the table."""

    sponsored: SponsoredConfig | None = None
    """Positions that can be bought; none without the table."""

    likeness: bool = False
    """Only items that are like the source items, the most alike first, the same for everybody but
    for items that the user rejected or has chosen; otherwise, or with a scorer other than the
    ranker, the scorer orders all candidates."""

    min_value: MinValueConfig | None = None
    """Minimum value of the items of an e-mail or a push; none without the table."""

    relevance_filter: RelevanceFilterConfig = RelevanceFilterConfig()
    """Removal of irrelevant items, so that the next ones move up, where labels prove a
    threshold."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for test in self.attribute_tests:
            if test.values == (COUNTRY,) and "country" not in self.context:
                name = test.attribute
                raise ValueError(f"the filter of {name!r} reads the country, which context lacks")
        if SPONSORED in self.sources and self.sponsored is None:
            raise ValueError(f"the source {SPONSORED!r} needs a table `sponsored`")
        if self.scorer != RANKER and self.sponsored is not None:
            raise ValueError(
                f"positions are sold by the ranker's predictions, and the scorer is {self.scorer!r}"
            )
        return self

    @property
    def attribute_tests(self) -> list[AttributeTest]:
        """The tests of attributes among the filters."""
        return [AttributeTest.parse(one) for one in self.filters if one != SEEN]

    @property
    def own_actions(self) -> list[str]:
        """The actions with a weight, but for those that have one by default."""
        return [action for action in self.action_weights if action not in _DEFAULT_WEIGHTS]

    def labels_of(self, name: str) -> str:
        """Surface whose labels are about the lists of this one, by its name."""
        return TYPED_TEXTS if self.needs == "query" else name

    def with_name(self, name: str) -> SurfaceConfig:
        """A copy that knows its name, and whose labels its relevance filter has learned from."""
        chosen = self.relevance_filter.with_surface(name, self.labels_of(name))
        return self.model_copy(update={"relevance_filter": chosen})

    @property
    def is_by_likeness(self) -> bool:
        """``likeness``, unless another scorer than the ranker is named."""
        return self.likeness and self.scorer == RANKER

    @property
    def needs(self) -> Literal["", "query", "items"]:
        """The part that a request must have: a text, or source items; empty = neither."""
        if self.task == "search" and "query" in self.context:
            return "query"
        return "items" if self.task in ITEM_TASKS and "items" in self.context else ""


_BEHAVIOUR = {"retriever": 100, "transitions": 100, "item-knn": 100, "content": 50}
_POPULAR = {"popularity": 100, "popularity-recent": 50, "popular-country": 50}
_HOME = {**_BEHAVIOUR, **_POPULAR, "new-items": 10, "again": 20}
_BASKET = {**_BEHAVIOUR, "popularity": 20, "again": 20}
_NO_QUERY: tuple[RequestPart, ...] = ("user", "items", "country", "device", "time")

DEFAULT_SURFACES: Mapping[str, SurfaceConfig] = {
    "home": SurfaceConfig(
        task="home",
        context=_NO_QUERY,
        sources=_HOME,
        popularity_discount=LEARNED,
        exploration=ExplorationConfig(),
    ),
    "similar": SurfaceConfig(
        task="similar",
        context=_NO_QUERY,
        sources={**_BEHAVIOUR, "content": 200},
        filters=(),
        popularity_discount=1.0,
        rejection_discount=0.0,
        likeness=True,
    ),
    "next": SurfaceConfig(
        task="similar",
        context=_NO_QUERY,
        sources={**_BEHAVIOUR, "content": 100},
        filters=(),
        popularity_discount=LEARNED,
    ),
    "search": SurfaceConfig(
        task="search",
        context=("user", "query", "country", "device", "time"),
        sources={"words": 200, "retriever": 200},
        filters=(),
        rejection_discount=0.0,
        pin_exact_titles=True,
    ),
    "cart": SurfaceConfig(
        task="cart", context=_NO_QUERY, sources=_BASKET, popularity_discount=LEARNED
    ),
    "thank_you": SurfaceConfig(
        task="thank_you", context=_NO_QUERY, sources=_BASKET, popularity_discount=LEARNED
    ),
    "ads": SurfaceConfig(
        task="home",
        context=_NO_QUERY,
        sources={**_HOME, SPONSORED: 100},
        sponsored=SponsoredConfig(),
    ),
    "digest": SurfaceConfig(
        task="home",
        context=("user", "country", "device", "time"),
        sources=_HOME,
        action_weights={"interact": 1.0},
        min_value=MinValueConfig(),
    ),
}


_LEARNED_FROM: Mapping[Task, str] = {"similar": "next"}


def surface_of_task(surfaces: Mapping[str, SurfaceConfig], task: Task) -> str:
    """Name of the surface whose candidates a task is learned from: that of the same name.

    ``similar`` leaves out what is not alike, so that ``next`` shows what is chosen after an item.
    """
    name = _LEARNED_FROM.get(task, task)
    return name if name in surfaces and surfaces[name].task == task else task


def find_surface(surfaces: Mapping[str, SurfaceConfig], name: str) -> SurfaceConfig:
    """The surface of a name.

    Raises:
        UnsupportedError: no surface has the name; the hint lists those that exist.
    """
    if name not in surfaces:
        raise UnsupportedError(
            f"surface {name[:80]!r} is not configured.", f"Use one of: {', '.join(surfaces)}."
        )
    return surfaces[name]


def complete_tables(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the default values of the keys that the tables of a settings file leave out.

    Raises:
        ValueError: a name is not valid for a surface.
    """
    result: dict[str, Any] = {}
    for name, table in tables.items():
        if not _NAME.fullmatch(name) or name == NOT_A_SURFACE:
            raise ValueError(
                f"{name!r} is not a valid name of a surface: use up to 40 of a-z, 0-9, _ and -, "
                f"start with a letter, and do not use {NOT_A_SURFACE!r}"
            )
        if isinstance(table, Mapping):
            base = DEFAULT_SURFACES.get(name) or DEFAULT_SURFACES.get(str(table.get("task")))
            result[name] = {**dict(base or ()), **table}
        else:
            result[name] = table
    return result


def without_past(query: Query) -> Query:
    """The query of a user of whom only rejections are known."""
    return replace(query, history=History(), again=NO_ITEMS, session=NO_SESSION, user_groups={})


_UNREAD: Mapping[RequestPart, Mapping[str, Any]] = {
    "user": {
        "user_id": "",
        "history": History(),
        "rejected": Rejected(),
        "again": NO_ITEMS,
        "session": NO_SESSION,
        "user_groups": {},
    },
    "query": {"text": "", "meant": "", "text_vector": None},
    "items": {"source_items": NO_ITEMS},
    "country": {"country": ""},
    "device": {"device": ""},
    "time": {"time": math.nan},
}
"""What a query has where its surface does not read a part of the request."""


def visible_to(surface: SurfaceConfig, query: Query) -> Query:
    """The query as the surface reads it: with its task, and the parts that its context names."""
    unread: dict[str, Any] = {}
    for part, values in _UNREAD.items():
        if part not in surface.context:
            unread |= values
    return replace(query, task=surface.task, **unread)
