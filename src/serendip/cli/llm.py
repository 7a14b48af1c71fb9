"""``serendip llm``: what an LLM writes, its gates, its cost, and the whole chain."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serendip.cli.terminal import (
    EstimateOption,
    JsonOption,
    Terminal,
    WorkspaceOption,
    build_group,
    open_workspace,
)
from serendip.errors import ConfigError

if TYPE_CHECKING:
    from serendip.data.store.tables.generated import Kind
    from serendip.jobs.context import JobContext
    from serendip.jobs.llm.improve import StepResult
    from serendip.jobs.llm.job import Writing

app = build_group(
    "llm", "Let an LLM write labels, queries, texts, attributes and synonyms; test and revert them."
)


@app.command("improve")
def improve(
    budget: Annotated[float, typer.Option(help="Most that this run may cost.")],
    workspace: WorkspaceOption = Path(),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before anything is sent.")] = False,
    estimate: EstimateOption = False,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Train what passed its gate, in the end.")
    ] = True,
    json: JsonOption = False,
) -> None:
    """Ask for labels, queries, attributes and texts; use what passes its gate. Exit 1 = nothing."""
    from serendip.jobs.llm.improve import Improvement

    terminal = Terminal(json)
    if json and not (yes or estimate):
        raise ConfigError("--json cannot ask.", "Add --yes, or --estimate.")
    with terminal.job("improvement by an LLM", workspace, on_engine=True) as context:
        improvement = Improvement(context, budget)
        plan = list(improvement.plan())
        steps: list[StepResult] = []
        for asked in plan:
            terminal.say(
                f"  {asked.name:<24} {asked.questions:8,} questions   about {asked.price:.4g}"
            )
        total = sum(asked.price for asked in plan)
        terminal.say(f"  about {total:.4g} in all, at most {budget:.4g}")
        is_agreed = not estimate and (yes or typer.confirm("Go on?", err=True))
        for step in improvement.run(train) if is_agreed else ():
            steps.append(step)
            terminal.say(
                f"{step.name}: {step.wrote or 'nothing written'}, cost {step.cost:.4g}",
                f"  {step.gate.describe()}",
                *(f"    {line}" for line in step.changes),
            )
        spent, generation = improvement.spent, improvement.generation
    facts = {"plan": list(map(asdict, plan)), "steps": list(map(asdict, steps))}
    terminal.result({**facts, "spent": spent, "generation": generation})
    if not is_agreed:
        return
    what = f"{generation} is published" if generation else "what is served is as it was"
    terminal.say(f"spent {spent:.4g}; {what}")
    if not generation and not any(step.gate.on for step in steps[1:]):
        raise typer.Exit(1)


RunKind = Literal["labels", "queries", "texts", "attribute", "synonyms"]
GateKind = Literal["queries", "texts", "attribute"]
"""What a gate decides on; the others are reviewed or gated where they are used."""

_ROWS: Mapping[GateKind, Kind] = {"queries": "query", "texts": "text", "attribute": "value"}
_AttributeOption = Annotated[
    str | None, typer.Option("--attribute", help="Of `attribute`: its name, of the catalogue.")
]


@app.command("run")
def run(
    kind: Annotated[RunKind, typer.Argument(help="What to write.")],
    budget: Annotated[
        float | None, typer.Option(help="Most that all runs of this kind may cost together.")
    ] = None,
    free: Annotated[
        bool,
        typer.Option(
            "--free",
            help="Without an LLM: an attribute by rules, synonyms from the log.",
        ),
    ] = False,
    attribute: _AttributeOption = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Of `labels`: file with query and item_id, or of `judge lists`."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Of `labels`: CSV file to write.")] = None,
    most: Annotated[
        int, typer.Option(min=1, help="Of `queries` and `synonyms`: most items, or terms.")
    ] = 1_000,
    workspace: WorkspaceOption = Path(),
    estimate: EstimateOption = False,
    json: JsonOption = False,
) -> None:
    """Let an LLM write labels, queries, texts, an attribute or synonyms. Exit 1 = incomplete.

    Queries, texts and attributes are used once their gate passes, synonyms once people accept them.
    """
    from serendip.jobs.llm.job import write

    if budget is None and not (estimate or free):
        raise ConfigError("an LLM needs a budget.", "Add --budget, or --free.")
    terminal = Terminal(json)
    with terminal.job(f"{kind} by an LLM", workspace) as context:
        if free:
            summary = {"state": "complete", **_write_freely(kind, context, attribute)}
        else:
            writing = _open_writing(kind, context, attribute, (pairs, out), most)
            name = out.name if kind == "labels" and out else kind
            tell = terminal.print_estimate
            summary = write(context, writing, name, budget or 0.0, estimate, tell)
    terminal.result(summary)
    if estimate:
        return
    spent = f"; spent {summary['spent']:.4g}" if "spent" in summary else ""
    terminal.say(f"{summary['state']}: {summary['written']:,} {kind} written{spent}")
    for name in ("out", "bad", "compared", "states"):
        if name in summary:
            terminal.say(f"  {name}: {summary[name]}")
    for test, count in summary.get("dropped", {}).items():
        terminal.say(f"  {test:<24} {count:8,} dropped")
    if summary["state"] == "partial":
        terminal.print_incomplete(summary["reason"])
        raise typer.Exit(1)


def _open_writing(
    kind: RunKind,
    context: JobContext,
    attribute: str | None,
    files: tuple[Path | None, Path | None],
    most: int,
) -> Writing[Any]:
    from serendip.jobs.llm.attributes import ask_values
    from serendip.jobs.llm.labels import ask_labels
    from serendip.jobs.llm.search_words import ask_queries, ask_synonyms, ask_texts

    match kind:
        case "labels":
            pairs, out = files
            if pairs is None or out is None:
                raise ConfigError("labels need two files.", "Add --pairs and --out.")
            return ask_labels(context, pairs, out)
        case "queries":
            return ask_queries(context, most)
        case "synonyms":
            return ask_synonyms(context, most)
        case "texts":
            return ask_texts(context)
        case _:
            return ask_values(context, _require_name(attribute))


def _write_freely(kind: RunKind, context: JobContext, attribute: str | None) -> dict[str, Any]:
    from serendip.jobs.llm.attributes import write_values_by_rules
    from serendip.jobs.synonyms import mine_synonyms

    match kind:
        case "synonyms":
            return mine_synonyms(context)
        case "attribute":
            return write_values_by_rules(context, _require_name(attribute))
        case _:
            raise ConfigError(f"only an LLM writes {kind}.", "Add --budget in place of --free.")


def _require_name(attribute: str | None) -> str:
    if attribute is None:
        raise ConfigError("no attribute is named.", "Add --attribute.")
    return attribute


@app.command("gate")
def gate(
    kind: Annotated[GateKind, typer.Argument(help="What to test.")],
    attribute: _AttributeOption = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--judgements",
            help="Of `texts`: labelled queries: query, item_id, label. Default: held-out queries "
            "of the log.",
        ),
    ] = None,
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Use what was written if it helps, else leave it out. Exit 1 = it is not used.

    Queries must find their items, texts improve search, values of an attribute be right.
    """
    from serendip.jobs.llm.gates import gate_queries, gate_texts, gate_values

    terminal = Terminal(json)
    with terminal.job("gate", workspace) as context:
        match kind:
            case "queries":
                result = gate_queries(context)
            case "texts":
                result = gate_texts(context, labels)
            case _:
                result = gate_values(context, _require_name(attribute))
    terminal.result(result.to_json())
    terminal.say(f"{result.decision.describe()}; {result.active:,} in use")
    if not result.decision.on:
        raise typer.Exit(1)
    terminal.say("Next: serendip train")


