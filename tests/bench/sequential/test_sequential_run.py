import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_world import InThisProcess, sequences, write_world

from serendip.content.encoders.text import TextEncoderConfig
from serendip.errors import ConfigError
from serendip.runtime.progress import TrainOptions
from serendip_bench.datasets.sequences import TEXT_FIELDS
from serendip_bench.ranking_values import LABELS, values_of_ranks
from serendip_bench.sequential.models import COLD, SEQUENTIAL, BenchModel, select_models
from serendip_bench.sequential.run import Bench, run_bench

HASHING = TextEncoderConfig(name="hashing", fields=TEXT_FIELDS)
TINY = {"embedding_size": 8, "epochs": 2}
COSTS = ("train_cpu_s", "train_wall_s", "score_cpu_s", "score_wall_s", "peak_mb")
MODELS = {
    "popularity": BenchModel("popularity"),
    "content": BenchModel("content", {}, "content"),
    "item2vec": BenchModel("item2vec", TINY, random=True),
}
MODES = {"flat": BenchModel("content", {"decay": 1.0}, "content", random=True)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("bench") / "circles")


def bench(world: Path, folder: Path, **changes: Any) -> Bench:
    first = Bench("sequential", world, folder / "out.json", MODELS, seeds=2, encoder=HASHING)
    return replace(first, **changes)


def run(settings: Bench, most: int = 100) -> tuple[dict[str, Any], list[str]]:
    executor = InThisProcess(most)
    document = run_bench(settings, TrainOptions(), executor=executor)
    assert json.loads(settings.file.read_text()) == document
    return document, executor.names


