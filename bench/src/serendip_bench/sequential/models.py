"""Models of ``bench sequential`` and ``bench cold``: one configuration for all data sets.

To add a model, add one line to ``SEQUENTIAL`` (or ``COLD``). Configs contain only values that
differ from the defaults of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from serendip.content.encoders.text import TextEncoderConfig
from serendip.content.semantic_ids.kmeans import ResidualKMeansConfig
from serendip.errors import ConfigError
from serendip.models import model_class
from serendip_bench.datasets.sequences import TEXT_FIELDS

ENCODER = TextEncoderConfig(name="minilm", fields=TEXT_FIELDS)
"""The text encoder of every model that reads content."""

SEMANTIC_IDS = ResidualKMeansConfig()
"""The codebooks of every model that reads codes; training time includes fitting them."""


@dataclass(frozen=True, slots=True)
class BenchModel:
    """A line of the table.

    Args:
        model: name in the registry of ``serendip.models``.
        config: values that differ from its defaults.
        reads: features that the model reads besides the events.
        random: True if results depend on the seed; otherwise it runs once, with seed 0.
        parts: names of rows whose trained models it combines.
    """

    model: str
    config: Mapping[str, Any] = field(default_factory=dict)
    reads: Literal["events", "content", "content and codes", "aligned content and codes"] = "events"
    random: bool = False
    parts: tuple[str, ...] = ()


_STEPS = {"num_gaps": 3, "decay": 0.5}
RETRIEVER = {
    "embedding_size": 128,
    "epochs": 8,
    "dropout": 0.4,
    "num_negatives": 512,
    "learning_rate": 3e-3,
    "slots": 0,
    "blind_share": 0.0,
    "code_scale": 0.02,
}
_ITEM_MODES = ("id", "content", "codes", "content+codes", "content+codes+id")

SEQUENTIAL: dict[str, BenchModel] = {
    "popularity": BenchModel("popularity"),
    "item-knn": BenchModel("item-knn"),
    "ease": BenchModel("ease"),
    "transitions": BenchModel("transitions", {**_STEPS, "mode": "plain"}),
    "transitions+content": BenchModel("transitions", {**_STEPS, "spread_weight": 0.5}, "content"),
    "item2vec": BenchModel("item2vec", random=True),
    "gru4rec": BenchModel("gru4rec", random=True),
    "sasrec": BenchModel("sasrec", random=True),
    "retriever": BenchModel("retriever", RETRIEVER, "aligned content and codes", random=True),
}
"""``serendip bench sequential``: name of the row -> model."""

COLD: dict[str, BenchModel] = {
    "content-knn": BenchModel("content", {"decay": 0.5}, "content", random=True),
    **{
        mode: BenchModel(
            "retriever", {**RETRIEVER, "item_mode": mode}, "aligned content and codes", True
        )
        for mode in _ITEM_MODES
    },
}
"""``serendip bench cold``: mode of the row -> model; each seed holds out other items."""


def select_models(table: Mapping[str, BenchModel], names: str | None) -> dict[str, BenchModel]:
    """Select the lines of comma-separated ``names`` and of their parts, in the table's order.

    Raises:
        ConfigError: a name is not in the table.
    """
    if names is None:
        return dict(table)
    selected = {name.strip() for name in names.split(",") if name.strip()}
    for name in sorted(selected):
        if name not in table:
            raise ConfigError(f"no model is called {name!r}.", f"Known: {', '.join(table)}.")
    if not selected:
        raise ConfigError(f"--models {names!r} names no model.", f"Known: {', '.join(table)}.")
    selected |= {part for name in selected for part in table[name].parts}
    return {name: line for name, line in table.items() if name in selected}


def expand_config(line: BenchModel) -> dict[str, Any]:
    """All values of a line's config, defaults included."""
    return model_class(line.model).config_class(**line.config).model_dump(mode="json")
