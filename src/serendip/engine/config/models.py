"""``[models.<name>]``: the models of a workspace and their hyperparameters.

A workspace has six models by default. A table changes one of them or adds a model of any registered
class::

    [models.transitions]            # one of the six; missing keys have their defaults
    decay = 0.5

    [models.sasrec]                 # a further model, named after its class
    epochs = 5

    [models.long-memory]            # a further model of any name
    class = "gru4rec"
    max_len = 200
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, model_serializer, model_validator

from serendip.config import Config
from serendip.engine.feature_names import CONTEXT_FEATURES, OTHER_FEATURES, REPEAT_FEATURES
from serendip.engine.stages.sources import OWN_SOURCES
from serendip.engine.stages.surfaces import RANKER
from serendip.errors import ConfigError
from serendip.models import model_class, model_names
from serendip.models.base import Recommender
from serendip.models.content_similarity import ContentSimilarityConfig
from serendip.models.item_to_item import ItemKNNConfig, TransitionsConfig
from serendip.models.popularity import RECENT, PopularityConfig
from serendip.models.retriever.config import (
    RetrieverConfig,
    RetrieverGroupsConfig,
    UnifiedConfig,
    unified_retriever,
)

CLASS_KEY = "class"  # names the model class
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_CONTEXT = (name for names in CONTEXT_FEATURES.values() for name in names)
_FEATURES = frozenset({*OTHER_FEATURES, *REPEAT_FEATURES, *_CONTEXT})
# Names of sources, of numbers in an answer and of rows in a report.
_TAKEN = frozenset({*OWN_SOURCES, *_FEATURES, RANKER, "engine", "explored", "bid"})


@dataclass(frozen=True, slots=True)
class ConfiguredModel:
    """One model of a workspace: its class in the registry, and its hyperparameters."""

    class_name: str
    config: Config

    def build(self) -> Recommender:
        """The untrained model."""
        return model_class(self.class_name)(self.config)


DEFAULT_MODELS: Mapping[str, ConfiguredModel] = {
    # Items with the most interactions, over all time.
    "popularity": ConfiguredModel("popularity", PopularityConfig()),
    # Items with the most interactions in the last days of the log.
    RECENT: ConfiguredModel("popularity", PopularityConfig(window_days=7.0)),
    # Item-to-item collaborative filtering: items chosen by the same users.
    "item-knn": ConfiguredModel("item-knn", ItemKNNConfig()),
    # Items chosen one after the other.
    "transitions": ConfiguredModel("transitions", TransitionsConfig()),
    # Items with similar content vectors.
    "content": ConfiguredModel("content", ContentSimilarityConfig()),
    # The unified retriever: one space for home, similar and search.
    "retriever": ConfiguredModel("retriever", RetrieverConfig()),
}


class ModelsConfig(Config):
    """The models that propose and score candidates."""

    tables: Mapping[str, ConfiguredModel] = DEFAULT_MODELS
    """Name of a model, as in reports and surfaces -> the model; the defaults first."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, tables: Any) -> Any:
        if not isinstance(tables, Mapping):  # in names, ``_`` and ``-`` are the same
            return tables
        models: dict[str, ConfiguredModel] = {}
        for key, table in tables.items():
            name = _to_name(key)
            if name in models:
                raise ValueError(f"{key!r}: another table configures the model {name!r} too")
            models[name] = _read_table(key, table)
        return {"tables": {**DEFAULT_MODELS, **models}}

    @model_serializer
    def _write(self) -> dict[str, Any]:
        tables = {}
        for name, model in self.tables.items():
            values = model.config.model_dump(mode="json")
            if model.class_name != _default_class(name):
                values = {CLASS_KEY: model.class_name, **values}
            tables[name.replace("-", "_")] = values
        return tables

    @property
    def retriever(self) -> RetrieverConfig:
        """Config of the unified retriever; the defaults if ``retriever`` is of another class."""
        config = self.tables["retriever"].config
        if isinstance(config, RetrieverGroupsConfig):
            return config.retriever
        return config if isinstance(config, RetrieverConfig) else RetrieverConfig()

    def build(self, unified: UnifiedConfig) -> dict[str, Recommender]:
        """Name, as in reports and surfaces -> untrained model; some tasks share a retriever."""
        models = {}
        for name, model in self.tables.items():
            if name == "retriever" and isinstance(model.config, RetrieverConfig):
                model = ConfiguredModel(*unified_retriever(model.config, unified))
            models[name] = model.build()
        return models


def _to_name(key: Any) -> str:
    return str(key).replace("_", "-")


def _default_class(name: str) -> str:
    if name in DEFAULT_MODELS:
        return DEFAULT_MODELS[name].class_name
    return name if name in model_names() else ""  # empty = the table must name it


def _read_table(key: str, table: Any) -> ConfiguredModel:
    name = _to_name(key)
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise ValueError(
            f"{key!r} cannot be the name of a model: use up to 40 of a-z, 0-9, _ and -, start with "
            f"a letter, and none of {', '.join(sorted(_TAKEN))}"
        )
    if isinstance(table, Config):
        return ConfiguredModel(_default_class(name), table)
    values = dict(table) if isinstance(table, Mapping) else {}
    class_name = values.pop(CLASS_KEY, _default_class(name))
    default = DEFAULT_MODELS.get(name)
    if default is not None and default.class_name == class_name:
        values = {**dict(default.config), **values}
    config_class = _config_class(key, class_name)
    reader: TypeAdapter[Any] = TypeAdapter(dict[str, config_class])  # type: ignore[valid-type]
    config = reader.validate_python({key: values if isinstance(table, Mapping) else table})[key]
    return ConfiguredModel(class_name, config)


def _config_class(key: str, class_name: Any) -> type[Config]:
    if class_name not in model_names():
        names = ", ".join(model_names())
        raise ValueError(f"the class of {key!r} must be one of {names}, not {class_name!r}")
    try:
        return model_class(class_name).config_class
    except ConfigError as error:
        raise ValueError(f"the class of {key!r}: {error}".rstrip(".")) from None
