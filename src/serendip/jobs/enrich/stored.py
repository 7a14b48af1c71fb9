"""``serendip enrich show`` and ``revert``: what was generated for items, and its removal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any, TypeVar

from serendip.data.store.tables.generated_texts import GeneratedText, fresh
from serendip.data.store.tables.generated_values import GeneratedValue, fresh_values, lacks
from serendip.engine.workspace import Workspace
from serendip.jobs.enrich.gate import REPORT_FILE, VALUES_FILE, read_reports
from serendip.runtime.atomic_files import write_json


def revert_generated(workspace: Workspace, attribute: str | None = None) -> int:
    """Delete all generated texts and values and the gates' reports; the next training uses none.

    LLM answers stay in the ledger, so that writing them again costs nothing.

    Args:
        workspace: of both.
        attribute: whose values alone are deleted; None = everything is.

    Returns:
        number of deleted texts and values.
    """
    if attribute is not None:
        return _revert_attribute(workspace, attribute)
    with closing(workspace.open_store()) as store:
        removed = store.generated_texts.remove_all() + store.generated_values.remove_all()
    for name in (REPORT_FILE, VALUES_FILE):
        (workspace.reports / name).unlink(missing_ok=True)
    return removed


def _revert_attribute(workspace: Workspace, attribute: str) -> int:
    with closing(workspace.open_store()) as store:
        removed = sum(one.attribute == attribute for one in store.generated_values.all())
        store.generated_values.replace(attribute, [])
    reports = read_reports(workspace.reports)
    if reports.pop(attribute, None) is not None:
        write_json(workspace.reports / VALUES_FILE, reports)
    return removed


def describe_generated(workspace: Workspace, limit: int) -> dict[str, Any]:
    """Count the generated texts and values, and list the first ones with their origin.

    Args:
        workspace: of both.
        limit: largest number of listed texts, and of listed values: first those of items that lack
            them.
    """
    with closing(workspace.open_store()) as store:
        items, texts = store.items(), store.generated_texts.all()
        values = store.generated_values.all()
    own = {item.item_id: item for item in items}
    values.sort(key=lambda one: one.item_id in own and not lacks(own[one.item_id], one.attribute))
    report = workspace.reports / REPORT_FILE
    return {
        **_describe(texts, fresh(items, texts), ("texts", "field"), limit),
        "gate": json.loads(report.read_text(encoding="utf-8")) if report.is_file() else None,
        "attributes": {
            **_describe(values, fresh_values(items, values), ("values", "attribute"), limit),
            "gates": read_reports(workspace.reports),
        },
    }


Generated = TypeVar("Generated", GeneratedText, GeneratedValue)


def _describe(
    rows: Sequence[Generated], fresh_rows: Sequence[Generated], names: tuple[str, str], limit: int
) -> dict[str, Any]:
    """Counts of texts or of values, by source and kind, and the first ones.

    Args:
        rows: all.
        fresh_rows: those whose items have not changed since.
        names: of the rows, and of their kind.
        limit: number of listed ones.
    """
    what, kind = names
    current = set(fresh_rows)
    counts = Counter((one.source, getattr(one, kind)) for one in rows)
    in_use = [one for one in rows if one.active and one in current]
    used = Counter((one.source, getattr(one, kind)) for one in in_use)
    return {
        what: len(rows),
        "active": len(in_use),
        "outdated": len(rows) - len(current),
        "counts": [
            {"source": key[0], kind: key[1], what: count, "active": used[key]}
            for key, count in sorted(counts.items())
        ],
        "listed": [{**asdict(one), "outdated": one not in current} for one in rows[:limit]],
    }
