"""``serendip enrich``: generated texts and attributes of items, and the gates for their use."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from serendip.cli.terminal import EstimateOption, JsonOption, Terminal, WorkspaceOption
from serendip.errors import ConfigError

if TYPE_CHECKING:
    from serendip.data.store.tables.generated_texts import WrittenSource
    from serendip.jobs.llm.job import LlmJob

NAME = "enrich"
HELP = "Generate texts and attributes of items, test them, and revert them."


class TextWriter(StrEnum):
    """Source of generated texts."""

    LLM = "llm"
    QUERIES = "queries"


class ValueWriter(StrEnum):
    """Source of generated attribute values."""

    LLM = "llm"
    RULES = "rules"


app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_BudgetOption = Annotated[
    float | None, typer.Option(help="Budget of all runs with an LLM together.")
]


@app.command("run")
def run(
    budget: _BudgetOption = None,
    writer: Annotated[
        TextWriter,
        typer.Option(
            help="Source of the texts: an LLM, or the queries of `serendip queries build --llm`, "
            "which are free."
        ),
    ] = TextWriter.LLM,
    workspace: WorkspaceOption = Path(),
    estimate: EstimateOption = False,
    json: JsonOption = False,
) -> None:
    """Generate texts for items; the gate decides on their use. Exit 1 = incomplete."""
    from serendip.jobs.enrich.write import write_query_texts, write_texts

    terminal = Terminal(json)
    job = _open_job(terminal, budget, estimate) if writer == TextWriter.LLM else None
    with terminal.job("texts of items", workspace) as context:
        summary = write_texts(context, job) if job else write_query_texts(context, estimate)
    terminal.result(summary)
    if estimate and job is None:
        count = summary["estimate"]["texts"]
        terminal.say(f"texts for {count:,} of {summary['items']:,} items, at no cost")
        return
    if estimate:
        terminal.say(f"{summary['thin']:,} of {summary['items']:,} items are thin")
        return
    of = f"{summary['items']:,}" if job is None else f"{summary['thin']:,} thin"
    _print_written(
        terminal, summary, f"{summary['texts']:,} texts for {summary['written']:,} of {of} items"
    )
    terminal.say("Next: serendip enrich gate")


@app.command("attribute")
def attribute(
    name: Annotated[str, typer.Argument(help="Attribute of the catalogue, of texts.")],
    budget: _BudgetOption = None,
    writer: Annotated[
        ValueWriter, typer.Option(help="An LLM, or rules: the words of the item; these are free.")
    ] = ValueWriter.LLM,
    workspace: WorkspaceOption = Path(),
    estimate: EstimateOption = False,
    json: JsonOption = False,
) -> None:
    """Choose values for items that lack an attribute; the gate decides on their use.

    Exit 1 = incomplete.
    """
    from serendip.jobs.enrich.attributes import write_values

    terminal = Terminal(json)
    job = _open_job(terminal, budget, estimate) if writer == ValueWriter.LLM else None
    with terminal.job(f"values of {name}", workspace) as context:
        summary = write_values(context, name, job, estimate)
    terminal.result(summary)
    if estimate:
        terminal.say(
            f"{summary['lacking']:,} of {summary['items']:,} items lack {name}; it has "
            f"{summary['values']:,} values that items share"
        )
        return
    _print_written(
        terminal,
        summary,
        f"{name} of {summary['written']:,} of {summary['lacking']:,} items that lack it, and of "
        f"{summary['compared']:,} to compare",
    )
    terminal.say(f"Next: serendip enrich gate --attribute {name}")


@app.command("gate")
def gate(
    workspace: WorkspaceOption = Path(),
    writer: Annotated[
        list[TextWriter] | None,
        typer.Option(help="Source of the texts; repeatable. Default: all."),
    ] = None,
    judgements: Annotated[
        Path | None,
        typer.Option(
            help="Labelled queries: query, item_id, label. Default: held-out queries of the log."
        ),
    ] = None,
    attribute: Annotated[
        str | None, typer.Option(help="Test the values of this attribute, not the texts.")
    ] = None,
    floor: Annotated[
        float | None,
        typer.Option(help="With --attribute: share that must be right. Default: 0.9."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Activate the texts if they improve search, or an attribute's values if they are right.

    Exit 1 = they are not used.
    """
    from serendip.jobs.enrich.gate import FLOOR, TextGate, gate_texts, gate_values

    terminal = Terminal(json)
    if attribute is not None and (writer or judgements):
        raise ConfigError("--attribute takes no --writer and no --judgements.", "Omit them.")
    if attribute is None and floor is not None:
        raise ConfigError("--floor is for values of an attribute.", "Add --attribute.")
    with terminal.job("gate", workspace) as context:
        if attribute is not None:
            report = gate_values(context, attribute, FLOOR if floor is None else floor)
        else:
            sources = cast("list[WrittenSource]", [one.value for one in writer or TextWriter])
            report = gate_texts(context, TextGate(sources, judgements))
    terminal.result(report)
    terminal.say(f"{_format_verdict(report)}; {report['active']:,} in use")
    if report["verdict"] != "passed":
        raise typer.Exit(1)


