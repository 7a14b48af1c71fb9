"""``serendip enrich``: generated texts and attributes of items, and the gates for their use."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from serendip.cli.terminal import (
    AddressOption,
    EngineOption,
    EstimateOption,
    JsonOption,
    Terminal,
    WorkspaceOption,
)
from serendip.errors import ConfigError

if TYPE_CHECKING:
    from serendip.data.store.tables.generated_texts import WrittenField, WrittenSource
    from serendip.data.store.tables.generated_values import ValueSource
    from serendip.llm.runner import CostEstimate

NAME = "enrich"
HELP = "Generate texts and attributes of items, test them, and revert them."


class Writer(StrEnum):
    """Source of generated texts."""

    LLM = "llm"
    RULES = "rules"
    QUERIES = "queries"


class Kind(StrEnum):
    """Field of a generated text."""

    KEYWORDS = "keywords"
    DESCRIPTION = "description"
    ATTRIBUTES = "attributes"
    QUERIES = "queries"


app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("run")
def run(
    budget: Annotated[
        float | None, typer.Option(help="Budget of all runs with an LLM together.")
    ] = None,
    writer: Annotated[
        Writer,
        typer.Option(
            help="Source of the texts: an LLM, rules, or the queries of `serendip queries build "
            "--llm`; the last two are free."
        ),
    ] = Writer.LLM,
    fields: Annotated[
        list[Kind] | None, typer.Option(help="Texts to store; repeatable. Default: all.")
    ] = None,
    workspace: WorkspaceOption = Path(),
    prompt: Annotated[str, typer.Option(help="Prompt, with its version.")] = "enrich-1",
    estimate: EstimateOption = False,
    engine: EngineOption = None,
    address: AddressOption = None,
    json: JsonOption = False,
) -> None:
    """Generate texts for items; the gate decides on their use. Exit 1 = incomplete."""
    from serendip.jobs.enrich.write import TextWriting, write_texts
    from serendip.runtime.executor_config import EngineChoice

    terminal, choice = Terminal(json), EngineChoice(engine, address)

    kinds = cast("list[WrittenField]", [kind.value for kind in fields or Kind])
    writing = TextWriting(
        writer.value, kinds, budget, prompt, estimate, partial(_print_estimate, terminal)
    )
    with terminal.job("texts for thin items", workspace, engine=choice) as context:
        summary = write_texts(context, writing)
    terminal.result(summary)
    if estimate and writer == Writer.QUERIES:
        count = summary["estimate"]["texts"]
        terminal.say(f"texts for {count:,} of {summary['items']:,} items, at no cost")
        return
    if estimate:
        terminal.say(f"{summary['thin']:,} of {summary['items']:,} items are thin")
        return
    spent = f"; spent {summary['spent']:.4g} of {budget:.4g}" if writer == Writer.LLM else ""
    of = f"{summary['items']:,}" if writer == Writer.QUERIES else f"{summary['thin']:,} thin"
    terminal.say(
        f"{summary['state']}: {summary['texts']:,} texts for {summary['written']:,} of {of} items"
        f"{spent}. Next: serendip enrich gate"
    )
    if summary["state"] == "partial":
        terminal.print_incomplete(summary["reason"])
        raise typer.Exit(1)


@app.command("attribute")
def attribute(
    name: Annotated[str, typer.Argument(help="Attribute of the catalogue, of texts.")],
    budget: Annotated[
        float | None, typer.Option(help="Budget of all runs with an LLM together.")
    ] = None,
    writer: Annotated[
        Writer, typer.Option(help="An LLM, or rules: the words of the item; these are free.")
    ] = Writer.LLM,
    workspace: WorkspaceOption = Path(),
    prompt: Annotated[str, typer.Option(help="Prompt, with its version.")] = "attribute-1",
    estimate: EstimateOption = False,
    engine: EngineOption = None,
    address: AddressOption = None,
    json: JsonOption = False,
) -> None:
    """Choose values for items that lack an attribute; the gate decides on their use.

    Exit 1 = incomplete.
    """
    from serendip.jobs.enrich.attributes import AttributeWriting, write_values
    from serendip.runtime.executor_config import EngineChoice

    if writer == Writer.QUERIES:
        raise ConfigError("queries say nothing of attributes.", "Use --writer llm or rules.")
    terminal, choice = Terminal(json), EngineChoice(engine, address)

    source: ValueSource = "llm" if writer == Writer.LLM else "rules"
    writing = AttributeWriting(
        name, source, budget, prompt, estimate, partial(_print_estimate, terminal)
    )
    with terminal.job(f"values of {name}", workspace, engine=choice) as context:
        summary = write_values(context, writing)
    terminal.result(summary)
    if estimate:
        terminal.say(
            f"{summary['lacking']:,} of {summary['items']:,} items lack {name}; it has "
            f"{summary['values']:,} values that items share"
        )
        return
    spent = f"; spent {summary['spent']:.4g} of {budget:.4g}" if writer == Writer.LLM else ""
    terminal.say(
        f"{summary['state']}: {name} of {summary['written']:,} of {summary['lacking']:,} items "
        f"that lack it, and of {summary['compared']:,} to compare{spent}. "
        f"Next: serendip enrich gate --attribute {name}"
    )
    if summary["state"] == "partial":
        terminal.print_incomplete(summary["reason"])
        raise typer.Exit(1)


@app.command("gate")
def gate(
    workspace: WorkspaceOption = Path(),
    writer: Annotated[
        list[Writer] | None,
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
    from serendip.jobs.enrich.gate import TextGate, gate_texts

    terminal = Terminal(json)
    if attribute is not None:
        if writer or judgements:
            raise ConfigError("--attribute takes no --writer and no --judgements.", "Omit them.")
        _gate_attribute(terminal, workspace, attribute, floor)
        return
    if floor is not None:
        raise ConfigError("--floor is for values of an attribute.", "Add --attribute.")
    sources = cast("list[WrittenSource]", [source.value for source in writer or Writer])
    with terminal.job("gate of the texts", workspace) as context:
        report = gate_texts(context, TextGate(sources, judgements))
    terminal.result(report)
    terminal.say(_format_verdict(report))
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
    terminal.say(
        f"{summary['texts']:,} texts, {summary['active']:,} in use, {summary['outdated']:,} "
        "outdated because their items have changed"
    )
    for row in summary["counts"]:
        terminal.say(f"  {row['texts']:,} x {row['field']} by {row['source']}")
    if summary["gate"]:
        terminal.say(_format_verdict(summary["gate"]))
    for row in summary["listed"]:
        terminal.say(f"  {row['item_id']} {row['field']} by {row['model']}: {row['text']}")
    _print_values(terminal, summary["attributes"])


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


def _print_estimate(terminal: Terminal, cost: CostEstimate) -> None:
    terminal.say(
        f"{cost.questions:,} distinct items, {cost.known:,} of them in the ledger; "
        f"about {cost.price:.4g}, at most {cost.most:.4g} without repeated requests"
    )


def _gate_attribute(
    terminal: Terminal, workspace: Path, attribute: str, floor: float | None
) -> None:
    """Test the values of an attribute; exit code 1 = they are not used."""
    from serendip.jobs.enrich.attribute_gate import FLOOR, AttributeGate, gate_values

    with terminal.job(f"gate of {attribute}", workspace) as context:
        report = gate_values(context, AttributeGate(attribute, FLOOR if floor is None else floor))
    terminal.result(report)
    terminal.say(f"{_format_shares(report)}. {report['active']:,} values in use")
    if report["verdict"] != "passed":
        raise typer.Exit(1)


def _print_values(terminal: Terminal, summary: dict[str, Any]) -> None:
    """Counts of generated values, the verdicts on them, and the listed ones."""
    if not summary["values"]:
        return
    terminal.say(
        f"{summary['values']:,} values of attributes, {summary['active']:,} in use, "
        f"{summary['outdated']:,} outdated"
    )
    for row in summary["counts"]:
        terminal.say(
            f"  {row['values']:,} x {row['attribute']} by {row['source']}, {row['active']:,} in use"
        )
    for report in summary["gates"].values():
        terminal.say(_format_shares(report))
    for row in summary["listed"]:
        terminal.say(f"  {row['item_id']} {row['attribute']} by {row['model']}: {row['value']}")


def _format_shares(report: dict[str, Any]) -> str:
    """The verdict on the values of an attribute, with its reason or its figures."""
    if report["verdict"] == "refused":
        return f"{report['attribute']} refused: {report['reason']}"
    right = report["right"]
    return (
        f"{report['attribute']} {report['verdict']}: {right['value']:.1%} right "
        f"({right['low']:.1%} to {right['high']:.1%}) of {report['compared']:,} compared; the "
        f"lower end must reach {report['floor']:.0%}"
    )


def _format_verdict(report: dict[str, Any]) -> str:
    """The verdict with its reason or its figures."""
    if report["verdict"] == "refused":
        return f"refused: {report['reason']}"
    difference = report["difference"]["both"]
    return (
        f"{report['verdict']}: {report['metric']} {report['without']['both']:.4f} without and "
        f"{report['with']['both']:.4f} with {report['texts']:,} texts, difference "
        f"{difference['value']:+.4f} ({difference['low']:+.4f} to {difference['high']:+.4f}) over "
        f"{report['queries']:,} held-out queries"
    )
