"""Gorse: JSON lines of users, items and feedback, as its API takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serendip.data.events.event import Event
from serendip.data.files.times import parse_time
from serendip.data.items.attributes import Attribute
from serendip.data.items.catalogue import Item
from serendip.data.users.user import User
from serendip.jobs.exchange.rows import (
    ExportFormat,
    ForeignFiles,
    Place,
    Row,
    attribute_row,
    iso_time,
    item_with_texts,
    iterate_events,
    read_attributes,
    read_number,
    read_text,
    read_time,
    text_names,
    write_lines,
)

if TYPE_CHECKING:
    import pyarrow as pa


class GorseFormat(ExportFormat):
    """JSON lines of Gorse's users, items and feedback; a query without an item has no place."""

    def write_items(self, folder: Path, items: Sequence[Item]) -> None:
        """``items.jsonl``."""

        def row(item: Item) -> Row:
            texts = {"title": item.title, "description": item.description}
            labels = {name: text for name, text in texts.items() if text} | attribute_row(
                item.attributes
            )
            return {
                "ItemId": item.item_id,
                "IsHidden": False,
                "Categories": [],
                "Timestamp": iso_time(item.available_from or 0.0),
                "Labels": labels,
                "Comment": item.title,
            }

        write_lines(folder / "items.jsonl", items, row)

    def write_users(self, folder: Path, users: Sequence[User]) -> None:
        """``users.jsonl``."""
        write_lines(
            folder / "users.jsonl",
            users,
            lambda user: {
                "UserId": user.user_id,
                "Labels": attribute_row(user.attributes),
                "Comment": "",
            },
        )

    def write_events(self, folder: Path, events: pa.Table) -> None:
        """``feedback.jsonl``."""

        def row(event: Event) -> Row:
            return {
                "FeedbackType": event.action,
                "UserId": event.user_id,
                "ItemId": event.item_id,
                "Value": 1.0 if event.value is None else event.value,
                "Timestamp": iso_time(event.timestamp),
            }

        chosen = (event for event in iterate_events(events) if event.item_id)
        write_lines(folder / "feedback.jsonl", chosen, row)


_KEYS = ("ItemId", "UserId", "FeedbackType")
"""Fields that say what a row is."""


class GorseFiles(ForeignFiles):
    """Items, users and feedback of Gorse; what a row is, its fields say.

    Labels are attributes. A time of 1970 or before says nothing, and neither do the values of a
    type of feedback that are all 0 or 1: both are what Gorse fills in.
    """

    def items(self) -> Iterator[tuple[Place, Item]]:
        """Yield items that are not hidden; a title is a label, or else the comment."""
        rows: list[tuple[Place, Row, dict[str, Attribute]]] = []
        for place, row in self.objects():
            if not row.keys() & _KEYS:
                self.leave_out(f"rows without {', '.join(_KEYS[:-1])} and {_KEYS[-1]}")
            elif "ItemId" in row and "FeedbackType" not in row:
                with self.row(place):
                    rows.append((place, row, _labels(row) | _categories(row)))
        title, description = text_names(name for _, _, labels in rows for name in labels)
        for place, row, labels in rows:
            if row.get("IsHidden"):
                self.leave_out("items that are hidden")
                continue
            with self.row(place):
                item = item_with_texts(read_text(row["ItemId"]), labels, title, description)
                yield (
                    place,
                    replace(
                        item,
                        title=item.title or read_text(row.get("Comment")),
                        available_from=_read_beginning(row.get("Timestamp")),
                    ),
                )

    def users(self) -> Iterator[tuple[Place, User]]:
        """Yield users; their labels are attributes."""
        for place, row in self._rows("UserId"):
            if "FeedbackType" not in row:
                with self.row(place):
                    yield place, User(read_text(row["UserId"]), _labels(row))

    def events(self) -> Iterator[tuple[Place, Event]]:
        """Yield feedback."""
        valued = set()
        for place, row in self._rows("FeedbackType"):
            with self.row(place):
                if read_number(row.get("Value"), "Value") not in (None, 0.0, 1.0):
                    valued.add(read_text(row["FeedbackType"]))
        for place, row in self._rows("FeedbackType"):
            with self.row(place):
                action = read_text(row["FeedbackType"])
                value = read_number(row.get("Value"), "Value") if action in valued else None
                yield (
                    place,
                    Event(
                        read_text(row.get("UserId")),
                        read_text(row.get("ItemId")),
                        read_time(row.get("Timestamp")),
                        action,
                        value,
                    ),
                )

    def _rows(self, name: str) -> Iterator[tuple[Place, Row]]:
        """Rows that have a field."""
        return ((place, row) for place, row in self.objects() if name in row)


def _read_beginning(value: Any) -> float | None:
    """From when on an item may be shown; None = it does not say."""
    text = read_text(value)
    with suppress(ValueError):
        if parse_time(text) <= 0.0:
            return None
    return read_time(text) if text else None


def _labels(row: Mapping[str, Any]) -> dict[str, Attribute]:
    labels = row.get("Labels")
    return read_attributes(labels if isinstance(labels, dict) else {"labels": labels})


def _categories(row: Mapping[str, Any]) -> dict[str, Attribute]:
    return read_attributes({"categories": row.get("Categories")})
