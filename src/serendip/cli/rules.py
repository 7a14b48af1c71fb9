"""``serendip rules``: what is pinned, boosted, buried, hidden, redirected or told, and for whom."""

from __future__ import annotations

import json as json_text
import tomllib
from contextlib import closing
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serendip.cli.keys import format_time
from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption, build_group, open_workspace
from serendip.errors import DataError

if TYPE_CHECKING:
    from serendip.data.rules import Rule

app = build_group("rules", "Pin, boost, bury or hide items, redirect searches, show banners.")

_WIDTH = 44


@app.command("list")
def list_rules(workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """List the rules, those that have not begun or have ended included."""
    terminal = Terminal(json)
    with closing(open_workspace(workspace).open_store()) as store:
        rules = store.rules.read()
    terminal.say(*map(_describe, rules.by_id.values()))
    listed = [rule.as_dict() for rule in rules.by_id.values()]
    terminal.result({"version": rules.version, "rules": listed})


@app.command("history")
def show_history(workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """List all changes of rules, oldest first: what was in force when."""
    terminal = Terminal(json)
    with closing(open_workspace(workspace).open_store()) as store:
        changes = store.rules.history()
    for change in changes:
        told = _describe(change.rule) if change.rule else f"{change.rule_id}: removed"
        terminal.say(f"{change.version:5}  {format_time(change.changed)}  {told}")
    terminal.result({"changes": list(map(asdict, changes))})


@app.command("put")
def put(
    file: Annotated[Path, typer.Argument(help="TOML with a table [[rules]] for each rule.")],
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Store the rules of a file in place of those of their ids: all or none.

    A running service obeys them within a second.
    """
    from serendip.engine.engine import Engine

    terminal, rules = Terminal(json), _read_file(file)
    with closing(Engine.open(workspace)) as engine:
        changed = engine.put_rules(rules)
        unknown = engine.unknown_items(item for rule in rules for item in rule.items)
    terminal.say(f"{len(changed):,} of {len(rules):,} rules are new or changed")
    if unknown:
        terminal.say(f"  no item has these ids yet: {', '.join(unknown)}")
    terminal.result({"rules": len(rules), "changed": changed, "unknown_items": unknown})


@app.command("remove")
def remove(
    rule: Annotated[str, typer.Argument(help="Id of the rule.")],
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Remove a rule; its history stays."""
    with closing(open_workspace(workspace).open_store()) as store:
        if not store.rules.put({rule: None}):
            raise DataError(f"there is no rule {rule[:80]!r}.", "See `serendip rules list`.")
    Terminal(json).say(f"{rule}: removed")
    Terminal(json).result({"rule_id": rule})


@app.command("preview")
def preview(
    file: Annotated[
        Path | None, typer.Argument(help="TOML with [[rules]]; without it those in force.")
    ] = None,
    workspace: WorkspaceOption = Path(),
    surface: Annotated[str, typer.Option(help="As in `serendip recommend`.")] = "search",
    query: Annotated[str, typer.Option(help="What was typed.")] = "",
    user: Annotated[str, typer.Option(help="User id; empty = a new visitor.")] = "",
    item: Annotated[list[str] | None, typer.Option(help="Context item; repeatable.")] = None,
    filters: Annotated[
        list[str] | None, typer.Option("--filter", help="genres=Comedy; repeatable.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Number of items.")] = 10,
    json: JsonOption = False,
) -> None:
    """Show a list with rules beside the list without them; nothing is stored.

    Times of the file's rules are not read: a campaign is seen before it begins.
    """
    from serendip.engine.engine import Engine
    from serendip.engine.request import Request

    terminal, rules = Terminal(json), _read_file(file) if file else []
    filtered = tuple(filters or ())
    request = Request(surface, user, query, tuple(item or ()), k=k, filters=filtered)
    with closing(Engine.open(workspace)) as engine:
        after, before = engine.preview(request, rules)
    terminal.say(f"     {'without':<{_WIDTH}}  with")
    titles = ([one.title for one in answer.items] for answer in (before, after))
    for position, (old, new) in enumerate(zip_longest(*titles, fillvalue=""), 1):
        terminal.say(f"{position:3}  {old:<{_WIDTH}.{_WIDTH}}  {new:.{_WIDTH}}")
    terminal.say(f"banner: {after.banner or 'none'}, redirect: {after.redirect or 'none'}")
    terminal.result({"with_rules": asdict(after), "without_rules": asdict(before)})


def _read_file(path: Path) -> list[Rule]:
    from serendip.serve.api.requests import read_rules

    try:
        document = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.", "It is TOML in UTF-8.") from None
    # As in JSON, whose times are texts.
    return read_rules(json_text.loads(json_text.dumps(document, default=str)))


def _describe(rule: Rule) -> str:
    facts: dict[str, Any] = rule.as_dict()
    facts |= {name: format_time(facts[name]) for name in ("begins", "ends") if name in facts}
    listed = json_text.dumps(facts, ensure_ascii=False)
    return listed.strip("{}").replace('"', "")
