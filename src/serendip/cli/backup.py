"""``serendip backup`` and ``restore``: copies of workspaces, with a checksum of every file."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption, open_workspace


def back_up(
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
    """Copy a workspace that is in use, to a folder or an object store.

    It has the database, the published generation and the settings; others read and write on.
    """
    from serendip.jobs.backup import save

    terminal = Terminal(json)
    if verify:
        with terminal.step("verify"):
            files = save.verify(target)
        terminal.say(f"{files:,} files are as the manifest says: {target}")
        terminal.result({"target": target, "files": files})
        return
    opened = open_workspace(workspace)
    if forget:
        with closing(opened.open_store()) as store:
            known = store.backups.forget(save.BackupFolder(target).name)
        terminal.say(f"{target} {'is' if known else 'was'} not in the list of backups any more.")
        terminal.result({"target": target, "known": known})
        return
    with terminal.step("backup"):
        summary = save.back_up(opened, target)
    terminal.say(
        f"{summary.items:,} items and {summary.events:,} events, {summary.files:,} files of "
        f"{summary.bytes / 1e6:,.0f} MB: {summary.target}",
        *(f"Not in it: {damage}" for damage in summary.damage.splitlines()),
    )
    terminal.result(asdict(summary))


def restore(
    source: Annotated[str, typer.Argument(help="Folder or URL of the backup.")],
    erasures_of: Annotated[
        str,
        typer.Option(
            help="The workspace that was backed up: erase again who was erased there; or none."
        ),
    ],
    workspace: WorkspaceOption = Path(),
    without_generation: Annotated[
        bool, typer.Option("--without-generation", help="Leave out a generation that is damaged.")
    ] = False,
    revoke_keys: Annotated[
        bool, typer.Option("--revoke-keys", help="Revoke all API keys.")
    ] = False,
    database: Annotated[
        str,
        typer.Option(
            envvar="SERENDIP_COPY_TO",
            show_envvar=True,
            help="URL of an empty PostgreSQL database for the rows. Default: a file.",
        ),
    ] = "",
    json: JsonOption = False,
) -> None:
    """Make a workspace of a backup, after everything in it was verified.

    The folder is missing or empty: a workspace is never overwritten.
    """
    from serendip.jobs.backup.restore import restore as restore_backup

    terminal = Terminal(json)
    known = None if erasures_of == "none" else Path(erasures_of)
    with terminal.step("restore"):
        summary = restore_backup(
            *(source, workspace, known),
            not without_generation,
            revoke_keys,
            database,
        )
    generation = summary.generation or "no generation: run `serendip train`"
    terminal.say(f"{summary.items:,} items, {summary.events:,} events, {generation}.")
    if database:
        terminal.say("Set [store] url, or SERENDIP_STORE__URL, to that database, then open it.")
    if known is None:
        terminal.say("Whoever was erased after the backup is back: erase them again.")
    else:
        terminal.say(
            f"Erased again: {summary.erased_users:,} users, {summary.erased_items:,} items."
        )
    if summary.active_keys:
        terminal.say(f"These API keys are accepted: {', '.join(summary.active_keys)}.")
    terminal.result(asdict(summary))
