"""``serendip train``: trains and publishes a generation."""

from __future__ import annotations

from pathlib import Path

from serendip.cli.terminal import DeviceOption, JsonOption, SeedOption, Terminal, WorkspaceOption

NAME = "train"
HELP = "Train on all data of the database and publish a generation."


def run(
    workspace: WorkspaceOption = Path(),
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    json: JsonOption = False,
) -> None:
    """Train and publish a generation; a running service switches to it by itself."""
    from serendip.jobs.train.train import train_workspace

    terminal = Terminal(json)
    with terminal.job("training", workspace, seed, device) as context:
        generation = train_workspace(context)
    terminal.print_semantic_ids(generation.manifest["semantic_ids"])
    terminal.print_space(generation.manifest["space"])
    terminal.print_media(generation.manifest["media"])
    terminal.say(f"{generation.name} is published. Next: serendip serve")
    terminal.result(
        {
            "generation": generation.name,
            "counts": generation.manifest["counts"],
            "gates": generation.manifest["gates"],
            "space": generation.manifest["space"],
            "media": generation.manifest["media"],
            "stages": context.clock.as_dicts(),
        }
    )
