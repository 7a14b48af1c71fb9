"""OpenSearch: bulk requests that index the items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from serendip.data.items.catalogue import Item
from serendip.jobs.exchange.rows import ExportFormat, item_row, json_line


class OpenSearchFormat(ExportFormat):
    """Bulk requests that index the items: an action line, then a document line."""

    def write_items(self, folder: Path, items: Sequence[Item]) -> None:
        """``items.ndjson``, for ``POST /items/_bulk``."""
        with (folder / "items.ndjson").open("w", encoding="utf-8") as file:
            for item in items:
                file.write(json_line({"index": {"_id": item.item_id}}))
                file.write(json_line(item_row(item)))
