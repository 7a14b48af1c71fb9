"""The filter of bad matches on a catalogue of judged products: how right, and how much time.

    python src/serendip_bench/scripts/match_filter.py ../shared/data/esci-mini [--workspace FOLDER]

Makes a workspace of ``items.jsonl``, takes every other query of ``judgements.csv`` (in an order
drawn by seed 0) to learn from and the others as gold, and walks the whole way: ``serendip judge
distil``, a training with the filter on search, ``serendip judge report``. The threshold is the one
that distil finds to replace a tenth. Then it times, with one thread, 200 candidates of each gold
query and searches with the filter and without it, in turns. Prints one JSON line. A
folder that is given is kept, and goes on where it has a student and a generation.
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

CANDIDATES = 200
TURNS = 5
LABELS, GOLD = "labels.csv", "gold.csv"


def run(data: Path, workspace: Path) -> dict[str, Any]:
    """All figures."""
    if not (workspace / "serendip.toml").exists():
        _serendip("init", "--items", str(data / "items.jsonl"), "-w", str(workspace))
    gold = _parted(data / "judgements.csv", workspace)
    student = _distilled(workspace)
    threshold = student["filter"]["tenth_threshold"]
    settings = workspace / "serendip.toml"
    if "relevance_filter" not in (told := settings.read_text(encoding="utf-8")):
        settings.write_text(
            f"{told}\n[surfaces.search.relevance_filter]\nthreshold = {threshold:.6f}\n"
        )
    if not (workspace / "generations").exists():
        _serendip("train", "-w", str(workspace))
    report = _serendip("judge", "report", "--gold", str(workspace / GOLD), "-w", str(workspace))
    return {"benchmark": "match filter", "student": student, "report": report} | _timed(
        Engine.open(workspace), gold
    )


def _parted(judgements: Path, workspace: Path) -> list[str]:
    """Write labels and gold; the queries of the gold."""
    with judgements.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    queries = sorted({row["query"] for row in rows})
    learned = {queries[at] for at in np.random.default_rng(0).permutation(len(queries))[::2]}
    for name, is_learned in ((LABELS, True), (GOLD, False)):
        with (workspace / name).open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, ("query", "item_id", "label"), extrasaction="ignore")
            table.writeheader()
            table.writerows(row for row in rows if (row["query"] in learned) == is_learned)
    return [query for query in queries if query not in learned]


def _distilled(workspace: Path) -> dict[str, Any]:
    """What distil tells; kept beside the student."""
    told = workspace / "student.json"
    if not told.exists():
        files = "--labels", str(workspace / LABELS), "--gold", str(workspace / GOLD)
        told.write_text(
            json.dumps(_serendip("judge", "distil", *files, "-w", str(workspace))),
            encoding="utf-8",
        )
    document: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
    return document


def _serendip(*arguments: str) -> dict[str, Any]:
    """The document of a command."""
    command = [sys.executable, "-m", "serendip", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _timed(engine: Engine, texts: Sequence[str]) -> dict[str, Any]:
    """CPU milliseconds per query: the judge alone, and searches with it and without it."""
    judge, surface = engine.state.relevance_model, engine.settings.all_surfaces()["search"]
    assert judge is not None, "the generation was trained with a student"
    queries = engine.queries(Request("search", text=text) for text in texts)
    count = len(engine.state.catalogue)
    random = np.random.default_rng(0)
    some = [random.permutation(count)[:CANDIDATES].astype(np.int32) for _ in queries]

    def judged() -> None:
        for query, numbers in zip(queries, some, strict=True):
            assert query.text_vector is not None
            judge.probabilities(query.text, query.text_vector, numbers)

    def searched(relevance_filter: Any) -> Callable[[], None]:
        from serendip.engine.stages.pipeline import run as answer

        config = surface.model_copy(update={"relevance_filter": relevance_filter})
        return lambda: _each(queries, lambda query: answer([query], config, engine.state))

    parts = {
        "judge_ms": judged,
        "search_ms": searched(surface.relevance_filter),
        "search_without_ms": searched(None),
    }
    spent: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(TURNS):
        for name, part in parts.items():
            before = time.process_time()
            part()
            spent[name].append(1000 * (time.process_time() - before) / len(queries))
    return {name: float(np.median(one)) for name, one in spent.items()}


def _each(queries: Sequence[Query], answer: Callable[[Query], Any]) -> None:
    for query in queries:
        answer(query)


def main() -> None:
    """Parse, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--workspace", type=Path, help="Default: a folder that is deleted.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        workspace = arguments.workspace or Path(scratch) / "shop"
        print(json.dumps(run(arguments.data, workspace)))


if __name__ == "__main__":
    main()
