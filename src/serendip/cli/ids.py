"""``serendip ids``: inspects and compares the semantic IDs of generations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from serendip.cli.terminal import (
    DeviceOption,
    JsonOption,
    SeedOption,
    Terminal,
    WorkspaceOption,
)

NAME = "ids"
HELP = "Inspect semantic IDs, compare those of generations."

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Item id, or code prefix such as 12 or 12-7.")],
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Show an item with its codes and groups, or a group with its items and subgroups."""
    from serendip.engine.workspace import Workspace
    from serendip.jobs.semantic_ids.inspect import describe

    terminal = Terminal(json)
    summary = describe(Workspace.open(workspace), name)
    if "item_id" in summary:
        terminal.say(f"{summary['id']}  {summary['item_id']}  {summary['title']}")
        groups = [{**group, "items": group["members"]} for group in summary["prefixes"]]
        _print_groups(terminal, groups)
        terminal.say(f"  in {summary['version']}")
    else:
        terminal.say(f"{summary['prefix']}  {summary['members']:,} items  {summary['name']}")
        _print_groups(terminal, summary["groups"])
        _print_remaining(terminal, summary["num_groups"] - len(summary["groups"]), "groups")
        for member in summary["items"]:
            terminal.say(f"  {member['id']:<12} {member['item_id']:<16} {member['title']}")
        _print_remaining(terminal, summary["members"] - len(summary["items"]), "items")
    terminal.result(summary)


@app.command("diff")
def diff(
    before: Annotated[str, typer.Argument(help="A generation, such as gen-1.")],
    after: Annotated[str, typer.Argument(help="Another generation.")],
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """List the items whose codes differ between two generations."""
    from serendip.engine.workspace import Workspace
    from serendip.jobs.semantic_ids.inspect import compare_versions

    terminal = Terminal(json)
    changes = compare_versions(Workspace.open(workspace), before, after)
    terminal.say(
        f"{before} -> {after}: {changes['shared']:,} items in both, {changes['moved']:,} moved, "
        f"{changes['new']:,} new, {changes['left_out']:,} left out"
    )
    shares = [*changes["kept"], changes["kept_all_levels"]] if changes["kept"] else []
    _print_stability(terminal, shares)
    for item in changes["examples"]:
        codes = f"{item['before']} -> {item['after']}"
        terminal.say(f"  {codes:<28} {item['item_id']:<16} {item['title']}")
    _print_remaining(terminal, changes["moved"] - len(changes["examples"]), "items")
    terminal.result(changes)


@app.command("report")
def report(
    workspace: WorkspaceOption = Path(),
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    json: JsonOption = False,
) -> None:
    """Measure the quality of the current IDs and write reports/semantic-ids.json and .html."""
    from serendip.evaluate.report.page import sentences
    from serendip.jobs.semantic_ids.inspect import REPORT_HTML, write_report

    terminal = Terminal(json)
    with terminal.job("report on the semantic IDs", workspace, seed, device) as context:
        document = write_report(context)
    terminal.say(f"{document['version']}: {document['num_items']:,} items")
    for sentence in sentences(document):
        terminal.say(f"  {sentence}")
    terminal.print_code_use(document)
    for level, share in enumerate(document["largest"]):
        terminal.say(f"    level {level}: the largest code has {100 * share:.1f} % of the items")
    _print_groups(terminal, document["groups"])
    _print_remaining(terminal, document["used"][0] - len(document["groups"]), "groups")
    terminal.say(f"Report: {context.workspace.reports / REPORT_HTML}")
    terminal.result(document)


def _print_groups(terminal: Terminal, groups: Sequence[Mapping[str, Any]]) -> None:
    """Print prefix, size and name of each group."""
    for group in groups:
        terminal.say(f"  {group['prefix']:<12} {group['items']:>7,} items  {group['name']}")


def _print_remaining(terminal: Terminal, count: int, noun: str) -> None:
    """Print the number of things that are not listed, if any."""
    if count:
        terminal.say(f"  and {count:,} more {noun}")


def _print_stability(terminal: Terminal, shares: Sequence[float]) -> None:
    """Print the share of items with the same code per level, and with the same ID."""
    for level, share in enumerate(shares[:-1]):
        terminal.say(f"  level {level}: {100 * share:.1f} % of the items keep their code")
    if shares:
        terminal.say(f"  all levels: {100 * shares[-1]:.1f} %")
