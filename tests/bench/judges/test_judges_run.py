import json
from pathlib import Path

import pytest
from judged_pairs import write_judgements, write_onet, write_products

from serendip.errors import ConfigError, DataError
from serendip.runtime.progress import TrainOptions
from serendip_bench.judges.gold import Gold, GoldPairs
from serendip_bench.judges.judges import (
    CosineJudge,
    DistilledJudge,
    Predict,
    RulesJudge,
    select_judges,
)
from serendip_bench.judges.run import JudgeBench, run_judge

JUDGES = [
    RulesJudge(),
    CosineJudge(),
    DistilledJudge(),
]
COLUMNS = {
    "auroc",
    "pr_auc",
    "precision",
    "recall",
    "kappa",
    "ece",
    "ms_per_200",
}


def run_bench(folder: Path, name: str = "judge.json", seeds: int = 2) -> dict:
    bench = JudgeBench(folder, folder.parent / name, JUDGES, seeds, encoder="hashing")
    return run_judge(bench, TrainOptions(0))


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gold") / "products"
    write_products(folder)
    return folder


def test_every_judge_has_rows_and_separates_kinds_of_products(products: Path) -> None:
    document = run_bench(products)
    names = [(row["model"], row["seed"]) for row in document["rows"]]
    assert names == [("rules", 0), ("cosine", 0), ("student", 0), ("student", 1)]
    for row in document["rows"]:
        assert row.keys() >= COLUMNS
        assert row["auroc"] > 0.95
        low, high = row["ci95"]["auroc"]
        assert low <= row["auroc"] <= high
        assert row["pairs"] == 200  # of the ten queries that nothing is chosen on
    assert document["pairs"] == {"learned_only": 0, "judged": 200}
    assert (document["positive"], document["bad_share"], document["units"]) == ("bad", 0.8, 10)
    assert document["part"] == "test"
    assert json.loads((products.parent / "judge.json").read_text()) == document


def test_onet_is_tested_on_its_test_side(tmp_path: Path) -> None:
    write_onet(tmp_path / "onet")
    document = run_bench(tmp_path / "onet", seeds=1)
    assert document["bad_share"] == 0.5
    assert document["pairs"]["learned_only"] > document["pairs"]["judged"] > 0
    assert min(row["auroc"] for row in document["rows"]) > 0.8
    for row in document["rows"]:
        assert row["filter"].keys() == {"served", "unseen"}


class CountingJudge(CosineJudge):
    name = "counts"

    def __init__(self) -> None:
        self.counts: list[int] = []

    def train(self, gold: Gold, pairs: GoldPairs, seed: int) -> Predict:
        self.counts.append(len(pairs))
        return super().train(gold, pairs, seed)


def test_slates_of_onet_are_filtered_by_a_judge_trained_on_slates(
    tmp_path: Path, products: Path
) -> None:
    write_onet(tmp_path / "onet")
    of_onet, of_products = CountingJudge(), CountingJudge()
    for data, judge in ((tmp_path / "onet", of_onet), (products, of_products)):
        bench = JudgeBench(data, tmp_path / "c.json", [judge], encoder="hashing")
        run_judge(bench, TrainOptions(0))
    assert len(of_onet.counts) == 2 and of_onet.counts[0] != of_onet.counts[1]
    assert of_products.counts == [320] * 5


def test_a_filter_is_measured_on_half_of_the_slates(products: Path) -> None:
    """Ten of 20 queries with 20 judged products, 4 of 5 irrelevant: ten hold all four."""
    document = run_bench(products, "filter.json", seeds=1)
    rows = {row["model"]: row["filter"]["judged"] for row in document["rows"]}
    for effect in rows.values():
        assert (effect["size"], effect["lists"]) == (10, 10)
        assert effect["tenth"]["replaced"] <= 0.2
    student = rows["student"]["tenth"]
    assert student["irrelevant_before"] == 0.6
    assert student["lost"] == 0.0
    for name, (low, high) in student["ci95"].items():
        assert low <= student[name] <= high


def test_too_few_gold_labels_and_wrong_options_are_refused(tmp_path: Path, products: Path) -> None:
    write_products(tmp_path / "one", queries=1)
    with pytest.raises(DataError, match="can be trained on"):
        run_bench(tmp_path / "one")
    write_products(tmp_path / "good")
    write_judgements(tmp_path / "good" / "judgements.csv", [(f"q{n}", "p0", "E") for n in range(9)])
    with pytest.raises(DataError, match="1 kinds of labels"):
        run_bench(tmp_path / "good")

    with pytest.raises(ConfigError, match="the judge 'oracle' is unknown"):
        select_judges("rules,oracle")
    assert [judge.name for judge in select_judges("student, rules")] == ["rules", "student"]
    with pytest.raises(ConfigError, match="--seeds 0"):
        run_bench(products, seeds=0)