@app.command("show")
def show(
    workspace: WorkspaceOption = Path(),
    limit: Annotated[int, typer.Option(min=0, help="Rows of each kind to list.")] = 10,
    json: JsonOption = False,
) -> None:
    """Show what was written about items, by whom, and whether it is in use."""
    from serendip.jobs.llm.gates import describe_generated

    terminal = Terminal(json)
    summary = describe_generated(open_workspace(workspace), limit)
    terminal.result(summary)
    for row in summary["counts"]:
        what = " ".join(filter(None, (row["kind"], row["name"])))
        terminal.say(f"{row['rows']:,} x {what} by {row['source']}, {row['active']:,} in use")
    terminal.say(f"{summary['outdated']:,} outdated because their items have changed")
    for row in summary["listed"]:
        terminal.say(f"  {row['item_id']} {row['name']} by {row['model']}: {row['value']}")


@app.command("revert")
def revert(
    kind: Annotated[GateKind | None, typer.Argument(help="What to delete. Default: all.")] = None,
    attribute: _AttributeOption = None,
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Delete what was written about items; the next training uses none of it."""
    from serendip.jobs.llm.gates import revert_generated

    terminal = Terminal(json)
    if attribute is not None and kind != "attribute":
        raise ConfigError("--attribute is for values.", "Write `revert attribute`.")
    rows = _ROWS[kind] if kind else None
    removed = revert_generated(open_workspace(workspace), rows, attribute)
    terminal.result({"removed": removed})
    terminal.say(f"{removed:,} rows deleted. Next: serendip train")


@app.command("ledger")
def ledger(workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """Show requests, outcomes, tokens and price per job and model."""
    from serendip.llm.ledger import Ledger

    terminal = Terminal(json)
    with closing(Ledger.open(open_workspace(workspace).database)) as database:
        jobs, failures = database.summary(), database.failures()
    terminal.result({"jobs": jobs, "failures": failures})
    if not jobs:
        terminal.say("No requests yet.")
    for row in jobs:
        terminal.say(
            f"{row['job']}: {row['calls']:,} calls of {row['prompt']} to {row['model']}, "
            f"{row['ok']:,} answered, {row['failed']:,} failed, {row['unfinished']:,} unfinished",
            f"  {row['tokens_sent']:,} + {row['tokens_answered']:,} tokens, "
            f"{row['seconds']:.1f} s, price {row['price']:.4g}",
        )
    for row in failures:
        terminal.say(f"  {row['job']}: {row['calls']:,} x {row['failure']}")
