"""The settings that count in a workspace, each with where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from serendip.config import Overrides, find_key, mask, normalise_key, read_toml, validate
from serendip.engine.config.settings import Settings
from serendip.engine.workspace import SETTINGS_FILE


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One value.

    Args:
        key: with its table, such as ``train.budget``.
        value: as in JSON; secrets are masked.
        origin: what decides it.
        source: the file, or the variable; empty for a default.
    """

    key: str
    value: Any
    origin: Literal["environment", "file", "default"]
    source: str


def read_effective_settings(folder: Path, environment: Mapping[str, str]) -> list[EffectiveSetting]:
    """All settings of a workspace, in the order of the reference; variables override the file.

    Raises:
        ConfigError: the file is missing, or it or a variable has a wrong key or value.
    """
    path, overrides = folder / SETTINGS_FILE, Overrides.of(environment)
    tables = read_toml(path)
    settings = validate(Settings, overrides.apply(tables), str(path), overrides)
    found = []
    for keys, value in _leaves(settings.model_dump(mode="json")):
        variable = overrides.variable(keys)
        is_in_file = not variable and _is_in(tables, keys)
        found.append(
            EffectiveSetting(
                ".".join(keys),
                mask(keys[-1], value),
                "environment" if variable else "file" if is_in_file else "default",
                variable or (str(path) if is_in_file else ""),
            )
        )
    return found


def _leaves(
    table: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():  # (path, value) of what is no table, or an empty one
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _is_in(tables: Any, keys: tuple[str, ...]) -> bool:
    for key in keys:
        if not isinstance(tables, Mapping):
            return True
        name = find_key(tables, normalise_key(key))
        if name not in tables:
            return False
        tables = tables[name]
    return True
