"""``serendip judge``: labels by an LLM, and whether they may be used.

``serendip judge label | agreement``: labels by people, and how far these agree.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serendip.cli.terminal import (
    EstimateOption,
    JsonOption,
    SeedOption,
    Terminal,
    WorkspaceOption,
)
from serendip.errors import ConfigError

if TYPE_CHECKING:
    from serendip.llm.runner import CostEstimate


def label(
    pairs: Annotated[Path, typer.Option(help="File with the columns query and item_id.")],
    out: Annotated[Path, typer.Option(help="CSV file of this person's labels.")],
    name: Annotated[str, typer.Option(help="Name of this person.")],
    workspace: WorkspaceOption = Path(),
    other: Annotated[
        list[Path] | None,
        typer.Option(help="Another person's labels of the same pairs; repeatable."),
    ] = None,
    port: Annotated[int, typer.Option(help="Port of 127.0.0.1; 0 picks a free one.")] = 8090,
    json: JsonOption = False,
) -> None:
    """Label pairs on a page, by keyboard, until interrupted; run it again to continue."""
    from serendip.engine.workspace import Workspace
    from serendip.jobs.labels.by_hand import open_session
    from serendip.serve.page.labelling import run_labelling

    terminal = Terminal(json)
    with open_session(Workspace.open(workspace), pairs, out, name, other or ()) as session:
        run_labelling(
            session, port, lambda address: terminal.say(f"Ready: {address}   (Ctrl-C stops)")
        )
        view = session.view()
    labelled = view.good + view.bad
    terminal.result({"pairs": view.pairs, "labelled": labelled, "bad": view.bad, "out": str(out)})
    terminal.say(f"{labelled:,} of {view.pairs:,} pairs in {out}, {view.bad:,} bad")


def agreement(
    labels: Annotated[list[Path], typer.Option(help="File of labels; give two or more.")],
    json: JsonOption = False,
) -> None:
    """Measure the agreement of each two files of labels by Cohen's kappa."""
    from serendip.jobs.labels.agreement import compare_label_files

    terminal = Terminal(json)
    rows = compare_label_files(labels)
    terminal.result({"agreements": rows})
    for row in rows:
        terminal.say(f"{row['labels'][0]} and {row['labels'][1]}: {_format_agreement(row)}")


def _format_agreement(row: dict[str, Any]) -> str:
    """Kappa with its interval and the number of common pairs."""
    common = f"{row['pairs']:,} pairs of {row['queries']:,} queries in common"
    if row["kappa"] is None:
        return f"kappa is undefined; {common}"
    low, high = row["ci95"]
    return (
        f"kappa {row['kappa']:.3f} ({low:.3f} to {high:.3f}), the same label for "
        f"{row['agreed']:.1%}; {common}"
    )


NAME = "judge"
HELP = "Let an LLM label pairs of a query and an item, and hold its labels against people's."


class Format(StrEnum):
    """How examples are written."""

    CHAT = "chat-jsonl"
    """``{"messages": [...]}`` a line, as fine-tuning APIs and trainers read it."""


app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("label")(label)
app.command("agreement")(agreement)


