"""The ladder end to end on made-up gold: rows, their order, and what they must find there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from judged_pairs import write_judgements, write_onet, write_products

from serendip.content.encoders.text import TextEncoderConfig
from serendip.errors import ConfigError, DataError, ExtraMissing
from serendip.models.relevance.train import RelevanceModelConfig, TreesConfig
from serendip.runtime.progress import TrainOptions
from serendip_bench.relevance_judges.gold import Gold, GoldPairs
from serendip_bench.relevance_judges.judges import (
    Cosine,
    DistilledJudge,
    Judge,
    JudgeQueries,
    Rules,
)
from serendip_bench.relevance_judges.registry import chosen_judges
from serendip_bench.relevance_judges.run import JudgeBench, run_judge

HASHING = TextEncoderConfig(name="hashing")
RUNGS = [
    Rules(),
    Cosine(),
    DistilledJudge(
        RelevanceModelConfig(student=TreesConfig(rounds=60, learning_rate=0.1, leaves=8))
    ),
]
COLUMNS = {
    "auroc",
    "pr_auc",
    "precision",
    "recall",
    "kappa",
    "ece",
    "ms_per_200",
    "cpu_s_per_1000",
    "price_per_1000",
}


def ran(folder: Path, name: str = "judge.json", test: Path | None = None, seeds: int = 2) -> dict:
    bench = JudgeBench(folder, folder.parent / name, RUNGS, test, seeds, encoder=HASHING)
    return run_judge(bench, TrainOptions(0))


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gold") / "products"
    write_products(folder)
    return folder


def test_every_rung_has_its_rows_and_finds_other_kinds_bad(products: Path) -> None:
    document = ran(products)
    named = [(row["model"], row["seed"]) for row in document["rows"]]
    assert named == [("rules", 0), ("cosine", 0), ("student", 0), ("student", 1)]
    for row in document["rows"]:
        assert row.keys() >= COLUMNS
        assert row["auroc"] > 0.95
        low, high = row["ci95"]["auroc"]
        assert low <= row["auroc"] <= high
        assert row["price_per_1000"] == 0
        assert row["pairs"] == 400
        assert row["labels"] == 320
        assert row["calls_avoided"] == 1 - 320 / 20_000_000
    assert document["pairs"] == {"learned_only": 0, "judged": 400}
    assert (document["positive"], document["bad_share"], document["units"]) == ("bad", 0.8, 20)
    assert json.loads((products.parent / "judge.json").read_text()) == document


def test_onet_is_judged_on_its_own_part(tmp_path: Path) -> None:
    write_onet(tmp_path / "onet")
    document = ran(tmp_path / "onet", seeds=1)
    assert document["bad_share"] == 0.5
    assert document["pairs"]["learned_only"] > document["pairs"]["judged"] > 0
    assert min(row["auroc"] for row in document["rows"]) > 0.8
    for row in document["rows"]:
        assert row["filter"].keys() == {"served", "unseen"}


class CountsLessons(Cosine):
    """Remembers from how many pairs it learned."""

    name = "counts"

    def __init__(self) -> None:
        self.learned: list[int] = []

    def taught(
        self, gold: Gold, asked: JudgeQueries, pairs: GoldPairs, options: TrainOptions
    ) -> Judge:
        self.learned.append(len(pairs))
        return super().taught(gold, asked, pairs, options)


def test_lists_of_onet_are_filtered_by_who_learned_from_lists(
    tmp_path: Path, products: Path
) -> None:
    write_onet(tmp_path / "onet")
    of_onet, of_products = CountsLessons(), CountsLessons()
    for data, rung in ((tmp_path / "onet", of_onet), (products, of_products)):
        row = run_judge(
            JudgeBench(data, tmp_path / "c.json", [rung], encoder=HASHING), TrainOptions(0)
        )["rows"][0]
        assert row["labels"] == rung.learned[0]
        assert row["filter_labels"] == (rung.learned[1] if rung is of_onet else 0)
        told = row["labels"] + row["filter_labels"]
        assert row["calls_avoided"] == 1 - told / 20_000_000
    assert len(of_onet.learned) == 2 and of_onet.learned[0] != of_onet.learned[1]
    assert len(of_products.learned) == 5


class Absent(Cosine):
    """Needs what is not installed."""

    name = "absent"

    def looked_at(self, gold: Gold, asked: JudgeQueries, options: TrainOptions) -> JudgeQueries:
        raise ExtraMissing("oracle is not installed.", "pip install oracle")


def test_a_rung_whose_package_is_missing_says_so_and_the_others_go_on(products: Path) -> None:
    bench = JudgeBench(products, products.parent / "b.json", [Absent(), Rules()], encoder=HASHING)
    absent, rules = run_judge(bench, TrainOptions(0))["rows"]
    assert absent.keys() == {"model", "seed", "reason"}
    assert "oracle is not installed" in absent["reason"]
    assert rules["auroc"] > 0.95


class Guesses(Cosine):
    """Slow, so it is asked about a sample."""

    name = "guesses"
    filters = False
    most_judged, most_learned = 80, 7


def test_a_slow_rung_is_asked_about_a_sample_and_filters_nothing(tmp_path: Path) -> None:
    write_onet(tmp_path / "onet")
    write_products(tmp_path / "products")
    for data, learned in (("onet", 7), ("products", 64)):
        bench = JudgeBench(tmp_path / data, tmp_path / "a.json", [Guesses()], encoder=HASHING)
        (row,) = run_judge(bench, TrainOptions(0))["rows"]
        assert (row["pairs"], row["filter"], row["calls_avoided"]) == (80, {}, 0.0)
        assert abs(row["labels"] - learned) < 12


def test_a_filter_replaces_what_is_bad_in_lists_that_chose_no_threshold(products: Path) -> None:
    """Half of 20 queries have 20 judged products each, 4 of 5 bad: the first ten hold all four."""
    document = ran(products, "filter.json", seeds=1)
    rows = {row["model"]: row["filter"]["judged"] for row in document["rows"]}
    for told in rows.values():
        assert (told["size"], told["lists"], told["allowed"]) == (10, 10, 0.05)
        assert told["safe"] is None  # Ten lists prove nothing.
        assert told["tenth"]["replaced"] <= 0.2
    student = rows["student"]["tenth"]
    assert student["bad_before"] == 0.6
    assert student["lost"] == 0.0
    for name, (low, high) in student["ci95"].items():
        assert low <= student[name] <= high


def test_a_second_file_is_all_that_is_judged(products: Path) -> None:
    test = products.parent / "test.csv"
    write_judgements(test, [("old lamp", f"p{at}", "I" if at % 5 else "E") for at in range(20)])
    document = ran(products, "tested.json", test, seeds=1)
    assert document["pairs"] == {"learned_only": 400, "judged": 20}
    assert document["data"] != ran(products, "again.json", seeds=1)["data"]


def test_gold_that_is_too_small_is_refused_in_words(tmp_path: Path) -> None:
    write_products(tmp_path / "one", queries=1)
    with pytest.raises(DataError, match="can be learned from"):
        ran(tmp_path / "one")
    write_products(tmp_path / "good")
    write_judgements(tmp_path / "good" / "judgements.csv", [(f"q{n}", "p0", "E") for n in range(9)])
    with pytest.raises(DataError, match="1 kinds of labels"):
        ran(tmp_path / "good")


def test_wrong_input_is_refused(products: Path) -> None:
    with pytest.raises(ConfigError, match="no judge is called 'oracle'"):
        chosen_judges("rules,oracle")
    assert [rung.name for rung in chosen_judges("student, rules")] == ["rules", "student"]
    with pytest.raises(ConfigError, match="--seeds 0"):
        ran(products, seeds=0)
