"""``serendip convert``: files of another engine become files that ``serendip init`` reads."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal

NAME = "convert"
HELP = "Make files for `serendip init` of those of another engine."


def run(
    engine: Annotated[str, typer.Argument(help="gorse, metarank, recbole or ubi.")],
    files: Annotated[list[Path], typer.Argument(help="Files of that engine, in any order.")],
    out: Annotated[Path, typer.Option(help="New folder.")],
    json: JsonOption = False,
) -> None:
    """Write items, users and events as Parquet, and say which command reads them."""
    from serendip.jobs.exchange.convert import convert

    terminal = Terminal(json)
    with terminal.options().progress.step("convert"):
        converted = convert(engine, files, out)
    terminal.say(
        f"{converted.items:,} items, {converted.users:,} users with attributes and "
        f"{converted.events:,} events: {out}"
    )
    for reason, count in converted.left_out.items():
        terminal.say(f"{count:,} {reason} were left out.")
    options = [
        f"--{kind} {quote(str(out / f'{kind}.parquet'))}"
        if count
        else ("--items ITEMS" if kind == "items" else "")
        for kind, count in (
            *(("items", converted.items), ("events", converted.events)),
            ("users", converted.users),
        )
    ]
    terminal.say(f"Next: serendip init {' '.join(filter(None, options))}")
    terminal.result(asdict(converted))
