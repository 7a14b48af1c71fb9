import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_world import InThisProcess, write_world

from serendip.content.encoders.text import TextEncoderConfig
from serendip.errors import ConfigError
from serendip.runtime.progress import TrainOptions
from serendip_bench.datasets.sequences import TEXT_FIELDS, read_sequences
from serendip_bench.unified.models import UNIFIED, UnifiedModel, select_lines
from serendip_bench.unified.run import UnifiedBench, run_unified
from serendip_bench.unified.tasks import build_unified_split, without_user

HASHING = TextEncoderConfig(name="hashing", fields=TEXT_FIELDS)
TINY = {"embedding_size": 8, "epochs": 2, "num_negatives": 8, "slots": 2}
ALL = ("home", "search", "similar")
LINES = {
    "unified": UnifiedModel("unified", ALL, config=TINY),
    "specialist-search": UnifiedModel(
        "specialist", ("search",), config={**TINY, "tasks": ("search",)}
    ),
    "unified-no-user": UnifiedModel("unified-no-user", ("search",), of="unified", hides_user=True),
    "bm25": UnifiedModel("bm25", ("search",), "bm25"),
    "vectors": UnifiedModel("vectors", ("search",), "vectors"),
    "rrf": UnifiedModel("rrf", ("search",), "rrf"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("bench") / "circles")


def run(world: Path, folder: Path, most: int = 100, seeds: int = 1) -> tuple[Any, list[str]]:
    executor = InThisProcess(most)
    bench = UnifiedBench(world, folder / "out.json", LINES, seeds, encoder=HASHING)
    document = run_unified(bench, TrainOptions(), executor=executor)
    assert json.loads(bench.file.read_text()) == document
    return document, executor.names


@pytest.fixture(scope="module")
def of_two_seeds(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[str]]:
    """A run to the end: its document, and the names of what was run."""
    return run(world, tmp_path_factory.mktemp("two"), seeds=2)


def test_requests_of_a_task_have_the_input_of_its_surface(world: Path) -> None:
    dataset = read_sequences(world)
    words = np.eye(dataset.num_items, dtype=np.float32)
    split = build_unified_split(dataset, words)
    catalogue, numbers = dataset.catalogue, split.sequences.numbers
    home, search, similar = (split.tests[task] for task in ("home", "search", "similar"))
    assert home is split.sequences.test
    for query, item in zip(search.queries, search.items.tolist(), strict=True):
        assert query.text == catalogue[int(numbers[item])].field_text("category")
        assert query.text_vector is not None
        assert query.text_vector.argmax() == numbers[item]
        assert len(query.history)
    last = {query.user_id: query.history.item_nums[-1] for query in home.queries}
    assert len(similar.queries) <= len(last)
    for query, item in zip(similar.queries, similar.items.tolist(), strict=True):
        assert (query.user_id, len(query.history)) == ("", 0)
        assert query.exclude.tolist() == query.source_items.tolist()
        assert item not in query.exclude
    nobody = without_user(search)
    assert nobody.items.tolist() == search.items.tolist()
    assert not any(len(query.history) for query in nobody.queries)
    assert [query.text for query in nobody.queries] == [query.text for query in search.queries]
    assert [query.exclude.tolist() for query in nobody.queries] == [
        query.exclude.tolist() for query in search.queries
    ]


def test_the_document_holds_a_row_per_task_and_model(of_two_seeds: tuple[Any, list[str]]) -> None:
    document, names = of_two_seeds
    assert names[:2] == ["encode_items", "encode_items"]
    assert len(names) == 2 + 2 * 3 + 3
    rows = document["rows"]
    keys = {(row["task"], row["model"], row["seed"]) for row in rows}
    assert ("home", "unified", 1) in keys
    assert ("search", "bm25", 0) in keys
    assert ("search", "bm25", 1) not in keys
    for row in rows:
        assert {"task", "model", "seed", "R@10", "N@10", "R@100", "ci95", "cpu_s"} <= set(row)
        for label, (low, high) in row["ci95"].items():
            assert low <= row[label] <= high
        assert (row["params"] > 0) == (row["model"] not in {"bm25", "vectors", "rrf"})
    unified, nobody = (
        next(row for row in rows if row["model"] == name and row["task"] == "search")
        for name in ("unified", "unified-no-user")
    )
    assert unified["cpu_s"] == nobody["cpu_s"]
    assert unified["N@10"] != nobody["N@10"]
    compared = {
        (comparison["task"], comparison["baseline"]): comparison
        for comparison in document["summary"]["comparisons"]
    }
    assert set(compared) == {
        ("search", name) for name in ("specialist", "unified-no-user", "bm25", "vectors", "rrf")
    }
    comparison = compared["search", "bm25"]
    bm25 = next(row for row in rows if row["model"] == "bm25")
    assert comparison["relative_difference"] == pytest.approx(
        comparison["difference"] / bm25["N@10"]
    )
    unified_values = [
        row["N@10"] for row in rows if (row["task"], row["model"]) == ("search", "unified")
    ]
    assert comparison["difference"] == pytest.approx(np.mean(unified_values) - bm25["N@10"])
    assert (comparison["seeds"], comparison["baseline_seeds"]) == ([0, 1], [0])


def test_the_engine_and_lightgbm_have_rows_for_every_task(world: Path, tmp_path: Path) -> None:
    lines = {"unified": LINES["unified"], "engine": UNIFIED["engine"]}
    bench = UnifiedBench(world, tmp_path / "out.json", lines, 1, encoder=HASHING)
    executor = InThisProcess()
    document = run_unified(bench, TrainOptions(), executor=executor)
    assert executor.after == {1: [0]}
    rows = {(row["task"], row["model"]): row for row in document["rows"]}
    assert set(rows) == {(task, name) for task in ALL for name in ("unified", "engine", "lightgbm")}
    chance = np.mean([1 / np.log2(rank + 1) if rank <= 10 else 0 for rank in range(1, 26)])
    for name in ("engine", "lightgbm"):
        for task in ALL:
            row, unified = rows[task, name], rows[task, "unified"]
            assert set(row) == set(unified)
            assert row["N@10"] > 2 * chance
            assert row["cpu_s"] > unified["cpu_s"]
            assert row["params"] > unified["params"]
            assert row["users"] == unified["users"]
    compared = {
        (comparison["task"], comparison["system"], comparison["baseline"])
        for comparison in document["summary"]["comparisons"]
    }
    assert compared == {
        (task, *pair)
        for task in ALL
        for pair in (("unified", "engine"), ("unified", "lightgbm"), ("engine", "lightgbm"))
    }
    assert run_unified(bench, TrainOptions(), executor=InThisProcess(0)) == document


def test_every_line_can_be_chosen_by_its_model() -> None:
    assert select_lines(None) == UNIFIED
    assert list(select_lines("unified-no-user")) == ["unified", "unified-no-user"]
    assert sum(line.model == "specialist" for line in select_lines("specialist").values()) == 3
    assert list(select_lines("lightgbm")) == list(select_lines("engine")) == ["unified", "engine"]
    with pytest.raises(ConfigError, match="no model is called 'unifid'"):
        select_lines("unifid")
