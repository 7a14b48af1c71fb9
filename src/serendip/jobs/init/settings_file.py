"""The text of ``serendip.toml`` for guessed columns; it has comments and is meant to be edited."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from serendip.content.encoders.media_files import resolve_workspace_file
from serendip.data import ActionRules, Item
from serendip.data.text import looks_like_library_style
from serendip.errors import DataError
from serendip.files.cells import MEDIA_FOLDER
from serendip.files.config import EventsConfig
from serendip.files.events import read_events
from serendip.files.names import fold, is_called, names
from serendip.jobs.init.attributes import (
    SAMPLE_ROWS,
    ActionRoles,
    AttributeRoles,
    Kind,
    attribute_cells,
    attribute_names,
    classify_column,
    find_quality_columns,
    has_numbers,
)
from serendip.jobs.init.columns import FileForm

_MAX_FILES_CHECKED = 20
_MOST_HOSTS = 5
_MIN_SHARE = 0.9
_MEDIA: Mapping[Kind, tuple[str, str]] = MappingProxyType(
    {"image": ("image", "pictures"), "sound": ("audio", "sounds")}
)


@dataclass(frozen=True, slots=True)
class Guess:
    """Guessed columns of a file.

    Args:
        path: relative to the workspace.
        mapping: canonical name -> file column.
        others: file columns without a canonical name.
        roles: how the other columns of items are read; None = of another file.
        actions: what the actions of events are taken for; None = of another file, or no column.
        form: how the file is written, where that is not the usual way.
        example: a text of the file in an encoding that few letters tell; empty = it is certain.
    """

    path: str
    mapping: Mapping[str, str]
    others: Sequence[str]
    roles: AttributeRoles | None = None
    actions: ActionRoles | None = None
    form: FileForm = field(default_factory=FileForm)
    example: str = ""

    def settings(self) -> dict[str, object]:
        """Keys of the table of the file in ``serendip.toml``, as far as they are guessed."""
        return {"path": self.path, "columns": dict(self.mapping), **self.form.settings()}


def render_settings(folder: Path, guesses: Mapping[str, Guess], sample: Sequence[Item]) -> str:
    """The text of the file.

    Args:
        folder: of the workspace.
        guesses: table -> guessed columns of its file.
        sample: the first items.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(  # it is no HTML
        loader=PackageLoader("serendip.jobs.init", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # JSON escapes are a subset of TOML's; a comment is one line.
    environment.filters["toml"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.filters["one_line"] = lambda text: " ".join(text.split())
    values: dict[str, Any] = {name: guesses.get(name) for name in ("items", "events", "users")}
    if items := guesses.get("items"):
        values |= _describe_items(folder, folder / items.path, sample)
    if events := guesses.get("events"):
        values |= _describe_events(folder, events)
    return environment.get_template("serendip.toml.jinja").render(values)


def _describe_items(folder: Path, path: Path, sample: Sequence[Item]) -> dict[str, Any]:
    """What the template says of items besides their columns."""
    worth = (
        name
        for name in attribute_names(sample)
        if (is_called(name, "price") or is_called(name, "worth")) and has_numbers(name, sample)
    )
    return {
        "is_library": looks_like_library_style([item.title for item in sample]),
        "media": list(_find_media(folder, path, sample)),
        "pictures": next(_find_linked_pictures(sample), None),
        "quality": find_quality_columns(sample),
        "filters": dict(_find_filters(sample)),
        "worth": next(worth, ""),
    }


def _find_media(folder: Path, path: Path, items: Sequence[Item]) -> Iterator[dict[str, Any]]:
    """Yield the columns with paths of pictures or sounds that are there.

    They are comments in the file because their packages may not be installed and encoding takes
    long.
    """
    for name in attribute_names(items):
        cells = attribute_cells(name, items)
        table, what = _MEDIA.get(classify_column(name, cells), ("", ""))
        is_inside = any(cell.startswith(f"{MEDIA_FOLDER}/") for cell in cells[:1])
        is_inside = is_inside or _any_file(folder, cells)
        if table and (is_inside or _any_file(path.parent, cells)):
            yield {"name": name, "table": table, "what": what, "is_inside": is_inside}


def _find_linked_pictures(items: Sequence[Item]) -> Iterator[dict[str, Any]]:
    """Yield the columns whose cells are nearly all addresses of pictures, with their hosts."""
    pattern = re.compile(
        rf"https://([^/?#]+)/\S+\.(?:{'|'.join(names('endings')['image'])})\b", re.I
    )
    for name in attribute_names(items):
        cells = attribute_cells(name, items)
        found = [match[1] for cell in cells if (match := pattern.match(cell))]
        if found and len(found) >= _MIN_SHARE * len(cells):
            yield {"name": name, "hosts": list(dict.fromkeys(found))[:_MOST_HOSTS]}


def _any_file(folder: Path, cells: Sequence[str]) -> bool:
    """True if one of the first cells is the path of a file below a folder."""
    for cell in cells[:_MAX_FILES_CHECKED]:
        with suppress(DataError):
            resolve_workspace_file(folder, cell)
            return True
    return False


def _find_filters(items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    """Yield (attribute, test) of filters by stock and country: only the user knows of their use."""
    for name in attribute_names(items):
        if is_called(name, "stock") and has_numbers(name, items):
            yield name, ">=1"
        elif is_called(name, "country"):
            yield name, "=request"


def _describe_events(folder: Path, events: Guess) -> dict[str, Any]:
    """Likes and negative events, by value and by name; nothing where the defaults say the same.

    A threshold of likes is 80 % of the highest value if the values are ratings on a scale up to 10,
    one of dislikes 40 %, unless a value is 0 or less: it may be the worst rating or mean that there
    is none. A low amount or count, unlike a rating, is no dislike.
    """
    config = EventsConfig.model_validate(events.settings())
    sample = read_events(config, folder).sample(SAMPLE_ROWS)
    values = [event.value for event in sample if event.value is not None]
    highest, has_actions = max(values, default=0.0), "action" in events.mapping
    is_scale = len(set(values)) > 1 and 0 < highest <= 10
    is_named = fold(events.mapping.get("value", "")) in names("values")["rating"]
    rated = {event.action for event in sample if event.value is not None}
    are_ratings = rated <= set(names("actions")["rating"])
    rules = ActionRules()
    roles = events.actions or ActionRoles({}, (), ())
    has_new = any(name not in rules.negative for name in roles.negative)
    return {
        "is_rated": "value" in events.mapping and not has_actions,
        "like": round(0.8 * highest, 2) if is_scale else None,
        "dislike": round(0.4 * highest, 2) if is_scale and min(values) > 0 else None,
        "is_rating": is_named or (has_actions and are_ratings),
        "known_likes": list(rules.always_like),
        "new_likes": [name for name in roles.likes if name not in rules.always_like],
        "negative": {**rules.negative, **roles.negative} if has_new else {},
    }
