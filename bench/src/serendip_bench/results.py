"""The results file: rows are appended as they finish, and a killed run resumes from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serendip.errors import ConfigError
from serendip.runtime.atomic_files import write_text

_KEY = ("line", "task", "set", "model", "mode", "seed")
_SAME = ("name", "version", "data")


class Results:
    """Rows of one benchmark on one data set.

    A row is reused if its digest equals that of the command. Rows of a requested model with
    another configuration are dropped and computed again. Rows of other models stay.

    Args:
        path: the JSON file.
        head: ``dataset`` and ``protocol``.

    Raises:
        ConfigError: the file is not a results file, or has rows of another protocol or data set.
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
                    f"{path} has rows of protocol {name} {old!r}, this run has {new!r}.",
                    "Give --json another file, or move this one away.",
                )

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows, in the order in which they were finished."""
        rows: list[dict[str, Any]] = self.document["rows"]
        return rows

    def drop_outdated(self, model: Mapping[str, Any], digest: str) -> None:
        """Remove the rows of a model (and mode) that have another digest."""
        self.document["rows"] = [
            row
            for row in self.rows
            if row["digest"] == digest or any(row.get(name) != model[name] for name in model)
        ]

    def has(self, key: Mapping[str, Any]) -> bool:
        """True if there is a row with this key."""
        return any(_matches(row, key) for row in self.rows)

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row, replacing the one with its key, and write the file."""
        key = {name: row[name] for name in _KEY if name in row}
        self.document["rows"] = [*(old for old in self.rows if not _matches(old, key)), dict(row)]
        self.document.pop("summary", None)
        self.write()

    def skip(self, model: Mapping[str, Any]) -> None:
        """Add a model that cannot use the data, with the ``reason``, and write the file."""
        self.document["skipped"].append(dict(model))
        self.write()

    def write(self) -> None:
        """Write the file."""
        text = json.dumps(self.document, indent=1, allow_nan=False, ensure_ascii=False)
        write_text(self._path, text + "\n")


def _matches(row: Mapping[str, Any], key: Mapping[str, Any]) -> bool:
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
    raise ConfigError(f"{path} is not a results file of a benchmark.", "Give --json another file.")
