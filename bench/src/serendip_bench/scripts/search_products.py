"""Search of judged products as a workspace serves it, and its relevance filter.

    python -m serendip_bench.scripts.search_products ../shared/data/esci-mini [--workspace FOLDER]
        [--labels]

Makes a workspace of ``items.jsonl`` with the defaults and asks it for ten items for every query of
``judgements.csv``: nDCG@10 by the gains of the labels, and CPU milliseconds of a search.

With ``--labels`` the queries are split at random (seed 0) into halves for training and gold, and
``serendip judge distil`` and a second training put a filter on search, whose threshold is the one
of ``distil`` that replaces a tenth of the shown items. Then the gold queries are asked with the
filter and without, in turns, and the filter alone judges 200 items of each.

Prints one JSON line. A given workspace is kept, and steps that are done are not repeated.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from serendip.runtime.threads import limit_threads

limit_threads(1)

import numpy as np

from serendip.data.query import Query
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.list_filters import RelevanceFilterConfig
from serendip.engine.stages.pipeline import answer_queries as answer
from serendip.evaluate.intervals import estimate
from serendip.evaluate.metrics import NDCG, grade
from serendip.jobs.labels.pair_files import GAINS

_CANDIDATES, _TURNS = 200, 5
_COLUMNS = ("query", "item_id", "label")
_METRIC = NDCG(10)


def read_gains(judgements: Path) -> dict[str, dict[Hashable, float]]:
    """Query -> item -> gain."""
    gains: dict[str, dict[Hashable, float]] = {}
    with judgements.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            gains.setdefault(row["query"], {})[row["item_id"]] = GAINS[row["label"]]
    return gains


def measure_search(engine: Engine, gains: Mapping[str, Mapping[Hashable, float]]) -> dict[str, Any]:
    """nDCG@10 of the queries, and CPU milliseconds of one."""
    values, began = [], time.process_time()
    for text, relevance in gains.items():
        found = engine.recommend(Request("search", text=text, k=10)).items
        values.append(_METRIC.of_list(grade([item.item_id for item in found], relevance)))
    milliseconds = 1000 * (time.process_time() - began) / len(gains)
    measured = estimate(np.array(values))
    return {
        "queries": len(values),
        "N@10": measured.value,
        "ci95": [measured.low, measured.high],
        "search_ms": round(milliseconds, 2),
    }


def distil(data: Path, workspace: Path, gold: Sequence[str]) -> dict[str, Any]:
    """Distil a filter from the queries that are not gold, and train with it."""
    result = workspace / "student.json"
    if not result.exists():
        with (data / "judgements.csv").open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        for name, is_gold in (("labels.csv", False), ("gold.csv", True)):
            with (workspace / name).open("w", encoding="utf-8", newline="") as stream:
                table = csv.DictWriter(stream, _COLUMNS, extrasaction="ignore")
                table.writeheader()
                table.writerows(row for row in rows if (row["query"] in set(gold)) == is_gold)
        files = ("--labels", workspace / "labels.csv", "--gold", workspace / "gold.csv")
        found = _run_command("judge", "distil", *files, "-w", workspace)
        settings = workspace / "serendip.toml"
        table_name = "[surfaces.search.relevance_filter]"
        threshold = f"threshold = {found['filter']['tenth_threshold']:.6f}"
        settings.write_text(f"{settings.read_text('utf-8')}\n{table_name}\n{threshold}\n")
        _run_command("train", "-w", workspace)
        result.write_text(json.dumps(found), encoding="utf-8")
    document: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return document


def measure_filter(engine: Engine, texts: Sequence[str]) -> dict[str, float]:
    """CPU milliseconds per query: the filter alone, and searches with it and without."""
    model = engine.state.relevance_models.get("search")
    surface = engine.settings.all_surfaces()["search"]
    assert model is not None, "the generation has no relevance model"
    queries = engine.queries(Request("search", text=text) for text in texts)
    count, random = len(engine.state.catalogue), np.random.default_rng(0)
    chosen = [random.permutation(count)[:_CANDIDATES].astype(np.int32) for _ in queries]

    def judge(query: Query, number: int) -> None:
        assert query.text_vector is not None
        model.probabilities(query.text, query.text_vector, chosen[number])

    def search(relevance_filter: RelevanceFilterConfig) -> Callable[[Query, int], object]:
        config = surface.model_copy(update={"relevance_filter": relevance_filter})
        return lambda query, number: answer([query], config, engine.state)

    tasks: dict[str, Callable[[Query, int], object]] = {
        "judge_ms": judge,
        "filtered_ms": search(surface.relevance_filter),
        "unfiltered_ms": search(RelevanceFilterConfig(enabled=False)),
    }
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(_TURNS):
        for name, task in tasks.items():
            start = time.process_time()
            for number, query in enumerate(queries):
                task(query, number)
            times[name].append(1000 * (time.process_time() - start) / len(queries))
    return {name: float(np.median(task_times)) for name, task_times in times.items()}


def _run_command(*words: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "serendip", *map(str, words), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def main() -> None:
    """Parse, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--workspace", type=Path, help="Default: a temporary folder.")
    parser.add_argument("--labels", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        workspace = options.workspace or Path(scratch) / "shop"
        if not (workspace / "serendip.toml").exists():
            _run_command("init", "--items", options.data / "items.jsonl", "-w", workspace)
        if not (workspace / "generations").exists():
            _run_command("train", "-w", workspace)
        gains = read_gains(options.data / "judgements.csv")
        found: dict[str, Any] = {"benchmark": "search of products"}
        if options.labels:
            texts = sorted(gains)
            gold = [texts[at] for at in np.random.default_rng(0).permutation(len(texts))[1::2]]
            gains = {text: gains[text] for text in gold}
            found["student"] = distil(options.data, workspace, gold)
        with closing(Engine.open(workspace)) as engine:
            found |= measure_search(engine, gains)
            if options.labels:
                found |= measure_filter(engine, list(gains))
        print(json.dumps(found))


if __name__ == "__main__":
    main()
