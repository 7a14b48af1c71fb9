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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from serendip.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound="Config")

Use: TypeAlias = Literal["auto", "on", "off"]  # ``auto`` = where the training finds that it helps

INTERNAL = "internal"
"""Mark of a field that tests and benchmarks set and no shop has to: ``Annotated[int, INTERNAL]``.
It is no part of the reference, and may change or go."""

_UNKNOWN_KEY = "unknown_key"


class Config(BaseModel):
    """A frozen set of values that results depend on; execution options are never part of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def settings(cls) -> dict[str, FieldInfo]:
        """Name -> field of those that the reference has."""
        fields = cls.model_fields.items()
        return {name: field for name, field in fields if INTERNAL not in field.metadata}

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        keys = values if isinstance(values, Mapping) else ()
        if unknown := [str(key) for key in keys if key not in cls.model_fields]:
            valid = ", ".join(sorted(cls.settings()))
            context = {"key": unknown[0], "valid": valid}
            raise PydanticCustomError(_UNKNOWN_KEY, "unknown key; valid keys: {valid}", context)
        return values


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
    Variables without ``__`` are none. ``variables`` is the path of a key -> name and text of one.
    """

    variables: Mapping[tuple[str, ...], tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Read them from environment variables.

        Raises:
            ConfigError: a value is no JSON though it begins like it.
        """
        variables: dict[tuple[str, ...], tuple[str, str]] = {}
        for name in sorted(environment):
            table, separator, rest = name.upper().removeprefix(_PREFIX).partition(_SEPARATOR)
            if name.upper().startswith(_PREFIX) and table and separator:
                path = (table.lower(), *rest.lower().split(_SEPARATOR))
                variables[path] = name, environment[name]
                _read_variable(*variables[path])
        return cls(variables)

    def apply(self, tables: Mapping[str, Any]) -> dict[str, Any]:
        """The tables of a file with the overridden values, as a new dict.

        Raises:
            ConfigError: a variable names a key inside a value that is no table.
        """
        merged = dict(tables)
        for path, (variable, text) in self.variables.items():
            table = merged
            for part in path[:-1]:
                key = find_key(table, part)
                inner = table.get(key, {})
                if not isinstance(inner, Mapping):
                    raise ConfigError(f"{variable}: `{key}` is not a table.")
                table[key] = dict(inner)
                table = table[key]
            table[find_key(table, path[-1])] = _read_variable(variable, text)
        return merged

    def table(self, name: str) -> Overrides:
        """Those of one table, with paths inside it."""
        inside = {path[1:]: own for path, own in self.variables.items() if path[0] == name}
        return Overrides(inside)

    def variable(self, path: Sequence[int | str], or_inside: bool = False) -> str:
        """Name of the variable that set the value at a path, or a value around it; empty = none.

        With ``or_inside`` a variable that set a value inside it counts, too.
        """
        parts = tuple(normalise_key(str(part)) for part in path)
        names = {path: name for path, (name, _) in self.variables.items()}
        around = (names.get(parts[:length], "") for length in range(len(parts), 0, -1))
        inside = (name for key, name in names.items() if key[: len(parts)] == parts)
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

    Every message starts with the ``origin``, a file or an option; ``overrides`` tell where some of
    the values come from instead.

    Raises:
        ConfigError: names the first wrong key, its value and what is expected.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first, path = error.errors()[0], error.errors()[0]["loc"]
        is_unknown = first["type"] == _UNKNOWN_KEY
        if is_unknown:
            path = (*path, first["ctx"]["key"])
        location = ".".join(str(part) for part in path)
        if overrides is not None:
            origin = overrides.variable(path, is_unknown) or origin
        if is_unknown:
            hint = f"Valid keys: {first['ctx']['valid']}."
            raise ConfigError(f"{origin}: unknown key `{location}`.", hint) from None
        if first["type"] == "missing":
            raise ConfigError(f"{origin}: `{location}` is missing.") from None
        # The values of a whole table would only hide the message.
        shown = mask(str(path[-1]) if path else "", first["input"])
        value = "" if isinstance(first["input"], Mapping) else f" = {shown!r}"
        problem = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{origin}: `{location}`{value}: {problem}.") from None


def mask(key: str, value: Any) -> Any:
    """A value of a setting without passwords, for messages and for people."""
    if value and _SECRET.fullmatch(key):
        return MASK
    if isinstance(value, list):
        return [mask(key, one) for one in value]
    if isinstance(value, Mapping):
        return {name: mask(name, one) for name, one in value.items()}
    if not isinstance(value, str):
        return value
    return _SECRET_IN_QUERY.sub(rf"\1{MASK}", _PASSWORD_IN_URL.sub(rf"\1{MASK}@", value))
