"""``serendip enrich revert`` and ``show``: texts out again, and what there is of them."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from dataclasses import asdict
from typing import Any

from serendip.data.store.generated_texts import fresh
from serendip.engine.workspace import Workspace
from serendip.workflow.enrich.gate import REPORT_FILE


def revert_texts(workspace: Workspace) -> int:
    """Take out every text and the gate's verdict; the next training is as if there had been none.

    Answers that an LLM was paid for stay in the ledger: writing them again costs nothing.

    Returns:
        number of texts that were taken out.
    """
    with closing(workspace.open_store()) as store:
        removed = store.written.remove_all()
    (workspace.reports / REPORT_FILE).unlink(missing_ok=True)
    return removed


def told_texts(workspace: Workspace, limit: int) -> dict[str, Any]:
    """Counts by source and field, the last verdict, and the first texts with their origin.

    Args:
        workspace: whose texts.
        limit: most texts that are listed.
    """
    with closing(workspace.open_store()) as store:
        items, texts = store.items(), store.written.all()
    current = set(fresh(items, texts))
    counts = Counter((one.source, one.field) for one in texts)
    report = workspace.reports / REPORT_FILE
    return {
        "texts": len(texts),
        "active": sum(one.active and one in current for one in texts),
        "outdated": len(texts) - len(current),
        "counts": [
            {"source": source, "field": field, "texts": count}
            for (source, field), count in sorted(counts.items())
        ],
        "gate": json.loads(report.read_text(encoding="utf-8")) if report.is_file() else None,
        "listed": [{**asdict(one), "outdated": one not in current} for one in texts[:limit]],
    }
