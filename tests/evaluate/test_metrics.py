import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.evaluate.metrics import MRR, NDCG, RankingMetric, Recall, coverage, gini, grade
from serendip.evaluate.runs import ranks_from_lists, ranks_from_scores
from serendip.testing import RankingMetricContract

KINDS = {kind.name: kind for kind in (NDCG, Recall, MRR)}
EXPOSURE = {"Coverage": coverage, "Gini": gini}


def metric(label):
    name, k = label.split("@")
    return KINDS[name](int(k))


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


def gini_of(counts, size):
    """The textbook definition: mean absolute difference over twice the mean."""
    exposure = np.zeros(size)
    exposure[: len(counts)] = counts
    return np.abs(exposure[:, None] - exposure).mean() / (2 * exposure.mean())


def lists_of(rows):
    return np.array(rows, dtype=np.int32)


@pytest.mark.parametrize(
    ("label", "lists", "size", "value"),
    [
        ("Coverage@2", [[0, 1, 9], [1, 2, 9], [0, 2, 9]], 10, 0.3),
        ("Coverage@3", [[0, 1, 9], [1, 2, 9], [0, 2, 9]], 10, 0.4),
        ("Coverage@2", [[0, -1], [-1, -1]], 4, 0.25),  # padding is no item
        ("Gini@2", [[0, 1], [2, 3]], 4, 0.0),  # all items are shown alike
        ("Gini@1", [[0], [0], [0]], 100, 0.99),  # items that are never shown count
    ],
)
def test_exposure_counts_what_is_shown(label, lists, size, value):
    name, k = label.split("@")
    found = EXPOSURE[name](lists_of(lists), np.arange(len(lists)), size, int(k))
    assert found[0] == pytest.approx(value)


@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    never=st.integers(0, 20),
)
def test_gini_equals_its_textbook_definition(counts, never):
    shown = [item for item, count in enumerate(counts) for _ in range(count)]
    lists = lists_of([[item] for item in shown])
    size = len(counts) + never
    value, _ = gini(lists, np.arange(len(shown)), size, 1)
    assert value == pytest.approx(gini_of(counts, size))


def test_the_jackknife_treats_all_lists_of_a_user_as_one():
    """Ten equal lists of each user say no more than one."""
    rng = np.random.default_rng(5)
    one = rng.integers(0, 50, size=(40, 1)).astype(np.int32)
    for measure in (coverage, gini):
        once = measure(one, np.arange(40), 50, 1)
        often = measure(np.repeat(one, 10, axis=0), np.repeat(np.arange(40), 10), 50, 1)
        assert often == pytest.approx(once)


@pytest.mark.parametrize(
    ("scores", "target", "excluded", "rank"),
    [
        ([3, 2, 2, 2, 1], 0, (), 1.0),
        ([3, 2, 2, 2, 1], 2, (), 3.0),  # half of the equal ones
        ([3, 2, 2, 2, 1], 4, (), 5.0),
        ([3, 2, 2, 1], 3, [0, 1, 1], 2.0),  # excluded items take no place
        ([3, 2], 0, [0], np.inf),
        ([np.nan, 1], 0, (), np.inf),
        ([-np.inf, 1], 0, (), np.inf),
        ([np.nan, 0.5, -np.inf], 1, (), 1.0),
    ],
)
def test_a_rank_counts_the_better_items(scores, target, excluded, rank):
    row, out = np.array([scores], np.float32), [lists_of(excluded)]
    assert ranks_from_scores(row, lists_of([target]), out).tolist() == [rank]


def test_ranks_in_lists_are_1_based_and_infinite_where_absent():
    lists = lists_of([[4, 5, -1], [4, 5, 6]])
    assert ranks_from_lists(lists, lists_of([5, 7])).tolist() == [2.0, np.inf]
