"""``serendip doctor``: named checks of the data, each PASS, WARN or FAIL."""

from __future__ import annotations

from pathlib import Path

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption

NAME = "doctor"
HELP = "Check the data: every named check prints PASS, WARN or FAIL with counts and examples."


def run(workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """Check the data in the database. Exit 1 = a check failed."""
    from serendip.engine.workspace import Workspace
    from serendip.jobs.doctor import check_workspace

    terminal = Terminal(json)
    results = check_workspace(Workspace.open(workspace), terminal.options().progress)
    show(results, terminal)
    terminal.result({"checks": results})
    if any(result["status"] == "FAIL" for result in results):
        raise typer.Exit(1)


def show(results: list[dict[str, object]], terminal: Terminal) -> None:
    """Print one line per check, with examples for those that do not pass."""
    for result in results:
        terminal.say(f"  {result['status']:<4}  {result['name']:<28} {result['message']}")
        examples = result["examples"]
        if result["status"] != "PASS" and isinstance(examples, list) and examples:
            shown = ", ".join(str(example) for example in examples[:5])
            terminal.say(f"        {'':<28} e.g. {shown}")
