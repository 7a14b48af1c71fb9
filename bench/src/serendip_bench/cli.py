"""``serendip bench``: commands of the benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serendip.cli.terminal import SeedOption, Terminal, build_group
from serendip_bench.results import print_table, say_row

if TYPE_CHECKING:
    from serendip_bench.ranking.models import BenchModel
    from serendip_bench.ranking.rows import Kind

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
SeedsOption = Annotated[int, typer.Option("--seeds", help="Number of seeds of random models.")]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", help="Folder of text vectors; default: FILE.work/cache.")
]
EncoderOption = Annotated[str, typer.Option("--encoder", help="Text encoder, as [content] name.")]

_DIFFERENCES = ("system", "baseline", "metric", "difference", "low", "high")


@app.command("sequential")
def sequential(
    data: DataOption,
    json: FileOption,
    models: ModelsOption = None,
    seeds: SeedsOption = 3,
    cache: CacheOption = None,
) -> None:
    """Next-item recommendation: hold out the last item, rank all items."""
    from serendip_bench.ranking.models import SEQUENTIAL

    columns = ("model", "R@5", "N@5", "R@10", "N@10", "train_cpu_s", "peak_mb")
    _run("sequential", (data, json, cache), SEQUENTIAL, (models, seeds, "minilm"), columns)


@app.command("cold")
def cold(
    data: DataOption,
    json: FileOption,
    models: ModelsOption = None,
    seeds: SeedsOption = 3,
    cache: CacheOption = None,
) -> None:
    """Cold start: 5 % of the items held out of training, ranked among all items."""
    from serendip_bench.ranking.models import COLD

    shares = ("coverage_cold@10", "tail_share@10", "gini@10")
    columns = ("set", "model", "R@10", "N@10", *shares, "train_cpu_s")
    _run("cold", (data, json, cache), COLD, (models, seeds, "minilm"), columns)


@app.command("unified")
def unified(
    data: DataOption,
    json: FileOption,
    models: ModelsOption = None,
    seeds: SeedsOption = 3,
    cache: CacheOption = None,
    encoder: EncoderOption = "minilm",
) -> None:
    """One model for next items, search and similar items, compared with specialists."""
    from serendip_bench.datasets.products import JUDGEMENTS_FILE
    from serendip_bench.ranking.models import UNIFIED, UNIFIED_PRODUCTS

    table = UNIFIED_PRODUCTS if (data / JUDGEMENTS_FILE).exists() else UNIFIED
    columns = ("set", "model", "R@10", "N@10", "R@100", "train_cpu_s")
    _run("unified", (data, json, cache), table, (models, seeds, encoder), columns)


def _run(
    kind: Kind,
    paths: tuple[Path, Path, Path | None],
    table: Mapping[str, BenchModel],
    chosen: tuple[str | None, int, str],
    columns: tuple[str, ...],
) -> None:
    from serendip_bench.ranking.models import select_models
    from serendip_bench.ranking.run import RankingBench, run_bench

    terminal, (data, file, cache), (names, seeds, encoder) = Terminal(as_json=True), paths, chosen
    models = select_models(table, names)
    bench = RankingBench(kind, data, file, models, seeds, cache, encoder)
    document = run_bench(bench, terminal.options(), say_row(terminal.say, (*columns, "seed")))
    print_table(document["summary"]["models"], columns)
    print_table(document["summary"]["comparisons"], ("set", *_DIFFERENCES))
    typer.echo(f"Results: {file}")


@app.command("judge")
def judge(
    data: DataOption,
    json: FileOption,
    models: ModelsOption = None,
    seeds: SeedsOption = 3,
    cache: CacheOption = None,
    part: Annotated[
        Literal["dev", "test"],
        typer.Option(help="Gold labels that figures are about: test, or dev to choose on."),
    ] = "test",
) -> None:
    """Detection of irrelevant items, on pairs judged by people."""
    from serendip_bench.judges.judges import select_judges
    from serendip_bench.judges.run import JudgeBench, run_judge

    terminal, judges = Terminal(as_json=True), select_judges(models)
    quality = ("auroc", "pr_auc", "precision", "recall", "kappa", "ece")
    columns = ("model", "seed", *quality, "pairs", "ms_per_200")
    bench = JudgeBench(data, json, judges, seeds, cache, part=part)
    document = run_judge(bench, terminal.options(), say_row(terminal.say, columns))
    print_table(document["rows"], columns)
    typer.echo(f"Results: {json}")


@app.command("spelling")
def spelling(data: DataOption, json: FileOption, seeds: SeedsOption = 3) -> None:
    """Effect of one typo on search, and of spelling correction on clean queries."""
    from serendip_bench.spelling import SpellingBench, run_spelling

    document = run_spelling(SpellingBench(data, json, seeds), Terminal(as_json=True).options())
    print_table(document["rows"], ("part", "slip", "queries", "N@10", "kept", "ci95"))
    clean = document["clean"]
    shares = [{"queries as typed": name, **clean[name]} for name in ("changed", "parted", "told")]
    print_table(shares, ("queries as typed", "tuned on", "held out", "all"))
    print_table(clean["which"], ("query", "searched", "N@10 as typed", "N@10"))
    typer.echo(f"Correction takes {clean['read_ms']} CPU ms per query.\nResults: {json}")


@app.command("rewrites")
def rewrites(data: DataOption, json: FileOption) -> None:
    """Broader texts for queries with few matching items; other queries are not rewritten."""
    from serendip_bench.rewrites import run_rewrites

    document = run_rewrites(data, json, Terminal(as_json=True).options())
    for row in document["rows"]:
        typer.echo(f"{row['queries']}: {row['offered']} of {row['of all']} with a rewrite")
        metrics = [{"metric": name, **row[name]} for name in ("N@10", "R@10") if name in row]
        print_table(
            [{**one, **one["difference"]} for one in metrics],
            ("metric", "as typed", "rewritten", "value", "low", "high"),
        )
    typer.echo(f"{document['others']} other queries are not rewritten.")
    print_table([document["confidence"]], ("rewrites", "mean", "serve"))
    typer.echo(f"A text takes {document['ms']} CPU ms.\nResults: {json}")


@app.command("suggest")
def suggest(
    data: DataOption,
    json: FileOption,
    targets: Annotated[
        str,
        typer.Option(
            "--set",
            help="Tags: new or validation. Held-out users: categories (sequences) or "
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

    terminal, names = Terminal(as_json=True), tuple(models.split(",")) if models else ()
    columns = ("model", "typed", "success@10", "mrr@10", "cpu_ms")
    bench = SuggestBench(data, json, targets, cache, names, users=users)
    document = run_suggest(bench, terminal.options(), say_row(terminal.say, columns))
    print_table(document["rows"], columns)
    print_table(document["comparisons"], _DIFFERENCES)
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

    bench = ServedBench(data, json, users, seed, cold_items)
    document = run_served(bench, Terminal(as_json=True).options().progress)
    asked = document["users"]
    typer.echo(f"{asked['asked']:,} of {asked['possible']:,} users, seed {document['seed']}")
    print_table(document["rows"], ("system", "slice", "users", "R@10", "N@10", "se"))
    print_table(document["comparisons"], ("baseline", "slice", "N@10", "R@10"))
    costs = [{"process": name, **cost} for name, cost in document["costs"].items()]
    measured = ("cpu_s", "wall_s", "cpu_ms_per_user", "peak_mb")
    print_table(costs, ("process", *measured))
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

    All of it takes 35 minutes on two free cores, 6 with --quick. Ends with code 1 if a promise is
    broken, or if a negative control is not noticed.
    """
    from serendip.runtime.atomic_files import write_json
    from serendip_bench.reliability.run import format_result, run_harnesses, select_harnesses

    results: dict[str, Mapping[str, Any]] = {}

    def report(name: str, result: Mapping[str, Any]) -> None:
        for line in format_result(name, result):
            typer.echo(line)
        results[name] = result
        if json is not None:
            write_json(json, {"harnesses": results})

    harnesses = select_harnesses(only, quick)
    progress = Terminal(as_json=True).options().progress
    document = run_harnesses(harnesses, progress, report)
    if json is not None:
        write_json(json, document)
    raise typer.Exit(0 if document["is_kept"] else 1)