def figures(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows without what they cost."""
    return [{k: v for k, v in row.items() if k not in COSTS} for row in document["rows"]]


def test_the_document_holds_what_is_promised(world: Path, tmp_path: Path) -> None:
    document, names = run(bench(world, tmp_path))
    assert names == [
        "encode_items",
        "popularity (seed 0)",
        "content (seed 0)",
        "item2vec (seed 0)",
        "item2vec (seed 1)",
    ]
    assert document["dataset"] == "circles"
    assert document["encoder"]["name"] == "hashing"
    assert document["encode_cpu_s"] >= 0
    for row in document["rows"]:
        assert set(COSTS) | {"R@5", "N@5", "R@10", "N@10", "valid_N@10", "valid_R@10"} <= set(row)
        for label, (low, high) in row["ci95"].items():
            assert low <= row[label] <= high
        ranks = np.load(tmp_path / f"out.json.work/{row['model']}-{row['seed']}/ranks.npy")
        assert [row[label] for label in LABELS] == values_of_ranks(ranks).mean(0).tolist()
        assert row["users"] == len(ranks)
    assert document["rows"][-1]["config"]["values"]["embedding_size"] == 8
    models = document["summary"]["models"]
    assert models["item2vec"]["seeds"] == [0, 1]
    seeds = [row["N@10"] for row in document["rows"] if row["model"] == "item2vec"]
    assert models["item2vec"]["N@10"] == pytest.approx(np.mean(seeds))
    # People stay in their group, whose words the items share.
    assert models["content"]["R@10"] > models["popularity"]["R@10"]


def test_a_run_that_ended_early_goes_on_with_the_same_figures(world: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(bench(world, tmp_path / "a"), most=3)
    assert len(json.loads((tmp_path / "a" / "out.json").read_text())["rows"]) == 2
    resumed, names = run(bench(world, tmp_path / "a"))
    assert names == ["item2vec (seed 0)", "item2vec (seed 1)"]
    whole, _ = run(bench(world, tmp_path / "b"))
    assert figures(resumed) == figures(whole)
    assert resumed["encode_cpu_s"] is not None


def test_rows_of_other_data_are_refused(world: Path, tmp_path: Path) -> None:
    settings = bench(world, tmp_path, models={"popularity": MODELS["popularity"]})
    run(settings)
    before = settings.file.read_text()
    other = write_world(tmp_path / "other", sequences(seed=1))
    with pytest.raises(ConfigError, match="has rows of protocol data"):
        run(replace(settings, data=other))
    with pytest.raises(ConfigError, match="has rows of protocol name 'sequential'"):
        run(replace(settings, kind="cold"))
    assert settings.file.read_text() == before


@pytest.mark.parametrize("content", ["", "[]", '{"rows": []}', "word"])
def test_a_file_that_holds_something_else_is_left_alone(
    world: Path, tmp_path: Path, content: str
) -> None:
    settings = bench(world, tmp_path)
    settings.file.write_text(content)
    with pytest.raises(ConfigError, match="is not a results file"):
        run(settings)
    assert settings.file.read_text() == content


def test_cold_rows_show_both_kinds_of_users(world: Path, tmp_path: Path) -> None:
    table = {**MODES, "content-knn": COLD["content-knn"]}
    document, _ = run(bench(world, tmp_path, kind="cold", models=table, seeds=2))
    for row in document["rows"]:
        assert {"cold_R@10", "cold_N@10", "warm_R@10", "warm_N@10"} <= set(row)
        assert {"coverage_cold@10", "tail_share@10", "gini@10", "popularity_lift@10"} <= set(row)
        assert row["model"] == row["mode"]
        ranks = np.load(tmp_path / f"out.json.work/{row['mode']}-{row['seed']}/ranks.npy")
        assert row["users_cold"] + row["users_warm"] == len(ranks)
    summary = document["summary"]
    assert set(summary["models"]) == set(table)
    assert summary["models"]["content-knn"]["seeds"] == [0, 1]
    compared = {
        (comparison["system"], comparison["metric"]) for comparison in summary["comparisons"]
    }
    assert compared == {
        (mode, metric)
        for mode in table
        if mode != "content-knn"
        for metric in ("cold_R@10", "cold_N@10", "warm_R@10", "warm_N@10")
    }


def test_a_row_made_from_others_waits_for_them_and_follows_their_configuration(
    world: Path, tmp_path: Path
) -> None:
    table = {**MODELS, "both": BenchModel("popularity", parts=("item2vec", "popularity"))}
    assert list(select_models(table, "both")) == ["popularity", "item2vec", "both"]
    models = select_models(table, "both")
    settings, executor = bench(world, tmp_path, models=models), InThisProcess()
    run_bench(settings, TrainOptions(), executor=executor)
    assert executor.names == [
        "popularity (seed 0)",
        "item2vec (seed 0)",
        "both (seed 0)",
        "item2vec (seed 1)",
    ]
    assert executor.after[2] == [1, 0]
    models["item2vec"] = BenchModel("item2vec", {**TINY, "epochs": 1}, random=True)
    _, names = run(replace(settings, models=models, seeds=1))
    assert names == ["item2vec (seed 0)", "both (seed 0)"]


def test_a_model_that_refuses_the_data_is_skipped_with_its_reason(
    world: Path, tmp_path: Path
) -> None:
    models = {"ease": BenchModel("ease", {"max_items": 2}), "popularity": MODELS["popularity"]}
    document, _ = run(bench(world, tmp_path, models=models))
    assert [row["model"] for row in document["rows"]] == ["popularity"]
    (skipped,) = document["skipped"]
    assert (skipped["model"], skipped["seed"]) == ("ease", 0)
    assert "max_items = 2" in skipped["reason"]


def test_names_choose_lines_in_the_order_of_the_table() -> None:
    assert list(select_models(SEQUENTIAL, "transitions, popularity")) == [
        "popularity",
        "transitions",
    ]
    assert {"popularity", "item-knn", "transitions+content"} <= set(select_models(SEQUENTIAL, None))
    with pytest.raises(ConfigError, match="no model is called 'nothing'"):
        select_models(SEQUENTIAL, "popularity,nothing")
    with pytest.raises(ConfigError, match="names no model"):
        select_models(SEQUENTIAL, " , ")
