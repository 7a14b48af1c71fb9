"""``serendip doctor``: the named checks over what is in the store, and over the items' files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

from serendip.content.media import Media
from serendip.content.modalities import open_media
from serendip.data.checks import CheckResult, Status, run_checks
from serendip.data.item import Item
from serendip.engine.workspace import Workspace
from serendip.errors import ExtraMissing
from serendip.scale.progress import Progress, SilentProgress


def check_workspace(workspace: Workspace, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Run every check; each result has name, status, count, total, message and examples."""
    media = open_media(workspace.settings.content, workspace.folder, workspace.cache)
    with closing(workspace.open_store()) as store:
        results = run_checks(store)
        items = store.items() if media else []
    follow = progress or SilentProgress()
    results += [_files_check(name, source, items, follow) for name, source in media.items()]
    return [asdict(result) for result in results]


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
