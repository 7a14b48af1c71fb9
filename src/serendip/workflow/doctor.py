"""``serendip doctor``: the named checks over what is in the store."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Any

from serendip.data.checks import run_checks
from serendip.engine.workspace import Workspace


def check_workspace(workspace: Workspace) -> list[dict[str, Any]]:
    """Run every check; each result has name, status, count, total, message and examples."""
    with closing(workspace.open_store()) as store:
        return [asdict(result) for result in run_checks(store)]
