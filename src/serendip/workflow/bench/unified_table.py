"""What ``serendip bench unified`` measures: one model for all tasks, and what it is compared with.

A specialist is the same network with the same budget that learns one task alone: as many requests
per row as the unified model has for all of them, or for home, which has one request per event and
cannot have more, twice the passes. Pairs learn two tasks, with that budget, too: together with the
others they tell what tasks do to one another, and which split into models is the best.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from serendip.errors import ConfigError
from serendip.workflow.bench.table import RETRIEVER
from serendip.workflow.bench.word_scores import WordScorer


@dataclass(frozen=True, slots=True)
class UnifiedModel:
    """A line of the table.

    Args:
        model: name in the results; several lines may share one.
        answers: tasks.
        asks: what answers.
        config: of the retriever.
        reads_codes: whether items have codes.
        of: line whose trained model is asked; None = one is trained, or nothing is.
        hides_user: whether requests come without their history.
        reads_country: whether training knows where users are, where that is known.
        hides_country: whether requests come without their country.
        beside: further models whose rows are made together with its own.
    """

    model: str
    answers: tuple[str, ...]
    asks: Literal["retriever", "engine"] | WordScorer = "retriever"
    config: Mapping[str, Any] = field(default_factory=dict)
    reads_codes: bool = True
    of: str | None = None
    hides_user: bool = False
    reads_country: bool = True
    hides_country: bool = False
    beside: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """All that it has rows of."""
        return (self.model, *self.beside)


_ALL = ("home", "search", "similar")
_SLOTS = 4
_UNIFIED = {**RETRIEVER, "slots": _SLOTS, "blind_share": 0.1}

UNIFIED: dict[str, UnifiedModel] = {
    "unified": UnifiedModel("unified", _ALL, config=_UNIFIED),
    "specialist-home": UnifiedModel(
        "specialist",
        ("home",),
        config={**_UNIFIED, "tasks": ("home",), "epochs": 2 * RETRIEVER["epochs"]},
    ),
    "specialist-search": UnifiedModel(
        "specialist", ("search",), config={**_UNIFIED, "tasks": ("search",), "slots": 2 * _SLOTS}
    ),
    "specialist-similar": UnifiedModel(
        "specialist", ("similar",), config={**_UNIFIED, "tasks": ("similar",), "slots": 4 * _SLOTS}
    ),
    "pair-home-search": UnifiedModel(
        "pair", ("home", "search"), config={**_UNIFIED, "tasks": ("home", "search"), "slots": 6}
    ),
    "pair-home-similar": UnifiedModel(
        "pair", ("home", "similar"), config={**_UNIFIED, "tasks": ("home", "similar"), "slots": 12}
    ),
    "pair-search-similar": UnifiedModel(
        "pair",
        ("search", "similar"),
        config={**_UNIFIED, "tasks": ("search", "similar"), "slots": 6},
    ),
    "unified-no-user": UnifiedModel("unified-no-user", _ALL, of="unified", hides_user=True),
    "unified-no-imputation": UnifiedModel(
        "unified-no-imputation", _ALL, config={**_UNIFIED, "imputation": ()}
    ),
    "unified-no-codes": UnifiedModel("unified-no-codes", _ALL, config=_UNIFIED, reads_codes=False),
    "engine": UnifiedModel("engine", _ALL, "engine", of="unified", beside=("lightgbm",)),
    "bm25": UnifiedModel("bm25", ("search",), "bm25"),
    "vectors": UnifiedModel("vectors", ("search",), "vectors"),
    "rrf": UnifiedModel("rrf", ("search",), "rrf"),
}
"""Name of the line -> model; a line that asks another one comes after it."""


def chosen_lines(
    names: str | None, table: Mapping[str, UnifiedModel] = UNIFIED
) -> dict[str, UnifiedModel]:
    """The lines of comma-separated models, and those that they ask, in the table's order.

    Raises:
        ConfigError: a name is not in the table.
    """
    if names is None:
        return dict(table)
    asked = {name.strip() for name in names.split(",") if name.strip()}
    known = {model for line in table.values() for model in line.models}
    for name in sorted(asked or {names}):
        if name not in known:
            raise ConfigError(
                f"no model is called {name!r}.", f"Known: {', '.join(sorted(known))}."
            )
    found = {name: line for name, line in table.items() if asked & set(line.models)}
    needed = {line.of for line in found.values()}
    return {name: line for name, line in table.items() if name in found or name in needed}
