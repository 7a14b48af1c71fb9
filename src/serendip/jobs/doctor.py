"""``serendip doctor``: the named checks over what is in the store, and over the items' files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

from serendip.content.config import open_media
from serendip.content.encoders.media_files import Media
from serendip.data.checks import CheckResult, Status, run_checks
from serendip.data.item import Item
from serendip.data.store.store import Store
from serendip.engine.workspace import Workspace
from serendip.errors import ExtraMissing
from serendip.runtime.progress import Progress, SilentProgress

_RESTORE = "restore it from a backup; `serendip import` makes another one from your files alone"


def check_workspace(workspace: Workspace, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Run every check; each result has name, status, count, total, message and examples.

    Where the database's file is damaged, that is the only result: its rows cannot be trusted.
    """
    with closing(workspace.open_store()) as store:
        results = [_integrity(store)]
        if results[0].status != "FAIL":
            results += run_checks(store)
            results += _media_checks(workspace, store, progress or SilentProgress())
    return [asdict(result) for result in results]


def _integrity(store: Store) -> CheckResult:
    """Whether the pages of the database's file fit together."""
    if damage := store.integrity():
        count = len(damage)
        message = f"places in the database's file are damaged: {_RESTORE}"
        examples = tuple(damage[:10])
        return CheckResult("database integrity", "FAIL", count, count, message, examples)
    return CheckResult("database integrity", "PASS", 0, 1, "the database's file is whole")


def _media_checks(workspace: Workspace, store: Store, progress: Progress) -> list[CheckResult]:
    """Whether the pictures and sounds that the settings name can be used."""
    media = open_media(workspace.settings.content, workspace.folder, workspace.cache)
    items = store.items() if media else []
    return [_files_check(name, source, items, progress) for name, source in media.items()]


def _files_check(
    name: str, source: Media, items: Sequence[Item], progress: Progress
) -> CheckResult:
    """Pictures or sounds that cannot be used; only a missing package stops a training."""
    try:
        report = source.check(items, progress)
    except ExtraMissing as error:
        return CheckResult(f"{name} files", "FAIL", 0, len(items), str(error))
    count = len(report.left_out)
    status: Status = "WARN" if count or not report.named else "PASS"
    named = report.named
    return CheckResult(f"{name} files", status, count, named, report.message, report.examples)
