"""Lines of ``serendip bench unified``: the unified model, specialists, pairs and baselines.

A specialist is the same network trained on one task with the budget of the unified model
(``group_config``), a pair is trained on two tasks. Together they measure the transfer between
tasks and determine the best split of tasks into models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from serendip.data.query import RetrievalTask
from serendip.errors import ConfigError
from serendip.models.retriever.config import RetrieverConfig, group_config
from serendip_bench.sequential.models import RETRIEVER
from serendip_bench.unified.word_scores import WordScorer


@dataclass(frozen=True, slots=True)
class UnifiedModel:
    """A line of the table.

    Args:
        model: name in the results; lines may share one.
        tasks: that are evaluated.
        scorer: retriever, engine, rankers of search (``search_order``) or untrained search.
        config: of the retriever.
        reads_codes: True if items have codes.
        reads_queries: True if training reads the queries of the data.
        of: line whose trained model is used; None = train one, if any.
        hides_user: True if requests lack user id and history.
        reads_country: True if training reads the countries of users.
        hides_country: True if requests lack their country.
        beside: further models whose rows are computed together with its own.
        most_seeds: maximum number of seeds; None = no limit.
    """

    model: str
    tasks: tuple[str, ...]
    scorer: Literal["retriever", "engine", "rankers"] | WordScorer = "retriever"
    config: Mapping[str, Any] = field(default_factory=dict)
    reads_codes: bool = True
    reads_queries: bool = True
    of: str | None = None
    hides_user: bool = False
    reads_country: bool = True
    hides_country: bool = False
    beside: tuple[str, ...] = ()
    most_seeds: int | None = None

    @property
    def uses_chance(self) -> bool:
        """True if results depend on the seed."""
        return self.scorer not in get_args(WordScorer)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of all models with rows of this line."""
        return (self.model, *self.beside)


_ALL = ("home", "search", "similar")
_UNIFIED: dict[str, Any] = {
    **RETRIEVER,
    "search_size": 32,
    "epochs": 18,
    "slots": 8,
    "blind_share": 0.1,
}
"""As the retriever of ``sequential``, with extra dimensions for search (which a search specialist
has, too) and more than twice the epochs, since it learns three tasks."""

_FEW_SEEDS = 1
"""Seeds of pairs and ablations: three seeds of the other lines take most of the 90 minutes per data
set on two cores."""


def _build_retriever_line(
    model: str, *tasks: RetrievalTask, most_seeds: int | None = None
) -> UnifiedModel:
    """A retriever trained on some of the tasks, with the budget of ``group_config``."""
    config = group_config(RetrieverConfig(**_UNIFIED), tasks)
    return UnifiedModel(model, tasks, config=config.model_dump(), most_seeds=most_seeds)


UNIFIED: dict[str, UnifiedModel] = {
    "unified": UnifiedModel("unified", _ALL, config=_UNIFIED),
    "specialist-home": _build_retriever_line("specialist", "home"),
    "specialist-search": _build_retriever_line("specialist", "search"),
    "specialist-similar": _build_retriever_line("specialist", "similar"),
    "pair-home-search": _build_retriever_line("pair", "home", "search", most_seeds=_FEW_SEEDS),
    "pair-home-similar": _build_retriever_line("pair", "home", "similar", most_seeds=_FEW_SEEDS),
    "pair-search-similar": _build_retriever_line(
        "pair", "search", "similar", most_seeds=_FEW_SEEDS
    ),
    "unified-no-user": UnifiedModel("unified-no-user", _ALL, of="unified", hides_user=True),
    "unified-no-imputation": UnifiedModel(
        "unified-no-imputation", _ALL, config={**_UNIFIED, "imputation": ()}, most_seeds=_FEW_SEEDS
    ),
    "unified-no-codes": UnifiedModel(
        "unified-no-codes", _ALL, config=_UNIFIED, reads_codes=False, most_seeds=_FEW_SEEDS
    ),
    "unified-words": UnifiedModel(
        "unified-words", _ALL, config={**_UNIFIED, "token_buckets": 16_384}, most_seeds=_FEW_SEEDS
    ),
    "engine": UnifiedModel("engine", _ALL, "engine", of="unified", beside=("lightgbm",)),
    "bm25": UnifiedModel("bm25", ("search",), "bm25"),
    "vectors": UnifiedModel("vectors", ("search",), "vectors"),
    "rrf": UnifiedModel("rrf", ("search",), "rrf"),
}
"""Name of the line -> model; a line that uses another one comes after it."""


SEARCH_RANKERS: dict[str, UnifiedModel] = {
    "ranker-written": UnifiedModel(
        "ranker-written",
        ("search",),
        "rankers",
        of="unified",
        beside=("ranker-labelled", "search-order"),
    ),
}
"""Lines of data sets with queries of people, on which nothing else is trained."""

WITHOUT_QUERIES: dict[str, UnifiedModel] = {
    "unified-no-queries": UnifiedModel(
        "unified-no-queries", ("search",), config=_UNIFIED, reads_queries=False
    ),
    "engine-no-queries": UnifiedModel(
        "engine-no-queries", ("search",), "engine", of="unified-no-queries"
    ),
}
"""Lines of data sets whose training queries are all written: what these are worth."""


def select_lines(
    names: str | None, table: Mapping[str, UnifiedModel] = UNIFIED
) -> dict[str, UnifiedModel]:
    """Select the lines of comma-separated models and the lines that they use, in the table's order.

    Raises:
        ConfigError: a name is not in the table.
    """
    if names is None:
        return dict(table)
    selected = {name.strip() for name in names.split(",") if name.strip()}
    model_names = {model for line in table.values() for model in line.models}
    for name in sorted(selected or {names}):
        if name not in model_names:
            raise ConfigError(
                f"no model is called {name!r}.", f"Known: {', '.join(sorted(model_names))}."
            )
    lines = {name: line for name, line in table.items() if selected & set(line.models)}
    needed = {line.of for line in lines.values()}
    return {name: line for name, line in table.items() if name in lines or name in needed}
