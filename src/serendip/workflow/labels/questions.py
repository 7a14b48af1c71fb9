"""What an LLM is told of a pair: words and the item's texts, and never who asked."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from serendip.engine.workspace import Workspace
from serendip.errors import UnknownItemError
from serendip.jobs.llm_job import _LONGEST_TEXT, item_texts
from serendip.workflow.labels.pair_files import Pair


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
