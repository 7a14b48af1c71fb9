"""``serendip recommend``: answers for one user on the terminal, or for all users into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption
from serendip.errors import ConfigError

NAME = "recommend"
HELP = "Recommend for one user, or with --batch for every user into a Parquet file."


def run(
    workspace: WorkspaceOption = Path(),
    surface: Annotated[
        str, typer.Option(help="home, similar, cart, ... or one of your settings.")
    ] = "home",
    user: Annotated[str, typer.Option(help="User id; empty = a new visitor.")] = "",
    item: Annotated[list[str] | None, typer.Option(help="Context item; repeatable.")] = None,
    query: Annotated[str, typer.Option(help="Words, for a surface that searches.")] = "",
    country: Annotated[str, typer.Option(help="Country of the request; empty = unknown.")] = "",
    k: Annotated[int, typer.Option("-k", help="Items per user.")] = 10,
    batch: Annotated[bool, typer.Option("--batch", help="All users, into --out.")] = False,
    out: Annotated[Path | None, typer.Option(help="Parquet file for --batch.")] = None,
    json: JsonOption = False,
) -> None:
    """Answer from the published generation."""
    terminal = Terminal(json)
    if batch:
        if out is None:
            raise ConfigError("--batch needs a file.", "Add --out recs.parquet.")
        from serendip.jobs.export_recommendations import recommend_all

        progress = terminal.options().progress
        summary = recommend_all(workspace, surface, k, out, progress, country)
        terminal.say(f"{summary['rows']:,} rows for {summary['users']:,} users in {out}")
        for count, users in summary["users_by_items"].items():
            terminal.say(f"  {int(count) or 'no':>4} items: {users:,} users")
        terminal.result(summary)
        return
    from dataclasses import asdict

    from serendip.engine.engine import Engine
    from serendip.engine.request import Request

    engine = Engine.open(workspace)
    request = Request(surface, user, query, tuple(item or ()), country, k=k)
    answer = engine.recommend(request)
    for place, one in enumerate(answer.items, 1):
        shown = engine.item(one.item_id)
        title = shown.title if shown else ""
        reason = f"Sponsored. {one.reason}" if one.sponsored else one.reason
        terminal.say(f"{place:3}  {title or one.item_id:<44} {one.score:8.4f}  {reason}")
    terminal.result(asdict(answer))
    engine.close()
