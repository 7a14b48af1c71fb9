import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_films import write_films
from bench_products import write_products
from bench_world import InThisProcess, write_world

from serendip.errors import ConfigError
from serendip.runtime.progress import TrainOptions
from serendip_bench.ranking.models import COLD, SEQUENTIAL, UNIFIED, BenchModel, select_models
from serendip_bench.ranking.run import RankingBench, run_bench
from serendip_bench.ranking.word_scores import WORD_SCORERS

pytestmark = pytest.mark.usefixtures("few_written_queries")

TINY = {"embedding_size": 8, "epochs": 2}
RETRIEVER = {**TINY, "num_negatives": 8, "slots": 2}
COSTS = ("train_cpu_s", "train_wall_s", "score_cpu_s", "peak_mb")
MODELS = {
    "popularity": BenchModel("popularity"),
    "content": BenchModel("content", {}, "content"),
    "item2vec": BenchModel("item2vec", TINY, is_random=True),
}
WORDS = {name: BenchModel(name, reads="content", tasks=("search",)) for name in WORD_SCORERS}
LINES = {
    "unified": BenchModel("retriever", RETRIEVER, "aligned", True),
    "specialist-search": BenchModel(
        "retriever", {**RETRIEVER, "tasks": ("search",)}, "aligned", True, ("search",), "specialist"
    ),
    **WORDS,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("bench") / "circles")


def bench(world: Path, folder: Path, **changes: Any) -> RankingBench:
    first = RankingBench("sequential", world, folder / "out.json", MODELS, 2, encoder="hashing")
    return replace(first, **changes)


def run(settings: RankingBench, most: int = 100) -> tuple[dict[str, Any], list[str]]:
    executor = InThisProcess(most)
    document = run_bench(settings, TrainOptions(), executor=executor)
    assert json.loads(settings.file.read_text()) == json.loads(json.dumps(document))
    return document, executor.names


def figures(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in COSTS} for row in document["rows"]]


def test_the_document_holds_what_is_promised(world: Path, tmp_path: Path) -> None:
    document, names = run(bench(world, tmp_path))
    order = ["popularity (seed 0)", "content (seed 0)", "item2vec (seed 0)", "item2vec (seed 1)"]
    assert names == order
    assert (document["dataset"], document["encoder"]) == ("circles", "hashing")
    for row in document["rows"]:
        assert set(COSTS) | {"R@5", "N@5", "R@10", "N@10", "valid_N@10"} <= set(row)
        for label, (low, high) in row["ci95"].items():
            assert low <= row[label] <= high
    models = {row["model"]: row for row in document["summary"]["models"]}
    assert models["item2vec"]["seeds"] == [0, 1]
    seeds = [row["N@10"] for row in document["rows"] if row["model"] == "item2vec"]
    assert models["item2vec"]["N@10"] == pytest.approx(np.mean(seeds))
    # People stay in their group, whose words the items share.
    assert models["content"]["R@10"] > models["popularity"]["R@10"]


def test_a_run_that_ended_early_goes_on_with_the_same_figures(world: Path, tmp_path: Path) -> None:
    settings = bench(world, tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run(settings, most=2)
    resumed, names = run(settings)
    assert names == ["item2vec (seed 0)", "item2vec (seed 1)"]
    whole, _ = run(bench(world, tmp_path / "b"))
    assert figures(resumed) == figures(whole)
    models = {**MODELS, "item2vec": replace(MODELS["item2vec"], config={**TINY, "epochs": 1})}
    assert run(replace(settings, models=models, seeds=1))[1] == ["item2vec (seed 0)"]


def test_cold_rows_show_both_kinds_of_users(world: Path, tmp_path: Path) -> None:
    modes = {"content-knn": COLD["content-knn"], "content+codes+id": LINES["unified"]}
    document, _ = run(bench(world, tmp_path, kind="cold", models=modes))
    assert {row["set"] for row in document["rows"]} == {"cold", "warm"}
    for row in document["rows"]:
        for name in ("coverage_cold@10", "tail_share@10", "gini@10"):
            assert 0 <= row[name] <= 1
    summary = document["summary"]
    assert all(row["seeds"] == [0, 1] for row in summary["models"])
    compared = {(one["set"], one["baseline"], one["metric"]) for one in summary["comparisons"]}
    parts, metrics = ("cold", "warm"), ("R@10", "N@10")
    assert compared == {(part, "content-knn", name) for part in parts for name in metrics}


def test_one_model_is_compared_with_specialists_and_search_without_training(
    world: Path, tmp_path: Path
) -> None:
    document, names = run(bench(world, tmp_path, kind="unified", models=LINES))
    assert len(names) == 2 * 2 + len(WORDS)
    rows = {(row["set"], row["model"], row["seed"]): row for row in document["rows"]}
    assert {key[0] for key in rows} == {"home", "search", "similar"}
    assert {key[1] for key in rows if key[0] == "home"} == {"unified"}
    compared = {
        one["baseline"]: one
        for one in document["summary"]["comparisons"]
        if one["metric"] == "N@10"
    }
    assert set(compared) == {"specialist", *WORD_SCORERS}
    bm25, unified = (
        rows["search", "bm25", 0]["N@10"],
        [rows["search", "unified", seed]["N@10"] for seed in (0, 1)],
    )
    assert compared["bm25"]["difference"] == pytest.approx(np.mean(unified) - bm25)
    relative = compared["bm25"]["difference"] / bm25
    assert compared["bm25"]["relative_difference"] == pytest.approx(relative)


@pytest.mark.parametrize(
    ("write", "sets"),
    [(write_films, {"search-tags", "search-redial"}), (write_products, {"search"})],
)
def test_films_and_products_are_searched(write: Any, sets: set[str], tmp_path: Path) -> None:
    settings = bench(write(tmp_path / "data"), tmp_path, kind="unified", models=WORDS, seeds=1)
    document, _ = run(settings)
    assert {row["set"] for row in document["rows"]} == sets
    assert all(row["R@100"] == 1 for row in document["rows"])  # there are fewer items


def test_a_model_that_refuses_the_data_is_skipped_with_its_reason(
    world: Path, tmp_path: Path
) -> None:
    models = {"ease": BenchModel("ease", {"max_items": 2}), "popularity": MODELS["popularity"]}
    document, _ = run(bench(world, tmp_path, models=models))
    assert [row["model"] for row in document["summary"]["models"]] == ["popularity"]
    assert "max_items = 2" in document["rows"][0]["reason"]


def test_names_choose_lines_in_the_order_of_the_table() -> None:
    assert list(select_models(SEQUENTIAL, "transitions, popularity")) == [
        "popularity",
        "transitions",
    ]
    assert select_models(UNIFIED, None) == UNIFIED
    assert len(select_models(UNIFIED, "specialist")) == 3
    for names in ("popularity,nothing", " , "):
        with pytest.raises(ConfigError, match="no model is called"):
            select_models(SEQUENTIAL, names)
