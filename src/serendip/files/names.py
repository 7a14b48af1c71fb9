"""What the columns of users' files are called: the table ``names.toml``, and guesses by name.

File columns are compared after folding: case, punctuation and a type suffix (``user_id:token``)
are ignored. A file column is mapped to at most one canonical column.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from serendip.data.events.event import EVENT_COLUMNS

TableKind: TypeAlias = Literal["items", "events", "users"]

REQUIRED: Mapping[TableKind, tuple[str, ...]] = MappingProxyType(
    {
        "items": ("item_id",),
        "events": ("user_id", "item_id", "timestamp"),
        "users": ("user_id",),
    }
)

_CASE_CHANGE = re.compile(r"(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ])|(?<=[A-ZÀ-Þ])(?=[A-ZÀ-Þ][a-zß-ÿ])")
_WORD = re.compile(r"[A-Za-zÀ-ÿ]+|[^\W\d_A-Za-zÀ-ÿ]+")  # Latin letters, or those of other scripts


@cache
def names(table: str) -> Mapping[str, Any]:
    """A table of ``names.toml``."""
    text = files("serendip.files").joinpath("names.toml").read_text(encoding="utf-8")
    return MappingProxyType(tomllib.loads(text)[table])


@cache
def canonical_columns(kind: TableKind) -> Mapping[str, Sequence[str]]:
    """Canonical column of a table -> folded names of it, the best first, which is its own."""
    if kind == "users":
        events = canonical_columns("events")
        return {"user_id": [*events["user_id"], "id", "key"], "country": events["country"]}
    known = names(kind)
    columns = EVENT_COLUMNS if kind == "events" else known
    return {name: [fold(name), *known.get(name, ())] for name in columns}


def fold(column: str) -> str:
    """Fold a column name: no case, punctuation or type suffix (``User_ID:token`` -> ``userid``)."""
    name = unicodedata.normalize("NFKC", re.sub(r":\w+$", "", column)).casefold()
    return re.sub(r"[\W_]", "", name)


def is_called(column: str, what: str) -> bool:
    """Whether a column has one of the names of an attribute in ``names.toml``."""
    return fold(column) in names("attributes")[what]


def split_words(name: str) -> list[str]:
    """Words of a name in lower case: ``grossMargin`` and ``Gross margin`` have the same two."""
    apart = _CASE_CHANGE.sub(" ", unicodedata.normalize("NFKC", name))
    return [word.casefold() for word in _WORD.findall(apart)]


@cache
def _private_words() -> frozenset[str]:
    return frozenset(names("private")["words"])


def sounds_private(name: str) -> bool:
    """Whether a word of an attribute's name, or two in a row, are no business of shoppers."""
    words = split_words(name)
    pairs = (first + second for first, second in pairwise(words))
    return not _private_words().isdisjoint([*words, *pairs])


def guess_mapping(
    columns: Sequence[str], kind: TableKind, given: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Guess the column mapping from column names alone.

    Guesses never change what is given. The recognised ones come in canonical order.
    """
    free: dict[str, str] = {}
    for column in columns:
        if column not in given.values():
            free.setdefault(fold(column), column)
    mapping = {}
    for canonical, aliases in canonical_columns(kind).items():
        match = next((alias for alias in aliases if alias in free), None)
        if canonical in given:
            mapping[canonical] = given[canonical]
        elif match is not None:
            mapping[canonical] = free.pop(match)
    return mapping
