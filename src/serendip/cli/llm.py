"""``serendip llm``: requests to LLMs and their cost."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption

NAME = "llm"
HELP = "Show the requests to LLMs and their cost."

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Show the requests to LLMs and their cost."""


@app.command("ledger")
def ledger(workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """Show requests, outcomes, tokens and price per job and model."""
    from serendip.engine.workspace import Workspace
    from serendip.llm.ledger import Ledger

    terminal = Terminal(json)
    with closing(Ledger.open(Workspace.open(workspace).database)) as database:
        jobs, failures = database.summary(), database.failures()
    terminal.result({"jobs": jobs, "failures": failures})
    if not jobs:
        terminal.say("No requests yet.")
    for row in jobs:
        terminal.say(
            f"{row['job']}: {row['calls']:,} calls of {row['prompt']} to {row['model']}, "
            f"{row['ok']:,} answered, {row['failed']:,} failed, {row['unfinished']:,} unfinished, "
            f"{row['batched']:,} pending in batches"
        )
        terminal.say(
            f"  {row['tokens_sent']:,} + {row['tokens_answered']:,} tokens, "
            f"{row['seconds']:.1f} s, price {row['price']:.4g}"
        )
    for row in failures:
        terminal.say(f"  {row['job']}: {row['calls']:,} x {row['failure']}")
