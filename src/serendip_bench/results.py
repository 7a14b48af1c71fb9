"""The results file: rows appended as they finish, whole at every moment, taken up after a kill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serendip.errors import ConfigError
from serendip.runtime.atomic_files import write_atomically

_KEY = ("line", "task", "set", "model", "mode", "seed")
_SAME = ("name", "version", "data")


class Results:
    """Rows of one benchmark on one data set.

    A row is kept while its digest is that of the command; rows of a model that was asked for with
    another configuration are dropped and made again. Rows of models that were not asked for stay.

    Args:
        path: the JSON file.
        head: ``dataset`` and ``protocol``.

    Raises:
        ConfigError: the file holds something else, or rows of another protocol or data set.
    """

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        self._path = path
        stored = _read(path)
        self.document: dict[str, Any] = {
            **head,
            "encode_cpu_s": stored.get("encode_cpu_s"),
            "encoder": stored.get("encoder"),
            "rows": stored.get("rows", []),
            "skipped": [],
        }
        for name in _SAME if stored else ():
            old, new = stored["protocol"].get(name), head["protocol"][name]
            if old != new:
                raise ConfigError(
                    f"{path} holds rows of protocol {name} {old!r}, this is {new!r}.",
                    "Give --json another file, or move this one away.",
                )

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows, in the order in which they were finished."""
        rows: list[dict[str, Any]] = self.document["rows"]
        return rows

    def drop_others(self, model: Mapping[str, Any], digest: str) -> None:
        """Forget rows of a model (and mode) that have another digest."""
        self.document["rows"] = [
            row
            for row in self.rows
            if row["digest"] == digest or any(row.get(name) != model[name] for name in model)
        ]

    def has(self, key: Mapping[str, Any]) -> bool:
        """Whether a row is there."""
        return any(_is(row, key) for row in self.rows)

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row, in place of one with its key, and write."""
        key = {name: row[name] for name in _KEY if name in row}
        self.document["rows"] = [*(old for old in self.rows if not _is(old, key)), dict(row)]
        self.document.pop("summary", None)
        self.write()

    def skip(self, model: Mapping[str, Any]) -> None:
        """Note a model that refuses the data, with its ``reason``, and write."""
        self.document["skipped"].append(dict(model))
        self.write()

    def write(self) -> None:
        """Write everything."""
        text = json.dumps(self.document, indent=1, allow_nan=False, ensure_ascii=False)
        write_atomically(self._path, text + "\n")


def _is(row: Mapping[str, Any], key: Mapping[str, Any]) -> bool:
    return all(row.get(name) == value for name, value in key.items())


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(document["protocol"], dict) and isinstance(document["rows"], list):
            return dict(document)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise ConfigError(f"{path} exists and holds no benchmark results.", "Give --json another file.")
