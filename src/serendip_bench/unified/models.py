"""What ``serendip bench unified`` measures: one model for all tasks, and what it is compared with.

A specialist is the same network that learns one task alone, with the budget of the unified model
(``group_config``). Pairs learn two tasks, with that budget, too: together with the others they tell
what tasks do to one another, and which split into models is the best.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from serendip.data.query import Task
from serendip.errors import ConfigError
from serendip.models.retriever.config import RetrieverConfig, group_config
from serendip_bench.sequential.models import RETRIEVER
from serendip_bench.unified.word_scores import WordScorer


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
        most_seeds: trainings at most, however many are asked for; None = as many as are.
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
    most_seeds: int | None = None

    @property
    def uses_chance(self) -> bool:
        """Whether other seeds give other rows."""
        return self.asks not in get_args(WordScorer)

    @property
    def models(self) -> tuple[str, ...]:
        """All that it has rows of."""
        return (self.model, *self.beside)


_ALL = ("home", "search", "similar")
_UNIFIED: dict[str, Any] = {
    **RETRIEVER,
    "search_size": 32,
    "epochs": 18,
    "slots": 8,
    "blind_share": 0.1,
}
"""Beside the vectors of the retriever of ``sequential`` a part for search, which a specialist has
for its own task, too; more than twice as many passes, as it has three tasks to learn."""

_FEW = 1
"""Trainings of pairs, and of what leaves something out or adds it: three of the rest already take
most of the 90 minutes that a data set may take on two cores."""


def _learner(model: str, *tasks: Task, most_seeds: int | None = None) -> UnifiedModel:
    """A retriever of some of the tasks; ``group_config`` says with what budget."""
    config = group_config(RetrieverConfig(**_UNIFIED), tasks)
    return UnifiedModel(model, tasks, config=config.model_dump(), most_seeds=most_seeds)


UNIFIED: dict[str, UnifiedModel] = {
    "unified": UnifiedModel("unified", _ALL, config=_UNIFIED),
    "specialist-home": _learner("specialist", "home"),
    "specialist-search": _learner("specialist", "search"),
    "specialist-similar": _learner("specialist", "similar"),
    "pair-home-search": _learner("pair", "home", "search", most_seeds=_FEW),
    "pair-home-similar": _learner("pair", "home", "similar", most_seeds=_FEW),
    "pair-search-similar": _learner("pair", "search", "similar", most_seeds=_FEW),
    "unified-no-user": UnifiedModel("unified-no-user", _ALL, of="unified", hides_user=True),
    "unified-no-imputation": UnifiedModel(
        "unified-no-imputation", _ALL, config={**_UNIFIED, "imputation": ()}, most_seeds=_FEW
    ),
    "unified-no-codes": UnifiedModel(
        "unified-no-codes", _ALL, config=_UNIFIED, reads_codes=False, most_seeds=_FEW
    ),
    "unified-words": UnifiedModel(
        "unified-words", _ALL, config={**_UNIFIED, "token_buckets": 16_384}, most_seeds=_FEW
    ),
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
