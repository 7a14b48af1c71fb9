"""``serendip train``: trains and publishes a generation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import DeviceOption, JsonOption, SeedOption, Terminal, WorkspaceOption

NAME = "train"
HELP = "Train on all data of the database and publish a generation."

BudgetOption = Annotated[
    str | None,
    typer.Option(
        help="Time for the training, such as 10m or 1.5h; models that learn step by step then end "
        "at their best point so far. Default: `[train] budget`, else unlimited."
    ),
]

ForceOption = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Publish although a gate fails, and log which; without it the generation in force "
        "stays.",
    ),
]


def run(
    workspace: WorkspaceOption = Path(),
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    budget: BudgetOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Train and publish a generation; a running service switches to it by itself."""
    from serendip.jobs.train.train import train_workspace

    terminal = Terminal(json)
    with terminal.job("training", workspace, seed, device, budget) as context:
        generation = train_workspace(context, force)
    terminal.print_semantic_ids(generation.manifest["semantic_ids"])
    terminal.print_space(generation.manifest["space"])
    terminal.print_media(generation.manifest["media"])
    terminal.print_cut_short(generation.manifest["budget"])
    for gate in generation.manifest["gates"]:
        if not gate["passed"]:
            terminal.say(f"WARNING: the gate {gate['name']!r} failed: {gate['detail']}")
    terminal.say(f"{generation.name} is published. Next: serendip serve")
    terminal.result(
        {
            "generation": generation.name,
            "counts": generation.manifest["counts"],
            "gates": generation.manifest["gates"],
            "space": generation.manifest["space"],
            "media": generation.manifest["media"],
            "budget": generation.manifest["budget"],
            "stages": context.clock.as_dicts(),
        }
    )
