"""``serendip enrich show`` and ``revert``: what was generated for items, and its removal."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from dataclasses import asdict
from typing import Any

from serendip.data.store.tables.generated_texts import fresh
from serendip.data.store.tables.generated_values import fresh_values, lacks
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
    current, counts = set(fresh(items, texts)), Counter((one.source, one.field) for one in texts)
    report = workspace.reports / REPORT_FILE
    current_values = set(fresh_values(items, values))
    by_attribute = Counter((one.source, one.attribute) for one in values)
    in_use = [one for one in values if one.active and one in current_values]
    used = Counter((one.source, one.attribute) for one in in_use)
    own = {item.item_id: item for item in items}
    values.sort(key=lambda one: one.item_id in own and not lacks(own[one.item_id], one.attribute))
    return {
        "texts": len(texts),
        "active": sum(text.active and text in current for text in texts),
        "outdated": len(texts) - len(current),
        "counts": [
            {"source": source, "field": field, "texts": count}
            for (source, field), count in sorted(counts.items())
        ],
        "gate": json.loads(report.read_text(encoding="utf-8")) if report.is_file() else None,
        "listed": [{**asdict(text), "outdated": text not in current} for text in texts[:limit]],
        "attributes": {
            "values": len(values),
            "active": len(in_use),
            "outdated": len(values) - len(current_values),
            "counts": [
                {
                    "source": source,
                    "attribute": attribute,
                    "values": count,
                    "active": used[source, attribute],
                }
                for (source, attribute), count in sorted(by_attribute.items())
            ],
            "gates": read_reports(workspace.reports),
            "listed": [
                {**asdict(value), "outdated": value not in current_values}
                for value in values[:limit]
            ],
        },
    }
