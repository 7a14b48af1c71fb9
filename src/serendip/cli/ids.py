"""``serendip ids``: the life cycle of semantic IDs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from serendip.cli.terminal import JsonOption, SeedOption, Terminal, WorkspaceOption

NAME = "ids"
HELP = "Build semantic IDs, extend them with new items, look at them, compare versions."

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("build")
def build(
    workspace: WorkspaceOption = Path(),
    refit: Annotated[bool, typer.Option("--refit", help="Fit codebooks again.")] = False,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Code all items: known ones keep their codes, unless --refit fits the codebooks again."""
    from serendip.engine.workspace import Workspace
    from serendip.workflow.semantic_ids import build_ids

    terminal = Terminal(json)
    version, is_new = build_ids(Workspace.open(workspace), terminal.options(seed), refit)
    changes = version.manifest["changes"]
    if is_new:
        told = [f"{name} {value}" for name, value in changes.items() if name not in ("kept",)]
        terminal.say(f"{version.name} is current: {', '.join(told)}")
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
    """One item with its codes and the names of its groups, or one group with its members."""
    from serendip.engine.workspace import Workspace
    from serendip.workflow.id_views import show as look

    terminal = Terminal(json)
    found = look(Workspace.open(workspace), name)
    if "item_id" in found:
        terminal.say(f"{found['item_id']}  {found['full_id']}  ({found['version']})")
        for group in found["prefixes"]:
            terminal.say(f"  {group['prefix']:<16} {group['members']:>7} items  {group['name']}")
    else:
        terminal.say(f"{found['prefix']}  {found['members']} items  {found['name']}")
        for member in found["items"]:
            terminal.say(f"  {member['id']:<16} {member['item_id']}")
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
    from serendip.workflow.id_views import diff as compare

    terminal = Terminal(json)
    found = compare(Workspace.open(workspace), before, after)
    terminal.say(
        f"{before} -> {after}: {found['shared']} items in both, {found['moved']} moved, "
        f"{found['new']} new, {found['left_out']} left out"
    )
    _kept(terminal, [*found["kept"], found["kept_all_levels"]] if found["kept"] else [])
    for one in found["examples"]:
        terminal.say(f"  {one['item_id']:<24} {one['before']} -> {one['after']}")
    terminal.result(found)


@app.command("report")
def report(
    workspace: WorkspaceOption = Path(), seed: SeedOption = 0, json: JsonOption = False
) -> None:
    """How good the current IDs are; also written to reports/semantic-ids.json."""
    from serendip.engine.workspace import Workspace
    from serendip.workflow.id_views import report as measure

    terminal = Terminal(json)
    found = measure(Workspace.open(workspace), terminal.options(seed))
    terminal.say(f"{found['version']}: {found['num_items']} items")
    terminal.semantic_ids(found)
    for level, share in enumerate(found["largest"]):
        terminal.say(f"    level {level}: the largest code has {100 * share:.1f} % of the items")
    _agreement(terminal, found)
    for group in found["groups"]:
        terminal.say(f"  {group['prefix']:<8} {group['items']:>7} items  {group['name']}")
    terminal.result(found)


def _kept(terminal: Terminal, shares: list[float]) -> None:
    for level, share in enumerate(shares[:-1]):
        terminal.say(f"  level {level}: {100 * share:.1f} % of the items keep their code")
    if shares:
        terminal.say(f"  all levels: {100 * shares[-1]:.1f} %")


def _agreement(terminal: Terminal, found: dict[str, Any]) -> None:
    if found["neighbour_agreement"] is not None:
        share = 100 * found["neighbour_agreement"]
        terminal.say(f"  {share:.1f} % share their first code with the nearest item by content")
    if found["pair_agreement"] is not None:
        together, chance = (100 * found["pair_agreement"][k] for k in ("together", "by_chance"))
        terminal.say(
            f"  {together:.1f} % of the items chosen together share it ({chance:.1f} % by chance)"
        )
