"""``serendip bench``: models, judges and suggested queries on public data.

Rows and tables of benchmarks for people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serendip.cli.terminal import Terminal
from serendip.errors import ConfigError

if TYPE_CHECKING:
    from serendip_bench.sequential.models import BenchModel
    from serendip_bench.sequential.rows import Kind


def row_teller(
    terminal: Terminal, columns: Mapping[str, str]
) -> Callable[[Mapping[str, Any]], None]:
    """Says each row on stderr as it is finished."""

    def show(row: Mapping[str, Any]) -> None:
        task = f"{task_text(row)}, " if "task" in row else ""
        typed = f", {row['typed']} typed" if "typed" in row else ""
        name = f"{task}{row.get('mode', row['model'])}{typed} (seed {row['seed']})"
        if "reason" in row:
            terminal.say(f"  {name:<30} skipped: {row['reason']}")
            return
        values = "  ".join(f"{title} {_text(column, row)}" for column, title in columns.items())
        terminal.say(f"  {name:<30} {values}")

    return show


def task_text(row: Mapping[str, Any]) -> str:
    """Task, and set of requests where it has one."""
    return f"{row['task']} {row['set']}" if "set" in row else str(row["task"])


def show_summary(document: Mapping[str, Any], columns: Mapping[str, str]) -> None:
    """The table: means over seeds, intervals at 10."""
    models = document["summary"]["models"]
    lines = [["model", *columns.values()]]
    for name, row in models.items():
        lines.append([name, *(_text(column, row, with_ci=True) for column in columns)])
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
    if document.get("encode_cpu_s") is not None:
        typer.echo(f"Encoding the texts of the items: {document['encode_cpu_s']:.1f} CPU s")


def _text(column: str, row: Mapping[str, Any], with_ci: bool = False) -> str:
    value = row.get(column)
    if value is None:
        return "-"
    if column == "pairs":
        return f"{value:,}"
    if column.endswith(("_s", "_mb", "_200", "_ms")):
        return f"{value:.1f}" if value < 10 else f"{value:.0f}"
    text = share_text(value)
    has_room = column.endswith("@10") or column == "auroc"
    ends = row["ci95"].get(column) if with_ci and has_room else None
    return f"{text} ({share_text(ends[0])}-{share_text(ends[1])})" if ends else text


def share_text(value: float) -> str:
    """Four digits without the zero before the point."""
    return f"{value:.4f}".replace("0.", ".", 1)


NAME = "bench"
HELP = "Measure models on public data: sequences, new items, one model for all tasks, texts."

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

DataOption = Annotated[Path, typer.Option("--data", help="Folder of the data, see the docs.")]
FileOption = Annotated[
    Path, typer.Option("--json", help="Results file; rows are appended, a killed run resumes.")
]
ModelsOption = Annotated[
    str | None, typer.Option("--models", help="Names, comma-separated; default: all of them.")
]
SeedsOption = Annotated[
    int,
    typer.Option("--seeds", help="Runs of models that use chance."),
]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", help="Folder of text vectors; default: FILE.work/cache.")
]
TestOption = Annotated[
    Path | None,
    typer.Option("--test", help="A second file of judgements, which is only ever judged on."),
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
    """What comes next: leave the last item out, rank all items."""
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
    """Items that nobody has chosen yet: 5 % held out, ranked among all items."""
    from serendip_bench.sequential.models import COLD

    _run("cold", (data, json, cache), COLD, (models, seeds), _COLD_COLUMNS)


@app.command("unified")
def unified(
    data: DataOption,
    json: FileOption,
    models: ModelsOption = None,
    seeds: SeedsOption = 3,
    cache: CacheOption = None,
) -> None:
    """One model for what comes next, search and similar items, beside specialists.

    Pairs of tasks and ablations are trained once, whatever --seeds says.
    """
    from serendip_bench.datasets.registry import detect_dataset
    from serendip_bench.unified.models import select_lines
    from serendip_bench.unified.run import UnifiedBench, run_unified

    terminal, lines = Terminal(as_json=True), select_lines(models, detect_dataset(data).table)
    bench = UnifiedBench(data, json, lines, seeds, cache)
    document = run_unified(bench, terminal.options(), row_teller(terminal, _UNIFIED_COLUMNS))
    found = {f"{task_text(one):<15} {one['model']}": one for one in document["summary"]["models"]}
    show_summary({**document, "summary": {"models": found}}, _UNIFIED_COLUMNS)
    typer.echo(f"Results: {json}")


@app.command("judge")
def judge(
    data: DataOption,
    json: FileOption,
    test: TestOption = None,
    models: ModelsOption = None,
    seeds: SeedsOption = 3,
    cache: CacheOption = None,
) -> None:
    """Who tells bad matches from good ones, on pairs that people have judged."""
    from serendip_bench.relevance_judges.registry import select_judges
    from serendip_bench.relevance_judges.run import JudgeBench, run_judge

    terminal = Terminal(as_json=True)
    bench = JudgeBench(data, json, select_judges(models), test, seeds, cache)
    document = run_judge(bench, terminal.options(), row_teller(terminal, _JUDGE_COLUMNS))
    found = {f"{row['model']} {row['seed']}": row for row in document["rows"]}
    show_summary({**document, "summary": {"models": found}}, _JUDGE_COLUMNS)
    typer.echo(f"Results: {json}")


@app.command("enrich")
def enrich(
    data: DataOption,
    json: FileOption,
    cache: CacheOption = None,
    llm_seconds: Annotated[
        float, typer.Option(min=0, help="How long the local LLM writes, too; 0 = it does not.")
    ] = 0.0,
) -> None:
    """Products without descriptions: what written texts do for search."""
    from serendip_bench.enrich import EnrichBench, run_enrich

    terminal = Terminal(as_json=True)
    document = run_enrich(EnrichBench(data, json, llm_seconds, cache), terminal.options())
    llm = document["llm"]
    _show_texts(f"{document['items']:,} items, {document['queries']} queries", document)
    if llm is not None:
        _show_texts(f"{llm['items']} of them, {llm['written']} written about by an LLM", llm)
    typer.echo(f"Results: {json}")


def _show_texts(title: str, document: Mapping[str, Any]) -> None:
    typer.echo(title)
    for row in document["rows"]:
        ends = row.get("minus_stripped")
        more = f"  {ends['value']:+.4f} ({ends['low']:+.4f} to {ends['high']:+.4f})" if ends else ""
        typer.echo(f"  {row['search']:<6} {row['text']:<9} {row['nDCG@10']:.4f}{more}")


@app.command("spelling")
def spelling(data: DataOption, json: FileOption, seeds: SeedsOption = 3) -> None:
    """What one slip of the finger costs search, and what correcting costs clean queries."""
    from serendip_bench.spelling import SpellingBench, run_spelling

    terminal = Terminal(as_json=True)
    document = run_spelling(SpellingBench(data, json, seeds), terminal.options())
    for row in document["rows"]:
        low, high = (share_text(end) for end in row["ci95"])
        kept = f"{share_text(row['kept'])} ({low}-{high})"
        typer.echo(
            f"{row['part']:<9} {row['slip']:<14} N@10 {share_text(row['N@10'])}  kept {kept}"
        )
    clean = document["clean"]
    for name in ("changed", "parted", "told"):
        shares = ", ".join(f"{part} {share_text(share)}" for part, share in clean[name].items())
        typer.echo(f"{name.capitalize()} of the queries as typed: {shares}.")
    typer.echo(f"Reading one takes {clean['read_ms']} CPU ms.")
    for one in clean["which"]:
        found = f"{share_text(one['N@10 as typed'])} -> {share_text(one['N@10'])}"
        typer.echo(f"  {one['query']}  ->  {one['searched']}  ({found})")
    typer.echo(f"Results: {json}")


@app.command("rewrites")
def rewrites(data: DataOption, json: FileOption, cache: CacheOption = None) -> None:
    """What other texts find for queries that few items answer, and that no other query changes."""
    from serendip_bench.rewrites import RewritesBench, run_rewrites

    terminal = Terminal(as_json=True)
    folder = cache or json.with_name(f"{json.name}.work") / "cache"
    document = run_rewrites(RewritesBench(data, json, folder), terminal.options())
    for name, student in document["students"].items():
        typer.echo(f"{name.capitalize()}:")
        _tell_student(student)
    typer.echo(f"Results: {json}")


def _tell_student(student: Mapping[str, Any]) -> None:
    for row in student["rows"]:
        _tell_rewritten(f"{row['queries']}: {row['offered']} of {row['of all']} offered", row)
    sure, ms = student["confidence"], student["ms"]
    typer.echo(f"{student['others']} other queries.")
    if sure["rewrites"]:
        typer.echo(f"Surest rewrites: confidence {sure['mean']:.3f}, {sure['serve']:.3f} serve.")
    typer.echo(f"CPU ms: {ms['seen']:.3f} for a text of the table, {ms['unseen']:.3f} for another.")


def _tell_rewritten(title: str, row: Mapping[str, Any]) -> None:
    typer.echo(title)
    for name in ("N@10", "R@10"):
        if name in row:
            one, ends = row[name], row[name]["difference"]
            told = f"{one['as typed']:.4f} -> {one['rewritten']:.4f}"
            change = f"{ends['value']:+.4f} ({ends['low']:+.4f} to {ends['high']:+.4f})"
            typer.echo(f"  {name} {told}  {change}")


@app.command("suggest")
def suggest(
    data: DataOption,
    json: FileOption,
    targets: Annotated[
        str, typer.Option("--set", help="Which tags: new, recent, next or validation.")
    ] = "new",
    models: ModelsOption = None,
    cache: CacheOption = None,
) -> None:
    """Suggested queries: is a user's next tag among the first ten, and what do they reach?"""
    from serendip_bench.datasets.movielens import SETS
    from serendip_bench.suggest import SuggestBench, run_suggest

    if targets not in SETS:
        raise ConfigError(f"--set {targets!r}.", f"Name one of: {', '.join(SETS)}.")
    terminal = Terminal(as_json=True)
    names = tuple(models.split(",")) if models else ()
    bench = SuggestBench(data, json, targets, cache, names)
    document = run_suggest(bench, terminal.options(), row_teller(terminal, _SUGGEST_COLUMNS))
    found = {f"{row['model']}, {row['typed']} typed": row for row in document["rows"]}
    show_summary({**document, "summary": {"models": found}}, _SUGGEST_COLUMNS)
    for one in document["comparisons"]:
        typer.echo(
            f"{one['metric']}: {one['system']} - {one['baseline']} = {one['difference']:+.3f} "
            f"({one['low']:+.3f} to {one['high']:+.3f})"
        )
    typer.echo(f"Results: {json}")


def _run(
    kind: Kind,
    places: tuple[Path, Path, Path | None],
    table: Mapping[str, BenchModel],
    asked: tuple[str | None, int],
    columns: Mapping[str, str],
) -> None:
    from serendip_bench.sequential.models import select_models
    from serendip_bench.sequential.run import Bench, run_bench

    terminal = Terminal(as_json=True)
    data, file, cache = places
    names, seeds = asked
    bench = Bench(kind, data, file, select_models(table, names), seeds, cache)
    document = run_bench(bench, terminal.options(), row_teller(terminal, columns))
    show_summary(document, columns)
    typer.echo(f"Results: {file}")
