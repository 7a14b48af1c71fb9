"""Models of ``bench sequential``, ``cold`` and ``unified``: one configuration for all data sets.

To add a model, add one line. Configs contain only values that differ from the model's defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from serendip.data.query import RetrievalTask
from serendip.errors import ConfigError
from serendip.models import model_class
from serendip.models.retriever.config import RetrieverConfig, group_config
from serendip_bench.ranking.word_scores import WORD_SCORERS


@dataclass(frozen=True, slots=True)
class BenchModel:
    """A line of a table.

    Args:
        model: name in the registry of ``serendip.models``, or of ``WORD_SCORERS``.
        config: values that differ from its defaults.
        reads: features that the model reads besides the events; ``aligned``: content and codes,
            and content aligned with behaviour.
        is_random: whether results depend on the seed; else it runs once, with seed 0.
        tasks: that it is tested by; empty = all.
        shown: name in the results; empty = that of the line.
    """

    model: str
    config: Mapping[str, Any] = field(default_factory=dict)
    reads: Literal["events", "content", "aligned"] = "events"
    is_random: bool = False
    tasks: tuple[str, ...] = ()
    shown: str = ""

    def expand_config(self) -> dict[str, Any]:
        """All values of the config, defaults included."""
        if self.model in WORD_SCORERS:
            return {}
        return model_class(self.model).config_class(**self.config).model_dump(mode="json")


_STEPS = {"num_gaps": 3, "decay": 0.5}
_RETRIEVER: dict[str, Any] = {
    "embedding_size": 128,
    "epochs": 8,
    "dropout": 0.4,
    "num_negatives": 512,
    "learning_rate": 3e-3,
    "slots": 0,
    "blind_share": 0.0,
    "code_scale": 0.02,
}

SEQUENTIAL: dict[str, BenchModel] = {
    "popularity": BenchModel("popularity"),
    "item-knn": BenchModel("item-knn"),
    "ease": BenchModel("ease"),
    "transitions": BenchModel("transitions", {**_STEPS, "mode": "plain"}),
    "transitions+content": BenchModel("transitions", {**_STEPS, "spread_weight": 0.5}, "content"),
    "item2vec": BenchModel("item2vec", is_random=True),
    "gru4rec": BenchModel("gru4rec", is_random=True),
    "sasrec": BenchModel("sasrec", is_random=True),
    "retriever": BenchModel("retriever", _RETRIEVER, "aligned", is_random=True),
}

COLD: dict[str, BenchModel] = {
    "content-knn": BenchModel("content", {"decay": 0.5}, "content", is_random=True),
    **{
        mode: BenchModel("retriever", {**_RETRIEVER, "item_mode": mode}, "aligned", is_random=True)
        for mode in ("id", "content", "codes", "content+codes", "content+codes+id")
    },
}
"""Name of the row is the mode of the retriever; each seed holds out other items."""

_WORDS: dict[str, BenchModel] = {
    name: BenchModel(name, reads="content", tasks=("search",)) for name in WORD_SCORERS
}
_ALL_TASKS: dict[str, Any] = {
    **_RETRIEVER,
    "search_size": 32,
    "epochs": 18,
    "slots": 8,
    "blind_share": 0.1,
}
"""As ``_RETRIEVER``, with extra dimensions for search (which a search specialist has, too) and more
than twice the epochs, since it learns three tasks."""


def _specialist(*tasks: RetrievalTask) -> BenchModel:
    """A retriever trained on some of the tasks, with the budget of ``group_config``."""
    config = group_config(RetrieverConfig(**_ALL_TASKS), tasks).model_dump()
    return BenchModel("retriever", config, "aligned", True, tasks, "specialist")


UNIFIED: dict[str, BenchModel] = {
    "unified": BenchModel("retriever", _ALL_TASKS, "aligned", is_random=True),
    "specialist-home": _specialist("home"),
    "specialist-search": _specialist("search"),
    "specialist-similar": _specialist("similar"),
    **_WORDS,
}

_SEARCH = {
    "tasks": ("search",),
    "embedding_size": 128,
    "slots": 100,
    "batch_size": 128,
    "epochs": 8,
    "validation_share": 0.25,
}
"""A training row is one product with eight search requests. Without a log the weight of plain text
vectors is tuned on products whose query is hidden as well, hence the larger validation share."""

UNIFIED_PRODUCTS: dict[str, BenchModel] = {
    "unified": BenchModel("retriever", _SEARCH, "aligned", is_random=True),
    **_WORDS,
}
"""``UNIFIED`` of data without a log."""


def select_models(table: Mapping[str, BenchModel], names: str | None) -> dict[str, BenchModel]:
    """Select the lines of comma-separated ``names``, in the table's order; None = all.

    Raises:
        ConfigError: a name is not in the table.
    """
    if names is None:
        return dict(table)
    known = {name: line.shown or name for name, line in table.items()}
    wanted = {name.strip() for name in names.split(",")}
    if unknown := sorted(wanted - set(known) - set(known.values())):
        raise ConfigError(f"no model is called {unknown[0]!r}.", f"Known: {', '.join(table)}.")
    return {name: line for name, line in table.items() if {name, known[name]} & wanted}
