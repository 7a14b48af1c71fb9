"""``serendip doctor``: the named checks over what is in the store."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Any

from serendip.data.checks import CheckResult, run_checks
from serendip.data.store import Store
from serendip.engine.workspace import Workspace

_RESTORE = "restore it from a backup; `serendip import` makes another one from your files alone"


def check_workspace(workspace: Workspace) -> list[dict[str, Any]]:
    """Run every check; each result has name, status, count, total, message and examples.

    Where the database's file is damaged, that is the only result: its rows cannot be trusted.
    """
    with closing(workspace.open_store()) as store:
        file = _integrity(store)
        rows = [] if file.status == "FAIL" else run_checks(store)
    return [asdict(result) for result in (file, *rows)]


def _integrity(store: Store) -> CheckResult:
    """Whether the pages of the database's file fit together."""
    if damage := store.integrity():
        count = len(damage)
        message = f"places in the database's file are damaged: {_RESTORE}"
        examples = tuple(damage[:10])
        return CheckResult("database integrity", "FAIL", count, count, message, examples)
    return CheckResult("database integrity", "PASS", 0, 1, "the database's file is whole")
