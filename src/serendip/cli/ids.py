"""``serendip ids``: inspects the semantic IDs of the generation in force."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from serendip.cli.terminal import (
    JsonOption,
    Terminal,
    WorkspaceOption,
    build_group,
    open_workspace,
)

app = build_group("ids", "Inspect semantic IDs.")


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Item id, or code prefix such as 12 or 12-7.")],
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Show an item with its codes and groups, or a group with its items and subgroups."""
    from serendip.jobs.semantic_ids import describe

    terminal = Terminal(json)
    summary = describe(open_workspace(workspace), name)
    if "item_id" in summary:
        terminal.say(f"{summary['id']}  {summary['item_id']}  {summary['title']}")
        _print_groups(terminal, summary)
        terminal.say(f"  in {summary['version']}")
    else:
        terminal.say(f"{summary['prefix']}  {summary['members']:,} items  {summary['name']}")
        _print_groups(terminal, summary)
        for member in summary["items"]:
            terminal.say(f"  {member['id']:<12} {member['item_id']:<16} {member['title']}")
        _print_remaining(terminal, summary["members"] - len(summary["items"]), "items")
    terminal.result(summary)


def _print_groups(terminal: Terminal, summary: Mapping[str, Any]) -> None:
    groups = summary["groups"]
    terminal.say(
        *(f"  {one['prefix']:<12} {one['items']:>7,} items  {one['name']}" for one in groups)
    )
    _print_remaining(terminal, summary.get("num_groups", len(groups)) - len(groups), "groups")


def _print_remaining(terminal: Terminal, count: int, noun: str) -> None:
    if count:
        terminal.say(f"  and {count:,} more {noun}")
