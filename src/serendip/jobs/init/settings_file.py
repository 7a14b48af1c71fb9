"""The text of ``serendip.toml`` for guessed columns; it has comments and is meant to be edited."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from serendip.content.encoders.media_files import resolve_workspace_file
from serendip.data.events.event import Event
from serendip.data.items.catalogue import Item
from serendip.data.text import looks_like_library_style
from serendip.errors import DataError
from serendip.files.cells import MEDIA_FOLDER
from serendip.files.config import EventsConfig, read_events
from serendip.files.names import fold, is_called, names
from serendip.jobs.init.actions import ActionRoles
from serendip.jobs.init.attributes import (
    AttributeRoles,
    attribute_cells,
    attribute_names,
    find_quality_columns,
    has_numbers,
)
from serendip.jobs.init.cell_kinds import Kind, classify_column
from serendip.jobs.init.columns import SAMPLE_ROWS, FileForm

_MAX_FILES_CHECKED = 20
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
    items, events = guesses.get("items"), guesses.get("events")
    lines = ["# Settings of this workspace. Every key has a default; unknown keys are errors."]
    if items is None:
        lines += ["", "[items]", "from_events = true     # an item for each id in the events"]
        lines.append('# path = "..."           # a file with titles and more, one item per row')
    else:
        lines += _render_items(items, sample)
    if events is not None:
        lines += _render_events(folder, events)
    if "users" in guesses:
        users = guesses["users"]
        lines += ["", "[users]", f"path = {_quote(users.path)}", *_render_form(users.form)]
        lines += _render_columns("users", users)
    if items is not None:
        lines += _render_content(folder, items, sample)
    return "\n".join(lines) + "\n"


def _render_media(folder: Path, items_path: Path, items: Sequence[Item]) -> list[str]:
    """Commented settings of columns with paths of pictures or sounds.

    They are comments because their packages may not be installed and encoding takes long.
    """
    lines = []
    for name in attribute_names(items):
        cells = attribute_cells(name, items)
        table, what = _MEDIA.get(classify_column(name, cells), ("", ""))
        inside = any(cell.startswith(f"{MEDIA_FOLDER}/") for cell in cells[:1])
        inside = inside or _any_file(folder, cells)
        if not table or not (inside or _any_file(items_path.parent, cells)):
            continue
        lines += ["", f"# The column {_quote(name)} has paths of {what}. To train on them, run"]
        lines.append(f'# `pip install "serendip[{table}]"` and uncomment these lines:')
        if not inside:
            lines.append("# (paths are relative to this folder: move the files into it first)")
        lines += [f"# [content.{table}]", f"# field = {_quote(name)}"]
    return lines


def _any_file(folder: Path, cells: Sequence[str]) -> bool:
    """True if one of the first cells is the path of a file below a folder."""
    for cell in cells[:_MAX_FILES_CHECKED]:
        try:
            resolve_workspace_file(folder, cell)
        except DataError:
            continue
        return True
    return False


def _guess_like_threshold(values: Sequence[float]) -> float | None:
    """80 % of the highest value if the values are ratings on a scale up to 10, else None."""
    highest = max(values, default=0.0)
    return round(0.8 * highest, 2) if len(set(values)) > 1 and 0 < highest <= 10 else None


def _guess_dislike_threshold(ratings: Sequence[float]) -> float | None:
    """40 % of the highest rating; None if the values are not ratings.

    Also None if a value is 0 or less: it may be the worst rating or mean that there is none.
    """
    if _guess_like_threshold(ratings) is None or min(ratings) <= 0:
        return None
    return round(0.4 * max(ratings), 2)


def _render_items(items: Guess, sample: Sequence[Item]) -> list[str]:
    assert items.roles is not None
    library = looks_like_library_style([item.title for item in sample])
    return [
        "",
        "[items]",
        f"path = {_quote(items.path)}",
        *_render_form(items.form),
        f"title_style = {_quote('library' if library else 'plain')}"
        '     # "library": "Matrix, The (1999)" is shown as "The Matrix"',
        'list_separator = "|"      # splits cells such as "Drama|Romance"',
        *_render_columns("items", items),
        *_render_table("level_separators", items.roles.level_separators, "levels of a path"),
        *_render_table("decimals", items.roles.decimals, "numbers, and their decimal sign"),
        *_render_table("units", items.roles.units, "what the page shows behind numbers"),
    ]


def _render_content(folder: Path, items: Guess, sample: Sequence[Item]) -> list[str]:
    assert items.roles is not None
    return [
        "",
        "[content]",
        "# Text fields of an item that are encoded and searched.",
        f"fields = [{', '.join(map(_quote, items.roles.fields))}]",
        *_render_media(folder, folder / items.path, sample),
        *_render_quality(sample),
        *_render_filters(sample),
        *_render_value(sample),
    ]


def _render_form(form: FileForm) -> list[str]:
    """How a file is written; the time zone is for the user to say."""
    lines = [f"{key} = {_quote(value)}" for key, value in form.settings().items()]
    if form.time_format:
        lines.append('# time_zone = "Europe/Berlin"     # of these times; without it: UTC')
    return lines


def _render_table(name: str, values: Mapping[str, str], note: str) -> list[str]:
    """A table of ``[items]``; empty without values."""
    if not values:
        return []
    return [
        "",
        f"[items.{name}]     # {note}",
        *(f"{_quote(key)} = {_quote(value)}" for key, value in values.items()),
    ]


def _render_quality(items: Sequence[Item]) -> list[str]:
    """The table of the columns with ratings and numbers of reviews; empty without any."""
    found = find_quality_columns(items)
    if not found:
        return []
    lines = ["", "[quality]     # how good items are, by the catalogue"]
    return lines + [f"{key} = {_quote(name)}" for key, name in found.items()]


def _render_filters(items: Sequence[Item]) -> list[str]:
    """Commented filters by stock and country: only the user knows whether they are wanted."""
    lines = []
    for name in attribute_names(items):
        test = ""
        if is_called(name, "stock") and has_numbers(name, items):
            test = "at_least = 1"
        elif is_called(name, "country"):
            test = 'equals = "request"'
        if test:
            lines += ["", f"# To show only items by their column {_quote(name)}, uncomment:"]
            lines.append("# [surfaces.home]")
            lines.append(f'# filters = ["seen", {{attribute = {_quote(name)}, {test}}}]')
    return lines


def _render_value(items: Sequence[Item]) -> list[str]:
    """A commented table for the first column that an action may be worth: a price, a margin."""
    for name in attribute_names(items):
        is_worth = is_called(name, "price") or is_called(name, "worth")
        if is_worth and has_numbers(name, items):
            return [
                "",
                f"# To order by expected value, P(action) x the column {_quote(name)}, uncomment:",
                "# [surfaces.home.item_value]",
                f"# attribute = {_quote(name)}",
            ]
    return []


def _render_events(folder: Path, events: Guess) -> list[str]:
    config = EventsConfig.model_validate(events.settings())
    rows = read_events(config, folder).sample(SAMPLE_ROWS)
    rated = "value" in events.mapping and "action" not in events.mapping
    lines = [
        "",
        "[events]",
        f"path = {_quote(events.path)}",
        *_render_form(events.form),
        f"default_action = {_quote('rate' if rated else 'click')}     # action of rows without one",
        *_render_columns("events", events),
    ]
    return lines + _render_actions(rows, events)


def _render_actions(rows: Sequence[Event], events: Guess) -> list[str]:
    """Likes and negative events, by value and by name; nothing where the defaults say the same."""
    named, negative = [], []
    if events.actions is not None:
        named = events.actions.render_likes()
        negative = [*events.actions.render_negative(), *events.actions.render_strengths()]
    lines = [*_render_thresholds(rows, events), *named]
    return [*(["", "[actions]", *lines] if lines else []), *negative]


def _render_thresholds(rows: Sequence[Event], events: Guess) -> list[str]:
    """Thresholds of likes and dislikes. A low amount or count, unlike a rating, is no dislike."""
    values = [event.value for event in rows if event.value is not None]
    like = _guess_like_threshold(values)
    if like is None:
        return []
    lines = [f"like_at_least = {like}     # from this value on: a like"]
    is_named = fold(events.mapping.get("value", "")) in names("values")["rating"]
    actions = {event.action for event in rows if event.value is not None}
    is_rating = is_named or (
        "action" in events.mapping and actions <= set(names("actions")["rating"])
    )
    dislike = _guess_dislike_threshold(values)
    if dislike is not None:
        note = "up to this value: a dislike, a negative event"
        line = f"dislike_at_most = {dislike}     # "
        lines.append(f"{line}{note}" if is_rating else f"# {line}if values are ratings: {note}")
    return lines


def _render_columns(table: str, guess: Guess) -> list[str]:
    lines = ["", f"[{table}.columns]     # Serendip's name = your column"]
    lines += [f"{name} = {_quote(column)}" for name, column in guess.mapping.items()]
    others = [" ".join(name.split()) for name in guess.others]  # a comment is one line
    if others and table in ("items", "users"):
        lines.append(f"# kept as attributes: {', '.join(others)}")
    elif others:
        lines.append(f"# not used: {', '.join(others)}")
    return lines


def _quote(text: str) -> str:
    """A TOML basic string; JSON escapes are a subset of TOML's."""
    return json.dumps(text, ensure_ascii=False)
