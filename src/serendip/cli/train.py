"""``serendip train`` and ``evaluate``: a generation, and a report of the quality of the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import (
    DeviceOption,
    JsonOption,
    SeedOption,
    Terminal,
    WorkspaceOption,
    open_workspace,
)

BudgetOption = Annotated[
    str | None,
    typer.Option(
        help="Time for the training, such as 10m or 1.5h; models that learn step by step then end "
        "at their best point so far. Default: `[train] budget`, else unlimited."
    ),
]
IfStaleOption = Annotated[
    bool,
    typer.Option(
        "--if-stale",
        help="Train only if the generation is stale by `[train.stale]`, and continue from it where "
        "that is possible. Without it a training starts from nothing.",
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
ExplainOption = Annotated[
    bool,
    typer.Option("--explain", help="Say which parts would be built, and why; train nothing."),
]
OnlyOption = Annotated[
    str,
    typer.Option(help="Build this part, and what is made of it; fail if others have changed."),
]
RebuildOption = Annotated[
    bool,
    typer.Option("--rebuild", help="Build all parts, also those that would be the same."),
]


def run(
    workspace: WorkspaceOption = Path(),
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    budget: BudgetOption = None,
    if_stale: IfStaleOption = False,
    force: ForceOption = False,
    explain: ExplainOption = False,
    only: OnlyOption = "",
    rebuild: RebuildOption = False,
    json: JsonOption = False,
) -> None:
    """Train on all data of the database and publish a generation.

    A running service switches to it by itself. Parts that would be those of the generation in
    force are linked, not built.
    """
    from serendip.engine.artefacts.generations import open_in_force
    from serendip.evaluate.decision import DECISIONS, read_table
    from serendip.jobs.train.parts.plan import PartInputs
    from serendip.jobs.train.train import plan_training, train_workspace

    terminal = Terminal(json)
    reasons = find_reasons(workspace, terminal) if if_stale else ()
    if if_stale and not reasons:
        return
    with terminal.job("training", workspace, seed, device, budget, on_engine=True) as context:
        current = open_in_force(context.workspace.generations, verify=False)
        before = "" if current is None else current.name
        if explain:
            plans = plan_training(PartInputs(context, current), rebuild, only)
            terminal.say(*(f"  {plan.describe(before)}" for plan in plans.values()))
            terminal.result({name: plan.reason for name, plan in plans.items()})
            return
        generation = train_workspace(
            context, warm=if_stale, reasons=reasons, force=force, rebuild=rebuild, only=only
        )
    manifest = generation.manifest
    if generation.name == before:
        terminal.say(f"{before} has all of this: nothing was built. `--rebuild` builds it again.")
        terminal.result({"generation": before, "trained": False, "reasons": list(reasons)})
        return
    for name, part in manifest["parts"].items():
        told = f"linked from {part['linked']}" if "linked" in part else f"{part['cpu_s']} CPU-s"
        terminal.say(f"  {name:<12} {told}")
    terminal.print_semantic_ids(manifest["semantic_ids"])
    terminal.print_space(manifest["space"])
    terminal.print_media(manifest["media"])
    terminal.print_cut_short(manifest["budget"])
    for decision in read_table(manifest[DECISIONS]):
        if decision.must and not decision.on:
            terminal.say(f"WARNING: the gate {decision.name!r} failed: {decision.reason}")
        elif decision.gain is not None:
            terminal.say(f"  {decision.describe()}")
    start = manifest["warm_start"]
    if if_stale:
        terminal.say(f"  continued from {start['generation'] or 'nothing: ' + start['reason']}")
    terminal.say(f"{generation.name} is published. Next: serendip serve")
    facts = ("counts", "space", "media", "budget", "warm_start", DECISIONS)
    terminal.result(
        {
            "generation": generation.name,
            "trained": True,
            "reasons": list(reasons),
            **{name: manifest[name] for name in facts},
            "stages": context.clock.as_dicts(),
        }
    )


def find_reasons(workspace: Path, terminal: Terminal) -> tuple[str, ...]:
    """Why a training is due; empty, after saying so, if it is not."""
    import time

    from serendip.cli.status import describe_age
    from serendip.jobs.train.staleness import measure_age

    age = measure_age(open_workspace(workspace))
    terminal.say(*describe_age(age))
    if age.is_due(time.time()):
        return tuple(age.reasons)
    if age.is_stale:
        terminal.say(
            "The last training published nothing, and it is too early to try again.",
            "`serendip status` says why; `serendip train` trains now.",
        )
    else:
        terminal.say(f"{age.generation} is up to date.")
    terminal.result({"generation": age.generation, "trained": False, "reasons": list(age.reasons)})
    return ()


def evaluate(
    workspace: WorkspaceOption = Path(),
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    full: Annotated[bool, typer.Option("--full", help="All users, instead of a sample.")] = False,
    alignment: Annotated[
        bool,
        typer.Option("--alignment", help="Compare one retriever for all tasks with specialists."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Evaluate every surface on held-out events and write report.json and report.html."""
    from serendip.engine.workspace import REPORT_HTML
    from serendip.jobs.evaluate.evaluate import evaluate_workspace
    from serendip.jobs.evaluate.task_transfer import align_workspace

    terminal = Terminal(json)
    with terminal.job("evaluation", workspace, seed, device, on_engine=True) as context:
        report = align_workspace(context) if alignment else evaluate_workspace(context, full=full)
    if alignment:
        sentences, page = report["recommendation"]["sentences"], "alignment.html"
    else:
        terminal.print_semantic_ids(report["semantic_ids"])
        sentences, page = report["verdict"], REPORT_HTML
    terminal.print_report(sentences, context.workspace.reports / page)
    terminal.result(report)
