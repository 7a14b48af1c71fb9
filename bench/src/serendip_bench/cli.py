"""``serendip bench``: commands of the benchmarks, and their tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serendip.cli.terminal import SeedOption, Terminal, build_group

if TYPE_CHECKING:
    from serendip_bench.sequential.models import BenchModel
    from serendip_bench.sequential.rows import Kind


def build_row_printer(
    terminal: Terminal, columns: Mapping[str, str]
) -> Callable[[Mapping[str, Any]], None]:
    """A function that prints each finished row to stderr."""

    def print_row(row: Mapping[str, Any]) -> None:
        task = f"{format_task(row)}, " if "task" in row else ""
        typed = f", {row['typed']} typed" if "typed" in row else ""
        name = f"{task}{row.get('mode', row['model'])}{typed} (seed {row['seed']})"
        if "reason" in row:
            terminal.say(f"  {name:<30} skipped: {row['reason']}")
            return
        values = "  ".join(
            f"{title} {_format_value(column, row)}" for column, title in columns.items()
        )
        terminal.say(f"  {name:<30} {values}")

    return print_row


def format_task(row: Mapping[str, Any]) -> str:
    """Task and, if there is one, its request set."""
    return f"{row['task']} {row['set']}" if "set" in row else str(row["task"])


def print_summary(document: Mapping[str, Any], columns: Mapping[str, str]) -> None:
    """Print a table of means over seeds, with intervals of metrics at 10."""
    models = document["summary"]["models"]
    lines = [["model", *columns.values()]]
    for name, row in models.items():
        lines.append([name, *(_format_value(column, row, with_ci=True) for column in columns)])
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
    if document.get("encode_cpu_s") is not None:
        typer.echo(f"Encoding the texts of the items: {document['encode_cpu_s']:.1f} CPU s")


def _format_value(column: str, row: Mapping[str, Any], with_ci: bool = False) -> str:
    value = row.get(column)
    if value is None:
        return "-"
    if column == "pairs":
        return f"{value:,}"
    if column.endswith(("_s", "_mb", "_200", "_ms")):
        return f"{value:.1f}" if value < 10 else f"{value:.0f}"
    text = format_share(value)
    has_room = column.endswith("@10") or column == "auroc"
    interval = row["ci95"].get(column) if with_ci and has_room else None
    return f"{text} ({format_share(interval[0])}-{format_share(interval[1])})" if interval else text


def format_share(value: float | None) -> str:
    """A share with four decimals and without the leading zero; "-" if there is none."""
    return "-" if value is None else f"{value:.4f}".replace("0.", ".", 1)


app = build_group(
    "bench", "Benchmarks on public data: next items, cold items, one model for all tasks, texts."
)

DataOption = Annotated[Path, typer.Option("--data", help="Folder of the data, see the docs.")]
FileOption = Annotated[
    Path, typer.Option("--json", help="Results file; a killed run resumes from it.")
]
ModelsOption = Annotated[
    str | None, typer.Option("--models", help="Model names, comma-separated; default: all.")
]
SeedsOption = Annotated[
    int,
    typer.Option("--seeds", help="Number of seeds of random models."),
]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", help="Folder of text vectors; default: FILE.work/cache.")
]
EncoderOption = Annotated[str, typer.Option("--encoder", help="Text encoder, as [content] name.")]
TestOption = Annotated[
    Path | None,
    typer.Option("--test", help="A second file of judgements, for testing only."),
]

_SEQUENTIAL_COLUMNS = {
    "R@5": "R@5",
    "N@5": "N@5",
    "R@10": "R@10",
    "N@10": "N@10",
    "train_cpu_s": "CPU s",
    "train_wall_s": "wall s",
    "peak_mb": "MB",
}
_COLD_COLUMNS = {
    "cold_R@10": "cold R@10",
    "cold_N@10": "cold N@10",
    "warm_R@10": "warm R@10",
    "warm_N@10": "warm N@10",
    "coverage_cold@10": "coverage",
    "tail_share@10": "tail",
    "gini@10": "Gini",
    "popularity_lift@10": "lift",
    "train_cpu_s": "CPU s",
}
_UNIFIED_COLUMNS = {
    "R@10": "R@10",
    "N@10": "N@10",
    "R@100": "R@100",
    "cpu_s": "CPU s",
}

_JUDGE_COLUMNS = {
    "auroc": "AUROC",
    "pr_auc": "PR-AUC",
    "precision": "precision",
    "recall": "recall",
    "kappa": "kappa",
    "ece": "ECE",
    "pairs": "pairs",
    "ms_per_200": "ms / 200",
}

_CLEAN_TITLES = {
    "changed": "searched with other letters",
    "parted": "with a word split in two",
    "told": "with a suggested correction",
}

_SUGGEST_COLUMNS = {
    "success@10": "success@10",
    "mrr@10": "MRR@10",
    "cpu_ms": "CPU ms",
}


@app.command("sequential")
def sequential(
    data: DataOption,
    json: FileOption,
    models: ModelsOption = None,
    seeds: SeedsOption = 3,
    cache: CacheOption = None,
) -> None:
    """Next-item recommendation: hold out the last item, rank all items."""
    from serendip_bench.sequential.models import SEQUENTIAL

    _run("sequential", (data, json, cache), SEQUENTIAL, (models, seeds), _SEQUENTIAL_COLUMNS)


@app.command("cold")
def cold(
    data: DataOption,
    json: FileOption,
    models: ModelsOption = None,
    seeds: SeedsOption = 3,
    cache: CacheOption = None,
) -> None:
    """Cold start: 5 % of the items held out of training, ranked among all items."""
    from serendip_bench.sequential.models import COLD

    _run("cold", (data, json, cache), COLD, (models, seeds), _COLD_COLUMNS)


@app.command("unified")
def unified(
    data: DataOption,
    json: FileOption,
    models: ModelsOption = None,
    seeds: SeedsOption = 3,
    cache: CacheOption = None,
    encoder: EncoderOption = "minilm",
) -> None:
    """One model for next items, search and similar items, compared with specialists.

    Pairs of tasks and ablations run with one seed, whatever --seeds is.
    """
    from serendip.content.encoders.text import TextEncoderConfig
    from serendip_bench.datasets.registry import detect_dataset
    from serendip_bench.unified.models import select_lines
    from serendip_bench.unified.run import UnifiedBench, run_unified

    terminal, lines = Terminal(as_json=True), select_lines(models, detect_dataset(data).table)
    reader = TextEncoderConfig(name=encoder)
    bench = UnifiedBench(data, json, lines, seeds, cache, reader)
    document = run_unified(bench, terminal.options(), build_row_printer(terminal, _UNIFIED_COLUMNS))
    summaries = {
        f"{format_task(model):<15} {model['model']}": model
        for model in document["summary"]["models"]
    }
    print_summary({**document, "summary": {"models": summaries}}, _UNIFIED_COLUMNS)
    typer.echo(f"Results: {json}")


@app.command("judge")
def judge(
    data: DataOption,
    json: FileOption,
    test: TestOption = None,
    models: ModelsOption = None,
    seeds: SeedsOption = 3,
    cache: CacheOption = None,
    part: Annotated[
        Literal["dev", "test"],
        typer.Option(help="Gold labels that figures are about: test, or dev to choose on."),
    ] = "test",
) -> None:
    """Detection of irrelevant items, on pairs judged by people."""
    from serendip_bench.relevance_judges.registry import select_judges
    from serendip_bench.relevance_judges.run import JudgeBench, run_judge

    terminal = Terminal(as_json=True)
    judges = select_judges(models)
    bench = JudgeBench(data, json, judges, test, seeds, cache, part=part)
    document = run_judge(bench, terminal.options(), build_row_printer(terminal, _JUDGE_COLUMNS))
    summaries = {f"{row['model']} {row['seed']}": row for row in document["rows"]}
    print_summary({**document, "summary": {"models": summaries}}, _JUDGE_COLUMNS)
    typer.echo(f"Results: {json}")


@app.command("attributes")
def attributes(
    data: DataOption,
    json: FileOption,
    names: Annotated[str, typer.Option(help="Attributes, comma-separated.")] = "brand,color",
    seeds: SeedsOption = 3,
) -> None:
    """How right values of hidden attributes are, and what the gate says of them."""
    from serendip_bench.attribute_values import AttributeBench, run_attributes

    terminal = Terminal(as_json=True)
    bench = AttributeBench(data, json, tuple(names.split(",")), seeds)
    document = run_attributes(bench, terminal.options())
    for row in document["rows"]:
        right, low, high = (format_share(share) for share in (row["right"], *row["ci95"]))
        typer.echo(
            f"{row['attribute']:<10} {row['writer']:<14} seed {row['seed']}: {row['written']:,} of "
            f"{row['hidden']:,} hidden, right {right} ({low} to {high}); gate: {row['gate']} "
            f"({format_share(row['gate_low'])} of {row['compared']:,})"
        )
    typer.echo(f"Results: {json}")


@app.command("label-quality")
def label_quality(
    json: FileOption,
    seeds: SeedsOption = 3,
    plot: Annotated[Path | None, typer.Option(help="An SVG file to draw.")] = None,
) -> None:
    """Gain of search against the quality of labels and queries that an LLM writes; no data."""
    from serendip_bench.label_quality.run import LabelQualityBench, run_label_quality

    terminal = Terminal(as_json=True)
    document = run_label_quality(LabelQualityBench(json, plot, seeds), terminal.options())
    for row in document["rows"]:
        low, high = row["ci95"]
        typer.echo(
            f"{row['kind']:<16} {row['precision']:.2f}  {row['without']:.4f} -> {row['with']:.4f}  "
            f"{row['gain']:+.4f} ({low:+.4f} to {high:+.4f})  gate passed in "
            f"{sum(row['gate'])} of {len(row['gate'])}"
        )
    typer.echo(f"Results: {json}")


@app.command("spelling")
def spelling(data: DataOption, json: FileOption, seeds: SeedsOption = 3) -> None:
    """Effect of one typo on search, and of spelling correction on clean queries."""
    from serendip_bench.spelling import SpellingBench, run_spelling

    terminal = Terminal(as_json=True)
    document = run_spelling(SpellingBench(data, json, seeds), terminal.options())
    for row in document["rows"]:
        low, high = (format_share(end) for end in row["ci95"])
        ndcg, kept = format_share(row["N@10"]), format_share(row["kept"])
        line = f"{row['part']:<9} {row['slip']:<14} N@10 {ndcg}  kept {kept} ({low}-{high})"
        typer.echo(line)
    clean = document["clean"]
    for name, title in _CLEAN_TITLES.items():
        shares = ", ".join(f"{part} {format_share(share)}" for part, share in clean[name].items())
        typer.echo(f"Original queries {title}: {shares}.")
    typer.echo(f"Correction takes {clean['read_ms']} CPU ms per query.")
    for correction in clean["which"]:
        change = (
            f"{format_share(correction['N@10 as typed'])} -> {format_share(correction['N@10'])}"
        )
        typer.echo(f"  {correction['query']}  ->  {correction['searched']}  ({change})")
    typer.echo(f"Results: {json}")


@app.command("rewrites")
def rewrites(data: DataOption, json: FileOption, cache: CacheOption = None) -> None:
    """Rewrites of queries with few matching items; other queries are not rewritten."""
    from serendip_bench.rewrites import RewritesBench, run_rewrites

    terminal = Terminal(as_json=True)
    folder = cache or json.with_name(f"{json.name}.work") / "cache"
    document = run_rewrites(RewritesBench(data, json, folder), terminal.options())
    for name, student in document["students"].items():
        typer.echo(f"{name.capitalize()}:")
        _print_student(student)
    typer.echo(f"Results: {json}")


def _print_student(student: Mapping[str, Any]) -> None:
    for row in student["rows"]:
        _print_rewritten(
            f"{row['queries']}: {row['offered']} of {row['of all']} with a rewrite", row
        )
    confidence, ms = student["confidence"], student["ms"]
    typer.echo(f"{student['others']} other queries are not rewritten.")
    if confidence["rewrites"]:
        typer.echo(
            f"Best rewrites: confidence {confidence['mean']:.3f}, "
            f"success rate {confidence['serve']:.3f}."
        )
    typer.echo(f"CPU ms: {ms['seen']:.3f} for a text of the table, {ms['unseen']:.3f} for others.")


def _print_rewritten(title: str, row: Mapping[str, Any]) -> None:
    typer.echo(title)
    for name in ("N@10", "R@10"):
        if name in row:
            metric = row[name]
            values = f"{metric['as typed']:.4f} -> {metric['rewritten']:.4f}"
            typer.echo(f"  {name} {values}  {_format_difference(metric['difference'])}")


def _format_difference(difference: Mapping[str, float]) -> str:
    value, low, high = (difference[name] for name in ("value", "low", "high"))
    return f"{value:+.4f} ({low:+.4f} to {high:+.4f})"


@app.command("suggest")
def suggest(
    data: DataOption,
    json: FileOption,
    targets: Annotated[
        str,
        typer.Option(
            "--set",
            help="Tags: new, recent, next or validation. Held-out users: categories (sequences) or "
            "requests (redial beside the films), each also with -validation.",
        ),
    ] = "new",
    models: ModelsOption = None,
    users: Annotated[
        int, typer.Option("--users", min=1, help="Most held-out users that are asked.")
    ] = 1_000,
    cache: CacheOption = None,
) -> None:
    """Query suggestions: success@10 on the next query of users, and retrievability of items."""
    from serendip_bench.suggest import SuggestBench, run_suggest

    terminal = Terminal(as_json=True)
    names = tuple(models.split(",")) if models else ()
    bench = SuggestBench(data, json, targets, cache, names, users=users)
    document = run_suggest(bench, terminal.options(), build_row_printer(terminal, _SUGGEST_COLUMNS))
    summaries = {f"{row['model']}, {row['typed']} typed": row for row in document["rows"]}
    print_summary({**document, "summary": {"models": summaries}}, _SUGGEST_COLUMNS)
    for comparison in document["comparisons"]:
        title = f"{comparison['metric']}: {comparison['system']} - {comparison['baseline']}"
        interval = f"({comparison['low']:+.3f} to {comparison['high']:+.3f})"
        typer.echo(f"{title} = {comparison['difference']:+.3f} {interval}")
    typer.echo(f"Results: {json}")


@app.command("served")
def served(
    data: DataOption,
    json: Annotated[
        Path, typer.Option("--json", help="Results file; the workspace is kept in FILE.work.")
    ],
    users: Annotated[
        int, typer.Option("--users", help="Users to ask, a random sample; 0 = all.")
    ] = 4_000,
    cold_items: Annotated[
        float,
        typer.Option(
            "--cold-items", help="Share of the items that the training does not have; posted later."
        ),
    ] = 0.0,
    seed: SeedOption = 0,
) -> None:
    """The product with its defaults on a sequence set: init, train, serve, asked over HTTP."""
    from serendip_bench.served.run import ServedBench, run_served

    terminal = Terminal(as_json=True)
    bench = ServedBench(data, json, users, seed, cold_items)
    document = run_served(bench, terminal.options().progress)
    asked = document["users"]
    typer.echo(f"{asked['asked']:,} of {asked['possible']:,} users, seed {document['seed']}")
    _print_slices(document["slices"])
    if "by_score" in document:
        typer.echo(f"The same without exploration ({document['posted_items']:,} items posted)")
        _print_slices(document["by_score"])
    for name, row in document["baselines"].items():
        typer.echo(f"{name} alone; the engine minus it")
        for part in ("all", "order-safe"):
            difference = row["engine"][part]["N@10"]
            interval = "".join(
                f" {difference[end] or 0.0:+.4f}" for end in ("value", "low", "high")
            )
            typer.echo(
                f"  {part:<12} N@10 {_format_estimate(row['slices'][part]['N@10'])}{interval}"
            )
    for name, cost in document["costs"].items():
        values = ", ".join(f"{key} {value:,.1f}" for key, value in cost.items())
        typer.echo(f"  {name:<11} {values}")
    typer.echo(f"Results: {json}")


@app.command("reliability")
def reliability(
    quick: Annotated[bool, typer.Option("--quick", help="Small counts, for a change.")] = False,
    only: Annotated[
        str | None, typer.Option("--only", help="Harness names, comma-separated; default: all.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="Results file, written after each harness.")
    ] = None,
) -> None:
    """Kills, power cuts, overload and more, many times over: is what is promised kept?

    Ends with code 1 if a promise is broken, or if a negative control is not noticed.
    """
    from serendip.runtime.atomic_files import write_json
    from serendip_bench.reliability.run import (
        expected_s,
        format_result,
        run_harnesses,
        select_harnesses,
    )

    results: dict[str, Mapping[str, Any]] = {}

    def report(name: str, result: Mapping[str, Any]) -> None:
        for line in format_result(name, result):
            typer.echo(line)
        results[name] = result
        if json is not None:
            write_json(json, {"harnesses": results})

    harnesses = select_harnesses(only, quick)
    minutes = expected_s(harnesses, quick) / 60
    typer.echo(f"{len(harnesses)} harnesses, about {minutes:.0f} min on two free cores")
    progress = Terminal(as_json=True).options().progress
    document = run_harnesses(harnesses, progress, report, quick)
    if json is not None:
        write_json(json, document)
    raise typer.Exit(0 if document["is_kept"] else 1)


def _print_slices(slices: Mapping[str, Any]) -> None:
    for name, row in slices.items():
        typer.echo(
            f"  {name:<12} {row['users']:>6,} users  R@10 {_format_estimate(row['R@10'])}  "
            f"N@10 {_format_estimate(row['N@10'])}"
        )


def _format_estimate(estimate: Mapping[str, float | None]) -> str:
    value, low, high, error = (estimate[name] for name in ("value", "low", "high", "se"))
    if value is None or low is None or high is None:
        return "-"
    ends = f"({format_share(low)}-{format_share(high)})"
    return f"{format_share(value)} {ends}" + (f" se {format_share(error)}" if error else "")


def _run(
    kind: Kind,
    paths: tuple[Path, Path, Path | None],
    table: Mapping[str, BenchModel],
    selection: tuple[str | None, int],
    columns: Mapping[str, str],
) -> None:
    from serendip_bench.sequential.models import select_models
    from serendip_bench.sequential.run import Bench, run_bench

    terminal = Terminal(as_json=True)
    data, file, cache = paths
    names, seeds = selection
    bench = Bench(kind, data, file, select_models(table, names), seeds, cache)
    document = run_bench(bench, terminal.options(), build_row_printer(terminal, columns))
    print_summary(document, columns)
    typer.echo(f"Results: {file}")