@app.command("show")
def show(
    workspace: WorkspaceOption = Path(),
    limit: Annotated[int, typer.Option(min=0, help="Texts, and values, to list.")] = 10,
    json: JsonOption = False,
) -> None:
    """Show the generated texts and values, their sources and whether they are in use."""
    from serendip.engine.workspace import Workspace
    from serendip.jobs.enrich.stored import describe_generated

    terminal = Terminal(json)
    summary = describe_generated(Workspace.open(workspace), limit)
    terminal.result(summary)
    gates = [summary["gate"]] if summary["gate"] else []
    _print_stored(terminal, summary, ("texts", "field", "text"), gates)
    values = summary["attributes"]
    if values["values"]:
        _print_stored(
            terminal, values, ("values", "attribute", "value"), list(values["gates"].values())
        )


@app.command("revert")
def revert(
    workspace: WorkspaceOption = Path(),
    attribute: Annotated[
        str | None, typer.Option(help="Delete the values of this attribute alone.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Delete all generated texts and values; the next training uses none."""
    from serendip.engine.workspace import Workspace
    from serendip.jobs.enrich.stored import revert_generated

    terminal = Terminal(json)
    removed = revert_generated(Workspace.open(workspace), attribute)
    terminal.result({"removed": removed})
    terminal.say(f"{removed:,} texts and values deleted. Next: serendip train")


def _open_job(terminal: Terminal, budget: float | None, estimate: bool) -> LlmJob:
    """The job of an LLM within a budget.

    Raises:
        ConfigError: there is no budget; an estimate needs none.
    """
    from serendip.jobs.enrich.write import JOB
    from serendip.jobs.llm.job import LlmJob

    if budget is None and not estimate:
        raise ConfigError("an LLM needs a budget.", "Add --budget, or a --writer that is free.")
    return LlmJob(JOB, budget or 0.0, estimate, partial(terminal.print_estimate, "distinct items"))


def _print_written(terminal: Terminal, summary: dict[str, Any], written: str) -> None:
    """Print what a run wrote and spent.

    Raises:
        Exit: questions are not answered.
    """
    spent = f"; spent {summary['spent']:.4g}" if "spent" in summary else ""
    terminal.say(f"{summary['state']}: {written}{spent}")
    if summary["state"] == "partial":
        terminal.print_incomplete(summary["reason"])
        raise typer.Exit(1)


def _print_stored(
    terminal: Terminal,
    summary: dict[str, Any],
    names: tuple[str, str, str],
    gates: list[dict[str, Any]],
) -> None:
    """Counts of texts or of values, the verdicts on them, and the listed ones."""
    what, kind, text = names
    terminal.say(
        f"{summary[what]:,} {what}, {summary['active']:,} in use, {summary['outdated']:,} "
        "outdated because their items have changed"
    )
    for row in summary["counts"]:
        terminal.say(f"  {row[what]:,} x {row[kind]} by {row['source']}")
    for report in gates:
        terminal.say(_format_verdict(report))
    for row in summary["listed"]:
        terminal.say(f"  {row['item_id']} {row[kind]} by {row['model']}: {row[text]}")


def _format_verdict(report: dict[str, Any]) -> str:
    """The verdict on texts, or on the values of an attribute, with its reason or its figures."""
    name = report.get("attribute", "texts")
    if report["verdict"] == "refused":
        return f"{name} refused: {report['reason']}"
    if "right" in report:
        right = report["right"]
        return (
            f"{name} {report['verdict']}: {right['value']:.1%} right ({right['low']:.1%} to "
            f"{right['high']:.1%}) of {report['compared']:,} compared; the lower end must be above "
            f"{report['floor']:.0%}"
        )
    difference = report["difference"]["both"]
    return (
        f"{name} {report['verdict']}: {report['metric']} {report['without']['both']:.4f} without "
        f"and {report['with']['both']:.4f} with {report['texts']:,} texts, difference "
        f"{difference['value']:+.4f} ({difference['low']:+.4f} to {difference['high']:+.4f}) over "
        f"{report['queries']:,} held-out queries"
    )
