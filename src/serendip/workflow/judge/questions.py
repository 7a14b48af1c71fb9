"""What an LLM is told of a pair: words and the item's texts, and never who asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from serendip.data.item import Item
from serendip.engine.workspace import Workspace
from serendip.errors import UnknownItemError
from serendip.workflow.judge.pair_files import Pair

_LONGEST_TEXT = 600
_MOST_ATTRIBUTES = 12


def questions_about(workspace: Workspace, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Of each pair what is told of it.

    Raises:
        UnknownItemError: an item is not in the workspace.
    """
    with closing(workspace.open_store()) as store:
        items = {item.item_id: item for item in store.items()}
    missing = [item for _, item in pairs if item not in items]
    if missing:
        raise UnknownItemError(
            f"{len(missing)} pairs name items that are not there, as {missing[0]!r}.",
            "Import the items first.",
        )
    return [
        {"query": query[:_LONGEST_TEXT], "item": item_texts(items[item])} for query, item in pairs
    ]


def item_texts(item: Item) -> Mapping[str, Any]:
    """Title, description and attributes, cut to what a judge needs.

    Names of attributes are the catalogue's, too: they stand apart from those of this file.
    """
    names = list(item.attributes)[:_MOST_ATTRIBUTES]
    texts = {
        "title": item.title[:_LONGEST_TEXT],
        "description": item.description[:_LONGEST_TEXT],
        "attributes": {name: item.field_text(name)[:_LONGEST_TEXT] for name in names},
    }
    return {name: value for name, value in texts.items() if value}
