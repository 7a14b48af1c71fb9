"""Base class of every config, and how a TOML file and the environment are read into one.

Each component defines its config class beside it. This module defines what all configs share (they
are frozen, unknown keys are errors, they survive JSON) and turns a broken file into an error that
names the file, the key and the value. A variable such as ``SERENDIP_TRAIN__BUDGET`` overrides
``budget`` in ``[train]`` of the file.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from serendip.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound="Config")


class Config(BaseModel):
    """A frozen set of values that results depend on; execution options are never part of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

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


_SECRET = re.compile(r"(.*_)?(password|secret|token|api_key)")
_PASSWORD_IN_URL = re.compile(r"(\w+://)\S*@")
_SECRET_IN_QUERY = re.compile(
    r"([?&;#][\w.-]*(?:password|secret|token|key|signature)=)[^&#\s]+", re.IGNORECASE
)
MASK = "***"

_PREFIX, _SEPARATOR = "SERENDIP_", "__"


@dataclass(frozen=True, slots=True)
class Overrides:
    """Settings of the environment, which override those of a file.

    ``SERENDIP_TABLE__KEY``, with further keys after ``__``, in capitals or not. A value that begins
    with ``[``, ``{`` or ``"`` is JSON, any other one is text, which a number or a switch reads.
    Variables without ``__`` are none.

    Args:
        values: path of a key -> value.
        variables: path of a key -> name of the variable.
    """

    values: Mapping[tuple[str, ...], Any] = field(default_factory=dict)
    variables: Mapping[tuple[str, ...], str] = field(default_factory=dict)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Read them from environment variables.

        Raises:
            ConfigError: a value is no JSON though it begins like it.
        """
        values: dict[tuple[str, ...], Any] = {}
        variables: dict[tuple[str, ...], str] = {}
        for name in sorted(environment):
            table, separator, rest = name.upper().removeprefix(_PREFIX).partition(_SEPARATOR)
            if name.upper().startswith(_PREFIX) and table and separator:
                path = (table.lower(), *rest.lower().split(_SEPARATOR))
                values[path] = _read_variable(name, environment[name])
                variables[path] = name
        return cls(values, variables)

    def apply(self, tables: Mapping[str, Any]) -> dict[str, Any]:
        """The tables of a file with the overridden values, as a new dict.

        Raises:
            ConfigError: a variable names a key inside a value that is no table.
        """
        merged = dict(tables)
        for path, value in self.values.items():
            table = merged
            for part in path[:-1]:
                key = find_key(table, part)
                inner = table.get(key, {})
                if not isinstance(inner, Mapping):
                    raise ConfigError(f"{self.variables[path]}: `{key}` is not a table.")
                table[key] = dict(inner)
                table = table[key]
            table[find_key(table, path[-1])] = value
        return merged

    def table(self, name: str) -> Overrides:
        """Those of one table, with paths inside it."""
        inside = [path for path in self.values if path[0] == name]
        return Overrides(
            {path[1:]: self.values[path] for path in inside},
            {path[1:]: self.variables[path] for path in inside},
        )

    def variable(self, path: Sequence[int | str], or_inside: bool = False) -> str:
        """Name of the variable that set the value at a path, or a value around it; empty = none.

        Args:
            path: of the value.
            or_inside: whether a variable that set a value inside it counts, too.
        """
        parts = tuple(normalise_key(str(part)) for part in path)
        around = (self.variables.get(parts[:length], "") for length in range(len(parts), 0, -1))
        inside = (name for key, name in self.variables.items() if key[: len(parts)] == parts)
        return next(filter(None, around), "") or (next(inside, "") if or_inside else "")


def variable_name(path: Sequence[str]) -> str:
    """Name of the variable that sets the value at a path, in capitals."""
    return _PREFIX + _SEPARATOR.join(path).upper()


def find_key(table: Mapping[str, Any], name: str) -> str:
    """The key of a table that a variable names, in the spelling of the table if it has it."""
    return next((key for key in table if normalise_key(key) == name), name)


def normalise_key(key: str) -> str:
    """A key as the name of a variable spells it, in lower case."""
    return key.replace("-", "_").lower()


def _read_variable(name: str, text: str) -> Any:
    if not text.startswith(("[", "{", '"')):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{name} = {text[:60]!r} is not JSON: {error.msg}.") from None


def validate(
    model: type[ConfigT], values: dict[str, Any], origin: str, overrides: Overrides | None = None
) -> ConfigT:
    """Build a config from plain values.

    Args:
        model: class of the config.
        values: as in JSON or TOML.
        origin: a file or an option; every error message starts with it.
        overrides: where some of the values come from instead, for the message.

    Raises:
        ConfigError: names the first wrong key, its value and what is expected.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(str(part) for part in first["loc"])
        if overrides is not None:
            origin = overrides.variable(first["loc"], first["type"] == "extra_forbidden") or origin
        if first["type"] == "extra_forbidden":
            table = _table_around(model, first["loc"], values)
            hint = f"Valid keys: {', '.join(sorted(table.model_fields))}."
            raise ConfigError(f"{origin}: unknown key `{location}`.", hint) from None
        if first["type"] == "missing":
            raise ConfigError(f"{origin}: `{location}` is missing.") from None
        # The values of a whole table would only hide the message.
        shown = mask(str(first["loc"][-1]) if first["loc"] else "", first["input"])
        value = "" if isinstance(first["input"], Mapping) else f" = {shown!r}"
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


def mask(key: str, value: Any) -> Any:
    """A value of a setting without passwords, for messages and for people.

    Args:
        key: of the setting.
        value: as in JSON.
    """
    if value and _SECRET.fullmatch(key):
        return MASK
    if isinstance(value, list):
        return [mask(key, one) for one in value]
    if isinstance(value, Mapping):
        return {name: mask(name, one) for name, one in value.items()}
    if not isinstance(value, str):
        return value
    return _SECRET_IN_QUERY.sub(rf"\1{MASK}", _PASSWORD_IN_URL.sub(rf"\1{MASK}@", value))
