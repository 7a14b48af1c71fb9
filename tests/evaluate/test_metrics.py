"""Metrics: published vectors, an independent oracle, and what must hold for any list."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.errors import ConfigError
from serendip.evaluate.metrics import METRICS, MRR, NDCG, RankingMetric, Recall, grade, metric
from serendip.testing import RankingMetricContract

RANKING = [name for name, kind in METRICS.items() if issubclass(kind, RankingMetric)]
TEN_HITS = {f"r{place}": 1.0 for place in range(20)}


def value(label, ranked, relevance):
    return metric(label).of_list(grade(ranked, relevance))


# --- the vectors A-D -----------------------------------------------------------------------------


def test_two_relevant_and_one_returned_first():
    relevance = {"a": 1, "b": 1}
    assert value("nDCG@10", ["a"], relevance) == pytest.approx(0.6131, abs=5e-5)
    assert value("Recall@10", ["a"], relevance) == 0.5


def test_twenty_relevant_and_the_first_five_hit():
    ranked = [f"r{place}" for place in range(5)] + [f"x{place}" for place in range(5)]
    assert value("nDCG@10", ranked, TEN_HITS) == pytest.approx(0.6489, abs=5e-5)
    assert value("Recall@10", ranked, TEN_HITS) == 0.25


def test_gains_are_linear():
    assert value("nDCG@10", ["a", "b", "c"], {"a": 1, "b": 3, "c": 2}) == pytest.approx(
        0.8175, abs=5e-5
    )


def test_items_that_are_not_returned_count_in_the_ideal():
    """Three of four relevant items are returned, all at the top."""
    relevance = {"a": 1, "b": 1, "c": 1, "d": 1}
    assert value("nDCG@10", ["a", "b", "c"], relevance) == pytest.approx(0.8319, abs=5e-5)
    assert value("Recall@10", ["a", "b", "c"], relevance) == 0.75


def test_first_relevant_place_decides_mrr():
    assert value("MRR@10", ["x", "y", "a"], {"a": 1, "b": 1}) == pytest.approx(1 / 3)
    assert value("MRR@2", ["x", "y", "a"], {"a": 1}) == 0.0


# --- an independent oracle -----------------------------------------------------------------------

ORACLE = {
    "nDCG": "ndcg_cut_10",
    "Recall": "recall_10",
    "MRR": "recip_rank",
}


def random_case(rng):
    items = [f"d{number}" for number in range(40)]
    ranked = list(rng.permutation(items)[: rng.integers(1, 31)])
    judged = rng.choice(items, size=rng.integers(1, 16), replace=False)
    return ranked, {str(item): int(rng.integers(1, 5)) for item in judged}


def test_all_metrics_agree_with_trec_eval_on_1000_untied_cases():
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rng = np.random.default_rng(7)
    cases = {str(number): random_case(rng) for number in range(1_000)}
    run = {
        name: {str(item): float(-place) for place, item in enumerate(ranked[:10])}
        for name, (ranked, _) in cases.items()
    }
    qrels = {name: relevance for name, (_, relevance) in cases.items()}
    measures = {"ndcg_cut.10", "recall.10", "recip_rank"}
    oracle = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    for name, (ranked, relevance) in cases.items():
        for ours, theirs in ORACLE.items():
            expected = oracle[name][theirs]
            assert value(f"{ours}@10", ranked, relevance) == pytest.approx(expected, abs=1e-9)


# --- the contract of every ranking metric --------------------------------------------------------


class TestNDCG(RankingMetricContract):
    @classmethod
    def make(cls, k: int) -> RankingMetric:
        return NDCG(k)


class TestRecall(RankingMetricContract):
    is_one_at_every_cutoff = False

    @classmethod
    def make(cls, k: int) -> RankingMetric:
        return Recall(k)


class TestMRR(RankingMetricContract):
    @classmethod
    def make(cls, k: int) -> RankingMetric:
        return MRR(k)


@pytest.mark.parametrize("name", RANKING)
def test_every_ranking_metric_has_a_class_that_inherits_the_contract_suite(name):
    suites = (TestNDCG, TestRecall, TestMRR)
    assert name in {suite.make(10).name for suite in suites}


@given(
    relevance=st.dictionaries(st.integers(0, 30), st.integers(1, 4), min_size=1, max_size=12),
    k=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_reversing_a_sorted_list_never_raises_ndcg(relevance, k, seed):
    ranked = sorted(relevance, key=relevance.__getitem__, reverse=True)
    noise = [100 + place for place in range(seed % 7)]
    forwards = value(f"nDCG@{k}", ranked + noise, relevance)
    backwards = value(f"nDCG@{k}", (ranked + noise)[::-1], relevance)
    assert backwards <= forwards + 1e-12


# --- labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METRICS)
def test_labels_are_read_and_written_alike(name):
    assert metric(f"{name}@10").label == f"{name}@10"
    assert metric(f"{name}@10") == metric(f"{name}@10") != metric(f"{name}@11")


@pytest.mark.parametrize("label", ["ndcg@10", "nDCG", "nDCG@0", "nDCG@-1", "nDCG@1.5", "X@10", ""])
def test_unknown_labels_are_refused_with_the_known_ones(label):
    with pytest.raises(ConfigError, match="nDCG@k"):
        metric(label)
