"""``serendip import``: imports the files of serendip.toml into the database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption

NAME = "import"
HELP = "Import the files of serendip.toml into the database, all or nothing."


def run(
    workspace: WorkspaceOption = Path(),
    allow_loss: Annotated[
        bool,
        typer.Option(
            "--allow-loss",
            help="Import files without more than a tenth of the items or events of before.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Import items, events and users; data posted to the API stay."""
    from serendip.engine.artefacts.generations import current_name
    from serendip.engine.workspace import Workspace
    from serendip.jobs.import_files import import_files

    terminal = Terminal(json)
    opened = Workspace.open(workspace)
    with terminal.options().progress.step("import"):
        summary = import_files(opened, allow_loss)
    terminal.say(
        f"{summary['items']:,} items and {summary['events']:,} events are in the database."
    )
    if "deleted_items" in summary:
        terminal.say(
            f"{summary['deleted_items']:,} items of the import before are not in the files any "
            "more and were deleted."
        )
    if current_name(opened.generations):
        terminal.say(
            "A running service finds them from its next start (kill -HUP) or training on, kinds of "
            "attributes too."
        )
    if "users" in summary:
        terminal.say(f"{summary['users']:,} users of the users file are in it.")
    if "erased_events" in summary:
        terminal.say(f"{summary['erased_events']:,} events of erased users were left out.")
    terminal.result(summary)
