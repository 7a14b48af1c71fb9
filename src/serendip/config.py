"""Base class of every config, and how a TOML file is read into one.

Each component defines its config class beside it. This module defines what all configs share (they
are frozen, unknown keys are errors, they survive JSON) and turns a broken file into an error that
names the file, the key and the value.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from serendip.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound="Config")


class Config(BaseModel):
    """A frozen set of values that results depend on; execution options are never part of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    renamed: ClassVar[Mapping[str, str]] = {}
    """Former key -> its present name, for the error about a former key."""

    @classmethod
    def table_class(cls, key: str, values: Any) -> type[BaseModel] | None:
        """Config class of the table ``key`` if it depends on the values; None = as annotated.

        Args:
            key: of the table.
            values: that this config was to be built from.
        """
        return None


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        ConfigError: the file is missing, not UTF-8, not TOML (the message has the line) or nested
            too deeply.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist.", "Run `serendip init` to write one.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply.", "Use fewer nested tables.") from None


def validate(model: type[ConfigT], values: dict[str, Any], origin: str) -> ConfigT:
    """Build a config from plain values.

    Args:
        model: class of the config.
        values: as in JSON or TOML.
        origin: a file or an option; every error message starts with it.

    Raises:
        ConfigError: names the first wrong key, its value and what is expected.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            table = _table_around(model, first["loc"], values)
            hint = f"Valid keys: {', '.join(sorted(table.model_fields))}."
            key = str(first["loc"][-1])
            if issubclass(table, Config) and key in table.renamed:
                hint = f"It is called `{table.renamed[key]}` now."
            raise ConfigError(f"{origin}: unknown key `{location}`.", hint) from None
        if first["type"] == "missing":
            raise ConfigError(f"{origin}: `{location}` is missing.") from None
        # The values of a whole table would only hide the message.
        value = "" if isinstance(first["input"], Mapping) else f" = {first['input']!r}"
        problem = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{origin}: `{location}`{value}: {problem}.") from None


def _table_around(
    model: type[BaseModel], location: tuple[int | str, ...], values: Any
) -> type[BaseModel]:
    """Config class of the table that has the key at ``location``; the last known one on the way."""
    current = model
    for part in location[:-1]:
        by_values = current.table_class(str(part), values) if issubclass(current, Config) else None
        field = current.model_fields.get(str(part))
        annotated = next(_tables(field.annotation), current) if field else current
        current = by_values or annotated
        values = values.get(part) if isinstance(values, Mapping) else None
    return current


def _tables(annotation: Any) -> Iterator[type[BaseModel]]:
    """Model classes inside an annotation: a table may be optional, or in a list or a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _tables(part)
