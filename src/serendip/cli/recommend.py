"""``serendip recommend``: recommendations for one user, or for all users into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import (
    AddressOption,
    EngineOption,
    JsonOption,
    Terminal,
    WorkspaceOption,
)
from serendip.errors import ConfigError

NAME = "recommend"
HELP = "Recommend for one user, or with --batch for all users into a Parquet file."


def run(
    workspace: WorkspaceOption = Path(),
    surface: Annotated[
        str, typer.Option(help="home, similar, cart, ... or a surface of your settings.")
    ] = "home",
    user: Annotated[str, typer.Option(help="User id; empty = a new visitor.")] = "",
    item: Annotated[list[str] | None, typer.Option(help="Context item; repeatable.")] = None,
    query: Annotated[str, typer.Option(help="Query text, for a search surface.")] = "",
    country: Annotated[
        str, typer.Option(help="Country of the request; empty = that of the user.")
    ] = "",
    device: Annotated[str, typer.Option(help="Kind of device; empty = unknown.")] = "",
    k: Annotated[int, typer.Option("-k", help="Largest number of items per user.")] = 10,
    batch: Annotated[bool, typer.Option("--batch", help="Write all users to --out.")] = False,
    out: Annotated[Path | None, typer.Option(help="Parquet file for --batch.")] = None,
    engine: EngineOption = None,
    address: AddressOption = None,
    json: JsonOption = False,
) -> None:
    """Recommend with the published generation."""
    terminal = Terminal(json)
    if batch:
        if out is None:
            raise ConfigError("--batch needs --out.", "Add --out recommendations.parquet.")
        from serendip.jobs.export_recommendations import recommend_all
        from serendip.runtime.executor_config import EngineChoice

        options = terminal.engine_options(workspace, EngineChoice(engine, address))
        with options.progress.step("recommendations"):
            summary = recommend_all(workspace, surface, k, out, options, country, device)
        terminal.say(f"{summary['rows']:,} rows for {summary['users']:,} users in {out}")
        for count, users in summary["users_by_items"].items():
            terminal.say(f"  {int(count) or 'no':>4} items: {users:,} users")
        terminal.result(summary)
        return
    from dataclasses import asdict

    from serendip.engine.engine import Engine
    from serendip.engine.request import Request

    opened = Engine.open(workspace)
    request = Request(surface, user, query, tuple(item or ()), country, k=k, device=device)
    answer = opened.recommend(request)
    for position, result in enumerate(answer.items, 1):
        shown = opened.item(result.item_id)
        title = shown.title if shown else ""
        reason = f"Sponsored. {result.reason}" if result.sponsored else result.reason
        terminal.say(f"{position:3}  {title or result.item_id:<44} {result.score:8.4f}  {reason}")
    terminal.result(asdict(answer))
    opened.close()
