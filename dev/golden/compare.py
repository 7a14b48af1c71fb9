"""Two folders of golden records, value by value.

A file holds one category: case -> document. Names that have changed on purpose are translated on
the recorded side before anything is compared, see ``Renames``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

Scope: TypeAlias = Literal["all", "json", "toml", "cli"]
SCOPES: tuple[Scope, ...] = ("all", "json", "toml", "cli")
TEXT_CATEGORIES = ("help", "text", "errors", "page")
"""Where names stand inside of sentences: whole words are translated there, of every scope."""
_SETTINGS_KEYS = ("settings", "toml")
"""Below these keys stands what ``serendip.toml`` says."""
MISSING = "(nothing)"


@dataclass(frozen=True, slots=True)
class Renames:
    """New names for old ones.

    Args:
        names: scope -> old name -> new name. ``json``: keys and whole strings of documents;
            ``toml``: the same below settings; ``cli``: words in texts for people; ``all``: all of
            them. In texts for people every scope counts.
    """

    names: Mapping[Scope, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Renames:
        """A JSON file, ``{old: new}`` or ``{scope: {old: new}}``, or lines.

        Lines are ``old -> new``; ``[json]``, ``[toml]``, ``[cli]`` or ``[all]`` begins a scope, and
        ``#`` a remark.

        Raises:
            ValueError: a line or a scope is none.
        """
        text = path.read_text(encoding="utf-8")
        is_json = text.lstrip().startswith("{")
        return cls(_names_of_json(json.loads(text)) if is_json else _names_of_lines(text))

    def document(self, category: str, value: Any) -> Any:
        """A recorded document with new names."""
        if category in TEXT_CATEGORIES:
            words = {old: new for one in self.names.values() for old, new in one.items()}
            return _in_texts(value, words) if words else value
        return self._renamed(value, self._of("json"))

    def _of(self, scope: Scope) -> Mapping[str, str]:
        return {**self.names.get("all", {}), **self.names.get(scope, {})}

    def _renamed(self, value: Any, names: Mapping[str, str]) -> Any:
        if isinstance(value, dict):
            return {
                names.get(key, key): self._renamed(
                    one, self._of("toml") if key in _SETTINGS_KEYS else names
                )
                for key, one in value.items()
            }
        if isinstance(value, list):
            return [self._renamed(one, names) for one in value]
        return names.get(value, value) if isinstance(value, str) else value


def _names_of_json(document: Mapping[str, Any]) -> dict[Scope, Mapping[str, str]]:
    if all(isinstance(one, str) for one in document.values()):
        return {"all": {str(old): str(new) for old, new in document.items()}}
    return {_scope(name): dict(one) for name, one in document.items()}


def _names_of_lines(text: str) -> dict[Scope, Mapping[str, str]]:
    found: dict[Scope, dict[str, str]] = {}
    scope: Scope = "all"
    for line in text.splitlines():
        said = line.strip()
        if not said or said.startswith("#"):
            continue
        if said.startswith("[") and said.endswith("]"):
            scope = _scope(said[1:-1])
            continue
        old, arrow, new = said.partition("->")
        if not arrow or not old.strip() or not new.strip():
            raise ValueError(f"{said!r} is not `old -> new`")
        found.setdefault(scope, {})[old.strip()] = new.strip()
    return cast("dict[Scope, Mapping[str, str]]", found)


def _scope(name: str) -> Scope:
    for one in SCOPES:
        if one == name.lower():
            return one
    raise ValueError(f"{name!r} is no scope; they are {', '.join(SCOPES)}")


def _in_texts(value: Any, words: Mapping[str, str]) -> Any:
    """Whole words in every text, keys included; longer names first."""
    longest = sorted(words, key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest))})(?![\w-])")

    def renamed(one: Any) -> Any:
        if isinstance(one, dict):
            return {renamed(key): renamed(part) for key, part in one.items()}
        if isinstance(one, list):
            return [renamed(part) for part in one]
        if isinstance(one, str):
            return pattern.sub(lambda match: words[match[0]], one)
        return one

    return renamed(value)


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that is another one.

    Args:
        path: of it, from the case on.
        old: as it was recorded.
        new: as it is.
    """

    path: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of a category.

    Args:
        category: its name.
        values: compared ones.
        differences: in the order of the paths.
    """

    category: str
    values: int
    differences: Sequence[Difference]


def compare(
    old: Path, new: Path, categories: Sequence[str], renames: Renames, tolerance: float
) -> Iterator[Compared]:
    """Compare the files of some categories.

    Raises:
        FileNotFoundError: a category was not recorded.
    """
    for category in categories:
        recorded = renames.document(category, read_category(old, category))
        before, after = dict(leaves(recorded)), dict(leaves(read_category(new, category)))
        paths = list(dict.fromkeys((*before, *after)))
        differences = [
            Difference(path, before.get(path, MISSING), after.get(path, MISSING))
            for path in paths
            if not is_same(before.get(path, MISSING), after.get(path, MISSING), tolerance)
        ]
        yield Compared(category, len(paths), differences)


def read_category(folder: Path, category: str) -> Any:
    """The recorded cases of a category."""
    return json.loads(category_file(folder, category).read_text(encoding="utf-8"))


def category_file(folder: Path, category: str) -> Path:
    """Where a category is recorded."""
    return folder / f"{category}.json"


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of everything in a document that holds nothing more."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from leaves(one, f"{path}/{key}")
    elif isinstance(value, list) and value:
        for place, one in enumerate(value):
            yield from leaves(one, f"{path}/{place}")
    else:
        yield path, value


def is_same(old: Any, new: Any, tolerance: float) -> bool:
    """Whether two values are the same: of one type, and numbers within the tolerance."""
    if type(old) is type(new) and old == new:
        return True
    numbers = (old, new)
    if tolerance <= 0 or not all(isinstance(one, int | float) for one in numbers):
        return False
    if any(isinstance(one, bool) for one in numbers):
        return False
    return math.isclose(old, new, rel_tol=tolerance, abs_tol=tolerance)
