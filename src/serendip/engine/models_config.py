"""``[models.<name>]``: which models a workspace has, and their hyperparameters.

Six models are there by default. A table changes one of them or adds a model of any registered
class::

    [models.transitions]            # one of the six: the keys that are left out stay as they are
    decay = 0.5

    [models.sasrec]                 # a model under the name of its class
    epochs = 5

    [models.long-memory]            # any name, and a class
    class = "gru4rec"
    max_len = 200
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic import (
    BaseModel,
    TypeAdapter,
    ValidationError,
    create_model,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from serendip.config import Config
from serendip.engine.feature_names import OTHER_FEATURES
from serendip.engine.stages.sources import OWN_SOURCES
from serendip.engine.stages.surfaces import RANKER
from serendip.errors import ConfigError
from serendip.models import model_class, model_names
from serendip.models.base import Recommender
from serendip.models.content_similarity import ContentSimilarityConfig
from serendip.models.item_to_item import ItemKNNConfig
from serendip.models.popularity import PopularityConfig
from serendip.models.retriever.config import (
    RetrieverConfig,
    RetrieverGroupsConfig,
    UnifiedConfig,
    unified_retriever,
)
from serendip.models.transitions import TransitionsConfig

CLASS_KEY = "class"

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_TAKEN = frozenset({*OWN_SOURCES, *OTHER_FEATURES, RANKER, "engine", "explored", "bid"})
"""Names of sources, of numbers in an answer and of lines in a report that are no model."""


@dataclass(frozen=True, slots=True)
class ConfiguredModel:
    """One model of a workspace.

    Args:
        class_name: name of its class in the registry.
        config: hyperparameters.
    """

    class_name: str
    config: Config

    def build(self) -> Recommender:
        """The untrained model."""
        return model_class(self.class_name)(self.config)


DEFAULT_MODELS: Mapping[str, ConfiguredModel] = {
    # What is chosen most, over all time.
    "popularity": ConfiguredModel("popularity", PopularityConfig()),
    # What is chosen most in the last days of the log.
    "popularity-recent": ConfiguredModel("popularity", PopularityConfig(window_days=7.0)),
    # Items chosen by the same people.
    "item-knn": ConfiguredModel("item-knn", ItemKNNConfig()),
    # Items chosen one after the other.
    "transitions": ConfiguredModel("transitions", TransitionsConfig()),
    # Items that are alike.
    "content": ConfiguredModel("content", ContentSimilarityConfig()),
    # The unified retriever.
    "retriever": ConfiguredModel("retriever", RetrieverConfig()),
}


class ModelsConfig(Config):
    """The recommenders that propose and score candidates."""

    tables: Mapping[str, ConfiguredModel] = DEFAULT_MODELS
    """Model by its name, as reports and surfaces write it; the defaults first."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, tables: Any) -> Any:
        """Read ``{name: table}``; in names, ``_`` and ``-`` are the same."""
        if not isinstance(tables, Mapping):
            return tables
        read: dict[str, ConfiguredModel] = {}
        for key, table in tables.items():
            name = _to_name(key)
            if name in read:
                _refuse((key,), table, f"another table is the model {name!r}, too")
            read[name] = _read_table(key, table)
        return {"tables": {**DEFAULT_MODELS, **read}}

    @model_serializer
    def _write(self) -> dict[str, Any]:
        """The tables as a settings file has them, those of the defaults included."""
        written = {}
        for name, model in self.tables.items():
            values = model.config.model_dump(mode="json")
            if model.class_name != _default_class(name):
                values = {CLASS_KEY: model.class_name, **values}
            written[name.replace("-", "_")] = values
        return written

    @classmethod
    def table_class(cls, key: str, values: Any) -> type[BaseModel] | None:
        """The config of the class that a table names, with that name as a further key."""
        table = values.get(key) if isinstance(values, Mapping) else None
        if not isinstance(table, Mapping):
            return None
        kind = model_class(table.get(CLASS_KEY, _default_class(_to_name(key))))
        further: dict[str, Any] = {CLASS_KEY: (str, "")}
        return create_model("Table", __base__=kind.config_class, **further)

    @property
    def retriever(self) -> RetrieverConfig:
        """Of the unified retriever; the defaults where ``[models.retriever]`` is something else."""
        config = self.tables["retriever"].config
        if isinstance(config, RetrieverGroupsConfig):
            return config.retriever
        return config if isinstance(config, RetrieverConfig) else RetrieverConfig()

    def build(self, unified: UnifiedConfig) -> dict[str, Recommender]:
        """Untrained models by the name that reports and surfaces use."""
        models = {}
        for name, model in self.tables.items():
            if name == "retriever" and isinstance(model.config, RetrieverConfig):
                model = ConfiguredModel(*unified_retriever(model.config, unified))
            models[name] = model.build()
        return models


def _to_name(key: Any) -> str:
    return str(key).replace("_", "-")


def _default_class(name: str) -> str:
    """Class of a table that names none; empty where it must name one."""
    if name in DEFAULT_MODELS:
        return DEFAULT_MODELS[name].class_name
    return name if name in model_names() else ""


def _read_table(key: str, table: Any) -> ConfiguredModel:
    """One table; errors have the names of the table and of the key."""
    name = _to_name(key)
    if not _NAME.fullmatch(name) or name in _TAKEN:
        _refuse(
            (key,),
            table,
            "a model cannot be called so: use up to 40 of a-z, 0-9, _ and -, a letter first, "
            f"and none of {', '.join(sorted(_TAKEN))}",
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
    if not isinstance(class_name, str) or class_name not in model_names():
        known = ", ".join(model_names())
        _refuse((key, CLASS_KEY), class_name, f"must name the class of a model; known are {known}")
    try:
        return model_class(class_name).config_class
    except ConfigError as error:
        _refuse((key, CLASS_KEY), class_name, str(error).rstrip("."))


def _refuse(place: tuple[str, ...], value: Any, message: str) -> NoReturn:
    error = PydanticCustomError("model_table", "{message}", {"message": message})
    raise ValidationError.from_exception_data(
        "models", [{"type": error, "loc": place, "input": value}]
    )
