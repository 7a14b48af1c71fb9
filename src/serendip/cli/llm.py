"""``serendip llm``: what was asked of an LLM, and what it cost."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption

NAME = "llm"
HELP = "What was asked of an LLM, and what it cost."

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """What was asked of an LLM, and what it cost."""


@app.command("ledger")
def ledger(workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """Per job and model: calls, how they ended, tokens and price."""
    from serendip.engine.workspace import DATABASE_FILE, Workspace
    from serendip.llm.ledger import Ledger

    terminal = Terminal(json)
    path = Workspace.open(workspace).folder / DATABASE_FILE
    with closing(Ledger.open(path)) as opened:
        jobs, failures = opened.summary(), opened.failures()
    terminal.result({"jobs": jobs, "failures": failures})
    if not jobs:
        terminal.say("Nothing was asked yet.")
    for row in jobs:
        terminal.say(
            f"{row['job']}: {row['calls']:,} calls of {row['prompt']} to {row['model']}, "
            f"{row['ok']:,} answered, {row['failed']:,} failed, {row['unfinished']:,} unfinished, "
            f"{row['batched']:,} out in a batch"
        )
        terminal.say(
            f"  {row['tokens_sent']:,} + {row['tokens_answered']:,} tokens, "
            f"{row['seconds']:.1f} s, price {row['price']:.4g}"
        )
    for row in failures:
        terminal.say(f"  {row['job']}: {row['calls']:,} x {row['failure']}")
