"""``serendip judge label | agreement``: labels by people, and how far these agree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption


def label(
    pairs: Annotated[Path, typer.Option(help="File with the columns query and item_id.")],
    out: Annotated[Path, typer.Option(help="CSV file of this person's labels.")],
    name: Annotated[str, typer.Option(help="Who labels.")],
    workspace: WorkspaceOption = Path(),
    other: Annotated[
        list[Path] | None,
        typer.Option(help="Somebody else's labels of the same pairs; repeatable."),
    ] = None,
    port: Annotated[int, typer.Option(help="Port of 127.0.0.1; 0 picks a free one.")] = 8090,
    json: JsonOption = False,
) -> None:
    """Label pairs on a page, by keyboard, until interrupted; the same command goes on later."""
    from serendip.engine.workspace import Workspace
    from serendip.serve.labelling import run_labelling
    from serendip.workflow.labels.label_by_hand import opened_desk

    terminal = Terminal(json)
    with opened_desk(Workspace.open(workspace), pairs, out, name, other or ()) as desk:
        run_labelling(
            desk, port, lambda address: terminal.say(f"Ready: {address}   (Ctrl-C stops)")
        )
        view = desk.view()
    labelled = view.good + view.bad
    terminal.result({"pairs": view.pairs, "labelled": labelled, "bad": view.bad, "out": str(out)})
    terminal.say(f"{labelled:,} of {view.pairs:,} pairs in {out}, {view.bad:,} bad")


def agreement(
    labels: Annotated[list[Path], typer.Option(help="File of labels; name two or more.")],
    json: JsonOption = False,
) -> None:
    """Agreement of each two files of labels of the same pairs: Cohen's kappa."""
    from serendip.workflow.labels.agreement import agreements

    terminal = Terminal(json)
    found = agreements(labels)
    terminal.result({"agreements": found})
    for row in found:
        terminal.say(f"{row['labels'][0]} and {row['labels'][1]}: {_words(row)}")


def _words(row: dict[str, Any]) -> str:
    common = f"{row['pairs']:,} pairs of {row['queries']:,} queries in common"
    if row["kappa"] is None:
        return f"{common}, which tell nothing about agreement yet"
    low, high = row["ci95"]
    return (
        f"kappa {row['kappa']:.3f} ({low:.3f} to {high:.3f}), the same label for "
        f"{row['agreed']:.1%}; {common}"
    )
