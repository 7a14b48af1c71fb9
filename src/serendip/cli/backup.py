"""``serendip backup``: copies a workspace that is in use, with a checksum of every file."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption

NAME = "backup"
HELP = "Copy a workspace that is in use, to a folder or an object store."


def run(
    target: Annotated[str, typer.Argument(help="Empty folder, or a URL such as s3://bucket/name.")],
    workspace: WorkspaceOption = Path(),
    forget: Annotated[
        bool, typer.Option("--forget", help="Only note that the backup there was deleted.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only read the backup there, and compare checksums.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Copy database, published generation and settings; others read and write on."""
    from serendip.engine.workspace import Workspace
    from serendip.jobs.backup.folder import BackupFolder
    from serendip.jobs.backup.save import back_up
    from serendip.jobs.backup.save import verify as verify_backup

    terminal = Terminal(json)
    progress = terminal.options().progress
    if verify:
        with progress.step("verify"):
            files = verify_backup(target, progress)
        terminal.say(f"{files:,} files are as the manifest says: {target}")
        terminal.result({"target": target, "files": files})
        return
    opened = Workspace.open(workspace)
    if forget:
        with closing(opened.open_store()) as store:
            known = store.backups.forget(BackupFolder.of(target).name)
        terminal.say(f"{target} {'is' if known else 'was'} not in the list of backups any more.")
        terminal.result({"target": target, "known": known})
        return
    with progress.step("backup"):
        summary = back_up(opened, target, progress)
    terminal.say(
        f"{summary.items:,} items and {summary.events:,} events, {summary.files:,} files of "
        f"{summary.bytes / 1e6:,.0f} MB: {summary.target}"
    )
    for damage in summary.damage.splitlines():
        terminal.say(f"Not in it: {damage}")
    terminal.result(asdict(summary))
