"""Metrics: published vectors, an independent oracle, and what must hold for any list."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.errors import ConfigError
from serendip.evaluate.metrics import METRICS, MRR, NDCG, RankingMetric, Recall, grade, metric
from serendip.testing import RankingMetricContract

RANKING = [name for name, kind in METRICS.items() if issubclass(kind, RankingMetric)]


def value(label, ranked, relevance):
    return metric(label).of_list(grade(ranked, relevance))


# --- the vectors A-D -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranked", "relevance", "values"),
    [
        (["a"], {"a": 1, "b": 1}, {"nDCG@10": 0.6131, "Recall@10": 0.5}),
        (
            [*(f"r{place}" for place in range(5)), *(f"x{place}" for place in range(5))],
            {f"r{place}": 1.0 for place in range(20)},
            {"nDCG@10": 0.6489, "Recall@10": 0.25},
        ),
        (["a", "b", "c"], {"a": 1, "b": 3, "c": 2}, {"nDCG@10": 0.8175}),  # gains are linear
        # Items that are not returned count in the ideal.
        (["a", "b", "c"], dict.fromkeys("abcd", 1), {"nDCG@10": 0.8319, "Recall@10": 0.75}),
        (["x", "y", "a"], {"a": 1, "b": 1}, {"MRR@10": 0.33333, "MRR@2": 0.0}),
    ],
)
def test_published_values(ranked, relevance, values):
    for label, expected in values.items():
        assert value(label, ranked, relevance) == pytest.approx(expected, abs=5e-5)


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
