"""``serendip llm show`` and ``revert``: what was written about items, and its removal."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import asdict
from typing import Any

from serendip.data.store.tables.generated import Kind
from serendip.data.store.tables.generated_items import fresh, lacks
from serendip.engine.workspace import Workspace
from serendip.jobs.llm.gates import REPORT_FILE, read_reports
from serendip.runtime.atomic_files import write_json


def revert_generated(
    workspace: Workspace, kind: Kind | None = None, name: str | None = None
) -> int:
    """Delete what was written about items and the gates' reports; the next training uses none.

    LLM answers stay in the ledger, so that writing them again costs nothing.

    Args:
        workspace: of all.
        kind: that alone is deleted; None = everything is.
        name: attribute whose values alone are deleted; None = all of the kind.

    Returns:
        number of deleted rows.
    """
    with closing(workspace.open_store()) as store:
        removed = store.generated.remove(kind, name)
    chosen = "".join(f"{part} " for part in (kind, name) if part)
    reports = read_reports(workspace.reports)
    kept = {key: report for key, report in reports.items() if not f"{key} ".startswith(chosen)}
    if kept != reports:
        write_json(workspace.reports / REPORT_FILE, kept)
    return removed


def describe_generated(workspace: Workspace, limit: int) -> dict[str, Any]:
    """Count what was written about items, and list the first rows with their origin.

    Args:
        workspace: of all.
        limit: largest number of listed rows of each kind: first values of items that lack them.
    """
    with closing(workspace.open_store()) as store:
        items, rows = store.items(), store.generated.rows()
    own, current = {item.item_id: item for item in items}, set(fresh(items, rows))
    rows.sort(
        key=lambda row: (
            row.kind == "value" and row.item_id in own and not lacks(own[row.item_id], row.name)
        )
    )
    groups = {row: (row.kind, "" if row.kind == "query" else row.name, row.source) for row in rows}
    written, used, listed = Counter(groups.values()), Counter[tuple[str, ...]](), []
    seen: Counter[str] = Counter()
    for row, group in groups.items():
        used[group] += row.active and row in current
        seen[row.kind] += 1
        if seen[row.kind] <= limit:
            listed.append({**asdict(row), "outdated": row not in current})
    return {
        "counts": [
            {"kind": kind, "name": name, "source": source, "rows": count, "active": used[key]}
            for key, count in sorted(written.items())
            for kind, name, source in [key]
        ],
        "outdated": len(rows) - len(current),
        "gates": read_reports(workspace.reports),
        "listed": listed,
    }
