"""The base of every config, and the one way to read a TOML file into it.

A component owns a frozen config class beside it; this module only knows how configs behave
(frozen, unknown keys are errors, JSON round-trip) and how to turn a broken file into an error
that names the file, the key and the value.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from serendip.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound="Config")


class Config(BaseModel):
    """A frozen set of values that decides results; execution options never live here."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


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


def validate(model: type[ConfigT], values: dict[str, Any], origin: str) -> ConfigT:
    """Build a config from plain values; ``origin`` (a file or option) opens every message.

    Raises:
        ConfigError: the first wrong key, its value and what was expected.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(sorted(_known_keys(model, first["loc"])))
            raise ConfigError(f"{origin}: unknown key `{key}`.", f"Known here: {known}.") from None
        raise ConfigError(f"{origin}: `{key}` = {first['input']!r}: {first['msg']}.") from None


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Names that the table around ``location`` accepts; those of the root where it is unknown."""
    current = model
    for part in location[:-1]:
        field = current.model_fields.get(str(part))
        annotation = field.annotation if field else None
        for one in get_args(annotation) or (annotation,):  # A table may be optional.
            if isinstance(one, type) and issubclass(one, BaseModel):
                current = one
    return list(current.model_fields)
