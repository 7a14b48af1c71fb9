"""``serendip doctor``: named checks of the data, the generation, the disk and the media files."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from serendip.content.config import open_media
from serendip.data.store.config import DATABASE_FILE
from serendip.data.store.store import Store
from serendip.engine.artefacts.generations import open_current
from serendip.engine.workspace import Workspace
from serendip.errors import ExtraMissing, NotTrainedError, SerendipError
from serendip.jobs.checks import CheckResult, Status, run_checks
from serendip.runtime.progress import Progress, SilentProgress
from serendip.runtime.sync import SharedFolder, Storage

_MIB = 1 << 20
_LEAST_FREE = 256 * _MIB
_RESTORE = "restore it from a backup, or run `serendip import` for a new one from your files alone"


def check_workspace(workspace: Workspace, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Run all checks; each result has name, status, count, total, message and examples.

    If the database file or the event log is damaged, the checks end there: rows may be wrong.
    """
    progress = progress or SilentProgress()
    with workspace.open_store() as store, progress.step("checks of the data"):
        results = [_check_integrity(store)]
        if results[0].status != "FAIL":
            results += [_check_version(store), _check_generation(workspace)]
            results += [_check_disk(workspace), *_check_storage(workspace), *run_checks(store)]
            results += _check_media(workspace, store, progress)
    return [asdict(result) for result in results]


def _check_integrity(store: Store) -> CheckResult:
    name = "database integrity"
    if damage := store.database.integrity():
        message = f"places in the database file are damaged: {_RESTORE}"
        return CheckResult(name, "FAIL", message, len(damage), len(damage), tuple(damage[:10]))
    if store.database.is_remote:
        message = "the server checks its own files: `pg_amcheck`, data checksums"
        return CheckResult(name, "PASS", message)
    return CheckResult(name, "PASS", "the database file is intact")


def _check_version(store: Store) -> CheckResult:
    version = store.database.version()
    name = version.split()[0]
    if weaknesses := store.database.weaknesses():
        count = len(weaknesses)
        return CheckResult(name, "WARN", "; ".join(weaknesses), count, count)
    return CheckResult(name, "PASS", version)


def _check_generation(workspace: Workspace) -> CheckResult:
    name = "generation"
    try:
        found = open_current(workspace.generations)
    except NotTrainedError:
        return CheckResult(name, "PASS", "none is published yet", total=0)
    except SerendipError as error:
        return CheckResult(name, "FAIL", str(error), 1)
    count = len(found.manifest["files"])
    return CheckResult(name, "PASS", f"the files of {found.name} are intact", total=count)


def _check_disk(workspace: Workspace) -> CheckResult:
    """Check that there is room for the next generation, and for the database to grow as much."""
    free = shutil.disk_usage(workspace.folder).free
    kept = (workspace.folder / DATABASE_FILE, *workspace.generation_folder.glob("*/*"))
    needed = max(_LEAST_FREE, sum(path.stat().st_size for path in kept if path.is_file()))
    message = f"{free // _MIB:,} MiB are free"
    if free < needed:
        message += f"; a training and new events may need {needed // _MIB:,}"
        return CheckResult("disk", "WARN", message, 1)
    return CheckResult("disk", "PASS", message)


def _check_storage(workspace: Workspace) -> Iterator[CheckResult]:
    """Check that the storage is the one that it was, and keeps the first of two who write."""
    place = workspace.generations
    if not isinstance(place, SharedFolder):
        return
    url = place.storage.url
    try:
        is_known = place.require_marker()
        problem = _find_problem(place.storage) if is_known else ""
    except SerendipError as error:
        problem = str(error)
    if problem:
        yield CheckResult("storage", "FAIL", problem, 1)
    elif is_known:
        message = f"{url} can be written to and refuses whoever comes second"
        yield CheckResult("storage", "PASS", message)
    else:
        message = (
            f"{url} was never used: the next training writes to it. If it is a folder of another "
            "machine, check that it is mounted"
        )
        yield CheckResult("storage", "WARN", message, 1)


def _find_problem(storage: Storage) -> str:
    """Write and remove a small object; what does not work, empty = all does."""
    key = f"doctor-{secrets.token_hex(8)}"
    try:
        if not storage.create(key, b"first") or storage.read(key) != b"first":
            return f"{storage.url} does not have what was written a moment ago"
        if storage.create(key, b"second"):
            return (
                f"{storage.url} does not obey conditional puts: of two machines that publish at "
                "once the last one would win"
            )
        return ""
    finally:
        storage.remove(key)


def _check_media(workspace: Workspace, store: Store, progress: Progress) -> Iterator[CheckResult]:
    """Count unusable pictures and sounds of the columns in the settings: a warning, unlike a
    missing package, which a training needs.
    """
    media = open_media(workspace.settings.content, workspace.folder)
    items = store.items() if media else []
    for modality, source in media.items():
        name = f"{modality} files"
        try:
            report = source.check(items, progress)
        except ExtraMissing as error:
            yield CheckResult(name, "FAIL", str(error), total=len(items))
            continue
        count, named = len(report.left_out), report.named
        status: Status = "WARN" if count or not named else "PASS"
        yield CheckResult(name, status, report.message, count, named, report.examples)
