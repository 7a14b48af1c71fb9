"""``serendip ids``: the life cycle of semantic IDs."""

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
HELP = "Build semantic IDs, extend them with new items, look at them, compare versions."

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("build")
def build(
    workspace: WorkspaceOption = Path(),
    refit: Annotated[bool, typer.Option("--refit", help="Fit codebooks again.")] = False,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    json: JsonOption = False,
) -> None:
    """Code all items: known ones keep their codes, unless --refit fits the codebooks again."""
    from serendip.jobs.context import JobContext
    from serendip.jobs.semantic_ids.build import build_ids

    terminal = Terminal(json)
    context = JobContext.open(workspace, terminal.options(seed, device))
    version, is_new = build_ids(context, refit)
    changes = version.manifest["changes"]
    if is_new:
        terminal.say(f"{version.name} is current: {_told(changes)}")
        _kept(terminal, changes.get("kept", []))
    else:
        terminal.say(f"{version.name} is up to date.")
    terminal.semantic_ids(version.manifest["quality"])
    document = {"version": version.name, "created": is_new, "parent": version.manifest["parent"]}
    terminal.result({**document, "changes": changes, "quality": version.manifest["quality"]})


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Item id, or code prefix such as 12 or 12-7.")],
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """One item with its codes and the names of its groups, or one group with what is in it."""
    from serendip.engine.workspace import Workspace
    from serendip.jobs.semantic_ids.inspect import show as look

    terminal = Terminal(json)
    found = look(Workspace.open(workspace), name)
    if "item_id" in found:
        gone = "" if found["listed"] else ", no longer in the catalogue"
        terminal.say(f"{found['full_id']}  {found['item_id']}  {found['title']}")
        _groups(terminal, [{**one, "items": one["members"]} for one in found["prefixes"]])
        terminal.say(f"  in {found['version']}{gone}")
    else:
        terminal.say(f"{found['prefix']}  {found['members']:,} items  {found['name']}")
        _groups(terminal, found["groups"])
        _others(terminal, found["num_groups"] - len(found["groups"]), "groups")
        for member in found["items"]:
            terminal.say(f"  {member['id']:<12} {member['item_id']:<16} {member['title']}")
        _others(terminal, found["members"] - len(found["items"]), "items")
    terminal.result(found)


@app.command("diff")
def diff(
    before: Annotated[str, typer.Argument(help="A version, v1 for one.")],
    after: Annotated[str, typer.Argument(help="Another version.")],
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Which items have other codes in another version."""
    from serendip.engine.workspace import Workspace
    from serendip.jobs.semantic_ids.inspect import diff as compare

    terminal = Terminal(json)
    found = compare(Workspace.open(workspace), before, after)
    terminal.say(
        f"{before} -> {after}: {found['shared']:,} items in both, {found['moved']:,} moved, "
        f"{found['new']:,} new, {found['left_out']:,} left out"
    )
    _kept(terminal, [*found["kept"], found["kept_all_levels"]] if found["kept"] else [])
    for one in found["examples"]:
        codes = f"{one['before']} -> {one['after']}"
        terminal.say(f"  {codes:<28} {one['item_id']:<16} {one['title']}")
    _others(terminal, found["moved"] - len(found["examples"]), "items")
    terminal.result(found)


@app.command("report")
def report(
    workspace: WorkspaceOption = Path(),
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    json: JsonOption = False,
) -> None:
    """How good the current IDs are; also written to reports/semantic-ids.json and .html."""
    from serendip.evaluate.report.page import sentences
    from serendip.jobs.context import JobContext
    from serendip.jobs.semantic_ids.inspect import REPORT_HTML
    from serendip.jobs.semantic_ids.inspect import report as measure

    terminal = Terminal(json)
    context = JobContext.open(workspace, terminal.options(seed, device))
    found = measure(context)
    terminal.say(f"{found['version']}: {found['num_items']:,} items")
    for sentence in sentences(found):
        terminal.say(f"  {sentence}")
    terminal.code_use(found)
    for level, share in enumerate(found["largest"]):
        terminal.say(f"    level {level}: the largest code has {100 * share:.1f} % of the items")
    _groups(terminal, found["groups"])
    _others(terminal, found["used"][0] - len(found["groups"]), "groups")
    terminal.say(f"Report: {context.workspace.reports / REPORT_HTML}")
    terminal.result(found)


def _told(changes: Mapping[str, Any]) -> str:
    """What a new version changes, in words."""
    counts = {name: changes.get(name, 0) for name in ("new", "recoded", "gone", "back")}
    told = [f"{count:,} {name}" for name, count in counts.items() if count]
    return ", ".join([*(["codebooks fitted"] if changes.get("refit") else []), *told])


def _groups(terminal: Terminal, groups: Sequence[Mapping[str, Any]]) -> None:
    for group in groups:
        terminal.say(f"  {group['prefix']:<12} {group['items']:>7,} items  {group['name']}")


def _others(terminal: Terminal, count: int, noun: str) -> None:
    if count:
        terminal.say(f"  and {count:,} more {noun}")


def _kept(terminal: Terminal, shares: Sequence[float]) -> None:
    for level, share in enumerate(shares[:-1]):
        terminal.say(f"  level {level}: {100 * share:.1f} % of the items keep their code")
    if shares:
        terminal.say(f"  all levels: {100 * shares[-1]:.1f} %")
