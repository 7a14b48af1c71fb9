"""The base of every config, and the one way to read a TOML file into it.

A component owns a frozen config class beside it; this module only knows how configs behave
(frozen, unknown keys are errors, JSON round-trip) and how to turn a broken file into an error
that names the file, the key and the value.
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
    """A frozen set of values that decides results; execution options never live here."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    renamed: ClassVar[Mapping[str, str]] = {}
    """Former keys -> their present names, for the error of who still uses them."""

    @classmethod
    def table_class(cls, key: str, values: Any) -> type[BaseModel] | None:
        """Config of the table ``key`` where the given ``values`` decide it; None = its field does.

        Args:
            key: of the table.
            values: what this config was to be made from.
        """
        return None


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        ConfigError: the file is missing, not UTF-8 or not TOML; the message has the line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist.", "Run `serendip init` to write one.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply.", "Write it flat.") from None


def validate(model: type[ConfigT], values: dict[str, Any], origin: str) -> ConfigT:
    """Build a config from plain values; ``origin`` (a file or option) opens every message.

    Raises:
        ConfigError: the first wrong key, its value and what was expected.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            table = _table_around(model, first["loc"], values)
            hint = f"Known here: {', '.join(sorted(table.model_fields))}."
            key = str(first["loc"][-1])
            if issubclass(table, Config) and key in table.renamed:
                hint = f"It is called `{table.renamed[key]}` now."
            raise ConfigError(f"{origin}: unknown key `{place}`.", hint) from None
        if first["type"] == "missing":
            raise ConfigError(f"{origin}: `{place}` is missing.") from None
        # A whole table says nothing that the message does not.
        value = "" if isinstance(first["input"], Mapping) else f" = {first['input']!r}"
        told = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{origin}: `{place}`{value}: {told}.") from None


def _table_around(
    model: type[BaseModel], location: tuple[int | str, ...], values: Any
) -> type[BaseModel]:
    """The config of the table that holds ``location``; the root where that is unknown."""
    current = model
    for part in location[:-1]:
        decided = current.table_class(str(part), values) if issubclass(current, Config) else None
        field = current.model_fields.get(str(part))
        annotated = next(_tables(field.annotation), current) if field else current
        current = decided or annotated
        values = values.get(part) if isinstance(values, Mapping) else None
    return current


def _tables(annotation: Any) -> Iterator[type[BaseModel]]:
    """Models inside an annotation: a table may be optional, or stand in a list or a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _tables(part)
