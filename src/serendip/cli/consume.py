"""``serendip consume``: events and items of a stream, into the database of a workspace."""

from __future__ import annotations

import signal
from collections import Counter
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption


def run(
    source: Annotated[str, typer.Argument(help="stdin, or kafka://HOST:PORT/TOPIC?group=NAME.")],
    workspace: WorkspaceOption = Path(),
    items: Annotated[bool, typer.Option("--items", help="The rows are items, not events.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first wrong row.")] = False,
    json: JsonOption = False,
) -> None:
    """Store the events or items of a stream as they come: JSON as `POST /v1/events` takes it.

    It runs until the stream ends, or until Ctrl-C or SIGTERM, and first stores what it has read.
    """
    from serendip.engine.engine import Engine
    from serendip.serve.streams import read_events, read_items, read_lines, read_topic, store

    terminal, stop, counts = Terminal(json), Event(), Counter(rows=0, new=0, left_out=0)
    progress = terminal.options().progress
    batches = read_lines(stop.is_set) if source == "stdin" else read_topic(source, stop.is_set)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Engine.open(workspace) as engine, closing(batches):
        read, put = (read_items, engine.add_items) if items else (read_events, engine.add_events)
        for messages in progress.track(batches, "rows", None, lambda: f"{counts['rows']:,}"):
            counts.update(store(messages, read, put, strict))
    terminal.say("{rows:,} rows, {new:,} of them new; {left_out:,} left out".format(**counts))
    terminal.result(counts)
