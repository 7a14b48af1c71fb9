"""The relevance filter on a catalogue of judged products: accuracy and CPU time.

    python -m serendip_bench.scripts.match_filter ../shared/data/esci-mini [--workspace FOLDER]

Creates a workspace of ``items.jsonl``, splits the queries of ``judgements.csv`` at random (seed 0)
into halves for training and gold, and runs ``serendip judge distil`` and a training with the filter
on search. The threshold is the one of distil that replaces a tenth of the shown items. Then CPU
times on one thread are measured in turns: the relevance model on 200 candidates of each gold query,
and searches with and without the filter. Prints one JSON line. A
given workspace is kept; existing steps are not repeated.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from serendip.runtime.threads import limit_threads

limit_threads(1)

import numpy as np

from serendip.data.query import Query
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.list_filters import RelevanceFilterConfig

CANDIDATES = 200
NUM_TURNS = 5
LABELS, GOLD = "labels.csv", "gold.csv"


def run(data: Path, workspace: Path) -> dict[str, Any]:
    """Train and measure."""
    if not (workspace / "serendip.toml").exists():
        _run_command("init", "--items", str(data / "items.jsonl"), "-w", str(workspace))
    gold = _split_judgements(data / "judgements.csv", workspace)
    student = _distil(workspace)
    threshold = student["filter"]["tenth_threshold"]
    settings = workspace / "serendip.toml"
    if "relevance_filter" not in (settings_text := settings.read_text(encoding="utf-8")):
        settings.write_text(
            f"{settings_text}\n[surfaces.search.relevance_filter]\nthreshold = {threshold:.6f}\n"
        )
    if not (workspace / "generations").exists():
        _run_command("train", "-w", str(workspace))
    return {"benchmark": "match filter", "student": student} | _measure_times(
        Engine.open(workspace), gold
    )


def _split_judgements(judgements: Path, workspace: Path) -> list[str]:
    """Write labels and gold; returns the gold queries."""
    with judgements.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    queries = sorted({row["query"] for row in rows})
    training_queries = {
        queries[at] for at in np.random.default_rng(0).permutation(len(queries))[::2]
    }
    for name, is_training in ((LABELS, True), (GOLD, False)):
        with (workspace / name).open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, ("query", "item_id", "label"), extrasaction="ignore")
            table.writeheader()
            table.writerows(
                row for row in rows if (row["query"] in training_queries) == is_training
            )
    return [query for query in queries if query not in training_queries]


def _distil(workspace: Path) -> dict[str, Any]:
    """The result of ``judge distil``, stored in the workspace."""
    result_file = workspace / "student.json"
    if not result_file.exists():
        files = "--labels", str(workspace / LABELS), "--gold", str(workspace / GOLD)
        result_file.write_text(
            json.dumps(_run_command("judge", "distil", *files, "-w", str(workspace))),
            encoding="utf-8",
        )
    document: dict[str, Any] = json.loads(result_file.read_text(encoding="utf-8"))
    return document


def _run_command(*arguments: str) -> dict[str, Any]:
    """Run a command; returns its JSON document."""
    command = [sys.executable, "-m", "serendip", *arguments, "--json"]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
    document: dict[str, Any] = json.loads(process.stdout)
    return document


def _measure_times(engine: Engine, texts: Sequence[str]) -> dict[str, Any]:
    """CPU milliseconds per query: the relevance model alone, and searches with and without it."""
    model = engine.state.relevance_models.get("search")
    surface = engine.settings.all_surfaces()["search"]
    assert model is not None, "the generation has no relevance model"
    queries = engine.queries(Request("search", text=text) for text in texts)
    count = len(engine.state.catalogue)
    random = np.random.default_rng(0)
    candidates = [random.permutation(count)[:CANDIDATES].astype(np.int32) for _ in queries]

    def predict() -> None:
        for query, numbers in zip(queries, candidates, strict=True):
            assert query.text_vector is not None
            model.probabilities(query.text, query.text_vector, numbers)

    def search(relevance_filter: Any) -> Callable[[], None]:
        from serendip.engine.stages.pipeline import run as answer

        config = surface.model_copy(update={"relevance_filter": relevance_filter})
        return lambda: _for_each(queries, lambda query: answer([query], config, engine.state))

    tasks = {
        "judge_ms": predict,
        "search_ms": search(surface.relevance_filter),
        "search_without_ms": search(RelevanceFilterConfig(enabled=False)),
    }
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(NUM_TURNS):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            times[name].append(1000 * (time.process_time() - start) / len(queries))
    return {name: float(np.median(task_times)) for name, task_times in times.items()}


def _for_each(queries: Sequence[Query], answer: Callable[[Query], Any]) -> None:
    for query in queries:
        answer(query)


def main() -> None:
    """Parse, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--workspace", type=Path, help="Default: a temporary folder.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        workspace = arguments.workspace or Path(scratch) / "shop"
        print(json.dumps(run(arguments.data, workspace)))


if __name__ == "__main__":
    main()
