"""Surfaces are configuration: which sources, which filters, which weights - never code.

A surface names its task (what the ranker is told), the candidate sources with their quotas, and
how actions are weighed. ``[surfaces.<name>]`` in ``serendip.toml`` replaces a default below.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from serendip.config import Config
from serendip.data.query import Surface

Task = Literal["home", "similar", "search"]
TASKS: tuple[Task, ...] = ("home", "similar", "search")


class SurfaceConfig(Config):
    """How one surface is answered."""

    task: Task
    """What the ranker is told; several surfaces may share one."""

    sources: dict[str, PositiveInt]
    """Source name -> at most this many candidates."""

    hide_seen: bool = True
    """Leave out what the user already interacted with."""

    action_weights: dict[str, float] = Field(default={"interact": 1.0, "like": 1.0})
    """Value of a candidate = sum over actions of weight x P(action)."""

    popularity_discount: NonNegativeFloat = 0.0
    """Divide the value by (20 + interactions) to this power: 0 ranks by what is chosen next, more
    prefers what is particular to the context over what everybody chooses anyway."""

    pin_exact_titles: bool = False
    """Put items whose title is what was typed before everything else."""


_BEHAVIOUR = {"retriever": 100, "transitions": 100, "item-knn": 100, "content": 50}

DEFAULT_SURFACES: dict[Surface, SurfaceConfig] = {
    "home": SurfaceConfig(
        task="home",
        sources={**_BEHAVIOUR, "popularity": 100, "popularity-recent": 50, "new-items": 10},
    ),
    "similar": SurfaceConfig(
        task="similar",
        sources={**_BEHAVIOUR, "content": 100},
        hide_seen=False,
        popularity_discount=1.0,
    ),
    "search": SurfaceConfig(
        task="search",
        sources={"words": 200, "retriever": 50},
        hide_seen=False,
        pin_exact_titles=True,
    ),
    "cart": SurfaceConfig(task="similar", sources={**_BEHAVIOUR, "popularity": 20}),
    "thank_you": SurfaceConfig(task="similar", sources={**_BEHAVIOUR, "popularity": 20}),
}
