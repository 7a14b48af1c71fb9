"""Rows of what an LLM wrote, as if their gate had passed."""

from collections.abc import Mapping
from contextlib import closing

from serendip.data.store.tables.generated import Generated
from serendip.engine.workspace import Workspace


def use_queries(workspace: Workspace, written: Mapping[str, str]) -> None:
    """Use these queries (text -> item id) and no others."""
    rows = [Generated("query", item, text, "llm", text, "m", "p") for text, item in written.items()]
    with closing(workspace.open_store()) as store:
        store.generated.remove("query")
        store.generated.put(rows)
        store.generated.activate(rows, "query")
