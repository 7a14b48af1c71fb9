"""``serendip doctor``: named checks of the data in the store and of the items' media files."""

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
from serendip.errors import ExtraMissing, StorageError
from serendip.runtime.progress import Progress, SilentProgress

_RESTORE = "restore it from a backup, or run `serendip import` for a new one from your files alone"


def check_workspace(workspace: Workspace, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Run all checks; each result has name, status, count, total, message and examples.

    If the database file or the event log is damaged, the checks end there: rows may be wrong.
    """
    progress = progress or SilentProgress()
    with closing(workspace.open_store()) as store, progress.step("checks of the data"):
        results = [_check_integrity(store)]
        if results[0].status != "FAIL":
            results.append(_check_log(store))
        if results[-1].status != "FAIL":
            results += run_checks(store)
            results += _check_media(workspace, store, progress)
    return [asdict(result) for result in results]


def _check_integrity(store: Store) -> CheckResult:
    """Check the pages of the database file."""
    if damage := store.integrity():
        count = len(damage)
        message = f"places in the database file are damaged: {_RESTORE}"
        examples = tuple(damage[:10])
        return CheckResult("database integrity", "FAIL", count, count, message, examples)
    return CheckResult("database integrity", "PASS", 0, 1, "the database file is intact")


def _check_log(store: Store) -> CheckResult:
    """Check the files of the event log's segments."""
    name = "event log integrity"
    try:
        count = store.verify_log()
    except StorageError as error:
        return CheckResult(name, "FAIL", 1, 1, str(error))
    return CheckResult(name, "PASS", 0, count, "the segments of the event log are intact")


def _check_media(workspace: Workspace, store: Store, progress: Progress) -> list[CheckResult]:
    """Check the pictures and sounds of the columns in the settings."""
    media = open_media(workspace.settings.content, workspace.folder, workspace.cache)
    items = store.items() if media else []
    return [_check_files(name, source, items, progress) for name, source in media.items()]


def _check_files(
    name: str, source: Media, items: Sequence[Item], progress: Progress
) -> CheckResult:
    """Count unusable files: a warning, unlike a missing package, which a training needs."""
    try:
        report = source.check(items, progress)
    except ExtraMissing as error:
        return CheckResult(f"{name} files", "FAIL", 0, len(items), str(error))
    count = len(report.left_out)
    status: Status = "WARN" if count or not report.named else "PASS"
    named = report.named
    return CheckResult(f"{name} files", status, count, named, report.message, report.examples)