@app.command("run")
def run(
    pairs: Annotated[Path, typer.Option(help="File with the columns query and item_id.")],
    out: Annotated[Path, typer.Option(help="CSV file of labels.")],
    budget: Annotated[float, typer.Option(help="Budget of all runs of the job together.")],
    workspace: WorkspaceOption = Path(),
    job: Annotated[str, typer.Option(help="Name in the ledger. Default: file name of --out.")] = "",
    prompt: Annotated[str, typer.Option(help="Prompt, with its version.")] = "judge-1",
    estimate: EstimateOption = False,
    batch_file: Annotated[
        Path | None, typer.Option(help="Write the questions for a batch API; send no requests.")
    ] = None,
    batch_answers: Annotated[
        Path | None, typer.Option(help="Output file of a batch, read before any request.")
    ] = None,
    forget_batch: Annotated[
        bool,
        typer.Option("--forget-batch", help="Ask pending batch questions again; both are paid."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Label all pairs that the ledger has no answer for. Exit 1 = incomplete."""
    from serendip.jobs.context import JobContext
    from serendip.jobs.labels.by_llm import Labelling, label_pairs
    from serendip.jobs.llm_job import LlmJob

    terminal = Terminal(json)
    if estimate and (batch_file or batch_answers or forget_batch):
        raise ConfigError(
            "--estimate cannot be combined with batch options.", "Remove one of them."
        )

    def print_estimate(cost: CostEstimate) -> None:
        terminal.say(
            f"{cost.questions:,} distinct pairs, {cost.known:,} of them in the ledger, "
            f"{cost.batched:,} pending in batches; "
            f"about {cost.price:.4g}, at most {cost.most:.4g} without repeated requests"
        )

    labelling = Labelling(pairs, out, prompt, batch_file, batch_answers, forget_batch)
    llm_job = LlmJob(job or out.name, budget, estimate, print_estimate)
    summary = label_pairs(JobContext.open(workspace, terminal.options()), labelling, llm_job)
    terminal.result(summary)
    if estimate:
        return
    if "taken" in summary:
        terminal.say(", ".join(f"{count:,} {name}" for name, count in summary["taken"].items()))
    if summary["state"] == "batched":
        terminal.say(
            f"{summary['written']:,} questions in {batch_file}, {summary['left']:,} left; "
            f"counted as {summary['spent']:.4g} of {budget:.4g}"
        )
        return
    terminal.say(
        f"{summary['state']}: {summary['labelled']:,} of {summary['pairs']:,} pairs in "
        f"{summary['out']}, {summary['bad']:,} bad; spent {summary['spent']:.4g} of {budget:.4g}"
    )
    if summary["state"] == "partial":
        pending = f"{summary['batched']:,} are pending in batches: --batch-answers FILE"
        terminal.print_incomplete(summary["reason"] or (pending if summary["batched"] else ""))
        raise typer.Exit(1)


@app.command("gate")
def gate(
    labels: Annotated[Path, typer.Option(help="Labels to be used.")],
    gold: Annotated[Path, typer.Option(help="Labels by people: query, item_id, label.")],
    floor: Annotated[float, typer.Option(help="Minimum of the lower bound of kappa.")] = 0.6,
    seen: Annotated[
        list[Path] | None,
        typer.Option(help="Pairs used for training or tuning, besides those of prompts."),
    ] = None,
    nothing_seen: Annotated[
        bool, typer.Option("--nothing-seen", help="No gold pair was used for training or tuning.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Measure the agreement of labels with labels by people. Exit 1 = they may not be used."""
    from serendip.jobs.labels.agreement import Gate, gate_labels

    if bool(seen) == nothing_seen:
        raise ConfigError(
            "the pairs used for training or tuning are not given.",
            "Add --seen with files, or --nothing-seen, and not both.",
        )
    terminal = Terminal(json)
    report = gate_labels(Gate(labels, gold, floor, seen or ()))
    terminal.result(report)
    terminal.say(f"{report['verdict']}: {report['reason'] or _format_gate(report)}")
    if report["verdict"] != "passed":
        raise typer.Exit(1)


@app.command("distil")
def distil(
    labels: Annotated[Path, typer.Option(help="Labels to learn from: query, item_id, label.")],
    gold: Annotated[Path, typer.Option(help="Labels by people: query, item_id, label.")],
    workspace: WorkspaceOption = Path(),
    floor: Annotated[float, typer.Option(help="Of the gate, for labels by a model.")] = 0.6,
    seen: Annotated[
        list[Path] | None,
        typer.Option(help="Pairs whose queries a prompt has seen; repeatable."),
    ] = None,
    allowed: Annotated[float, typer.Option(help="Share of what is shown that may be bad.")] = 0.05,
    confidence: Annotated[float, typer.Option(help="Of that promise.")] = 0.95,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Teach a light judge that can serve, if the labels pass the gate. Exit 1 = they do not."""
    from serendip.jobs.context import JobContext
    from serendip.jobs.relevance.distil import Distillation
    from serendip.jobs.relevance.distil import distil as learn

    terminal = Terminal(json)
    asked = Distillation(labels, gold, floor, seen or (), allowed, confidence)
    found = learn(JobContext.open(workspace, terminal.options(seed)), asked)
    terminal.result(found)
    if "version" not in found:
        terminal.say(f"{found['gate']['verdict']}: {found['gate']['reason'] or 'see --json'}")
        raise typer.Exit(1)
    for line in _distilled(found):
        terminal.say(line)


@app.command("report")
def report(
    gold: Annotated[Path, typer.Option(help="Labels by people: query, item_id, label.")],
    workspace: WorkspaceOption = Path(),
    surface: Annotated[str, typer.Option(help="A surface with a relevance filter.")] = "search",
    json: JsonOption = False,
) -> None:
    """What the relevance filter does to the shown items, and what it costs in clicks."""
    from serendip.jobs.context import JobContext
    from serendip.jobs.relevance.report import judge_report

    terminal = Terminal(json)
    found = judge_report(JobContext.open(workspace, terminal.options()), gold, surface)
    terminal.result(found)
    for line in _reported(found):
        terminal.say(line)


@app.command("export")
def export(
    labels: Annotated[Path, typer.Option(help="Labels: query, item_id, label.")],
    out: Annotated[Path, typer.Option(help="File of the conversations.")],
    form: Annotated[Format, typer.Option("--format", help="chat-jsonl.")] = Format.CHAT,
    workspace: WorkspaceOption = Path(),
    prompt: Annotated[str, typer.Option(help="Prompt, with its version.")] = "judge-1",
    json: JsonOption = False,
) -> None:
    """Write labels as conversations for fine-tuning an LLM."""
    from serendip.engine.workspace import Workspace
    from serendip.jobs.labels.llm_examples import export_chats

    terminal = Terminal(json)
    count = export_chats(Workspace.open(workspace), labels, out, prompt)
    terminal.result({"conversations": count, "format": form.value, "out": str(out)})
    terminal.say(f"{count:,} conversations in {out}")


def _distilled(found: dict[str, Any]) -> list[str]:
    low, high = found["ci95"]["auroc"]
    told = found["filter"]
    promise = f"at most {told['allowed']:.0%} bad at a confidence of {told['confidence']:.0%}"
    threshold = told["safe_threshold"]
    return [
        f"{found['version']}: AUROC {found['auroc']:.3f} ({low:.3f} to {high:.3f}) on "
        f"{found['pairs']['gold']:,} pairs of {found['queries']['gold']:,} unseen queries",
        f"  {promise}: "
        + ("no threshold is proven safe" if threshold is None else f"threshold {threshold:.3f}"),
        f"  replacing a tenth: threshold {told['tenth_threshold']:.3f}, bad share "
        f"{told['tenth']['bad_before']:.3f} -> {told['tenth']['bad_after']:.3f}",
        "  serve it with [surfaces.search.relevance_filter], then `serendip train`",
    ]


def _reported(found: dict[str, Any]) -> list[str]:
    gold, log = found["gold"], found["log"]
    lines = [
        f"{found['surface']}, threshold {found['threshold']:.3f}, "
        f"{gold['queries']:,} queries of the gold"
    ]
    if gold["replaced"]:
        lines.append(f"  replaced: {gold['replaced']['value']:.1%} of the first places")
    if gold["bad_before"]:
        lines.append(
            f"  bad among the judged: {gold['bad_before']['value']:.1%} -> "
            f"{gold['bad_after']['value']:.1%}"
        )
    if log["chosen_left_out"] is not None:
        lines.append(f"  of logged choices it would leave out {log['chosen_left_out']:.1%}")
    return lines


def _format_gate(report: dict[str, Any]) -> str:
    """Kappa with its interval and the floor."""
    low, high = report["ci95"]["kappa"]
    return (
        f"kappa {report['kappa']:.3f} ({low:.3f} to {high:.3f}), floor {report['floor']:.3f}; "
        f"{report['pairs']:,} pairs of {report['queries']:,} queries"
    )
