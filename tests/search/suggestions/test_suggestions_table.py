import numpy as np
import pytest

from serendip.data import Catalogue, History, Item
from serendip.search.suggestions.candidates import Candidate
from serendip.search.suggestions.combinations import Categories
from serendip.search.suggestions.ranker import (
    FEATURES,
    FEW_PEOPLE,
    PRIOR,
    RankingRows,
    SuggestionUser,
    prior_ranker,
    query_features,
)
from serendip.search.suggestions.table import ItemChoices, QueryTable

ITEMS = Catalogue(
    Item(f"i{n}", f"T{n}", attributes={"genre": "ab"[n % 2], "code": f"c{n}"}) for n in range(6)
)
ROWS = np.arange(3)


def candidates():
    made = [("star wars", "query", [0, 2], 5), ("War stories", "rule", [1, 3], 0)]
    made += [("like T4", "like", [4], 0)]
    return [Candidate(t, k, "rules", np.array(i, np.int32), u, 2 * u) for t, k, i, u in made]


@pytest.fixture
def table():
    results = np.full((3, 10), -1, np.int32)
    results[0, :2], results[1, :3], results[2, 0] = (0, 2), (1, 3, 0), 4
    choices = ItemChoices.of(np.array([4, 0, 4, 0, 0, 0], np.int32))
    return QueryTable.of(candidates(), ITEMS, Categories.of(ITEMS), choices, results)


def column(features, name):
    return features[:, FEATURES.index(name)].tolist()


def test_completions_begin_at_any_word_and_the_category_is_the_most_shared(table):
    assert table.categories.name == "genre"
    assert table.shares[0].tolist() == [1.0, 0.0]
    assert table.entropy[0] == 0.0 and table.entropy[1] == pytest.approx(0.918, abs=1e-3)
    assert table.completions("war").tolist() == [0, 1]
    assert table.completions("star").tolist() == [0]
    assert table.completions("tories").tolist() == []


def test_sums_and_focus_are_of_the_items_of_each_query(table):
    assert table.sums(np.array([1, 10, 100, 1000, 10000])).tolist() == [101, 1011, 10000]
    assert table.sums(np.array([1, 10])).tolist() == [1, 11, 0]  # of new items nothing is known
    assert table.count(np.array([0, 2, 2, 4, 99])).tolist() == [3, 1, 1]
    assert table.num_choices.tolist() == [8, 4, 0]

    made = [("all a", [0, 2, 4]), ("half", [0, 1]), ("all", [0, 1, 2, 3, 4, 5])]
    rows = [Candidate(text, "phrase", "rules", np.array(i, np.int32)) for text, i in made]
    focus = QueryTable.of(rows, ITEMS, Categories.of(ITEMS)).find_focus(ITEMS)
    assert focus[0] > 0 and focus[1:] == pytest.approx(0, abs=1e-6)
    assert len(table.focus) == len(QueryTable.of(rows, ITEMS, Categories()).focus) == 0
    assert len(QueryTable.of(rows, ITEMS, Categories()).find_focus(ITEMS)) == 0


def who(*history, **facts):
    return SuggestionUser(past=History.of_items(np.array(history)), **facts)


def test_features_tell_who_asks_and_what_was_typed(table):
    taste = np.array([2, 0, 1, 0, -1, 0], np.float32)
    known = {"taste": taste, "seen": np.array([True, False]), "searched": {"war stories": ""}}
    features = query_features(table, ROWS, who(0, 2, **known), "war")
    assert column(features, "taste") == pytest.approx([1.5, 2 / 3, -1.0])
    assert column(features, "new categories") == pytest.approx([0.0, 2 / 3, 0.0])
    assert column(features, "own") == [0.0, 1.0, 0.0]
    assert column(features, "at the start") == [0.0, 1.0, 0.0]
    assert column(features, "is query") == [1.0, 0.0, 0.0]
    recent = column(features, "recent")
    assert recent[0] > recent[1] > recent[2]
    other = query_features(table, ROWS, who(2, page=np.array([0])), "war")
    assert column(other, "recent") == pytest.approx(recent)
    assert column(other, "last") != pytest.approx(column(features, "last"))


def weight(ranker, name):
    return ranker.weights[FEATURES.index(name)]


def test_in_the_prior_choices_count_less_the_more_people_search():
    by_people = [prior_ranker(people).weights for people in (0, FEW_PEOPLE, 100_000)]
    place = FEATURES.index("popularity")
    assert by_people[0][place] == PRIOR["popularity"] == 2 * by_people[1][place]
    assert by_people[2][place] < 0.01
    for weights in by_people[1:]:
        assert np.array_equal(np.delete(weights, place), np.delete(by_people[0], place))
    assert np.array_equal(prior_ranker().fit([], 3.0).weights, by_people[0])


def test_weights_leave_the_prior_as_far_as_the_evidence_goes():
    rng = np.random.default_rng(0)
    features = np.zeros((4_000, len(FEATURES)), np.float32)
    entropy = FEATURES.index("entropy")
    features[:, entropy] = rng.normal(size=4_000)
    success = (rng.random(4_000) < 1 / (1 + np.exp(-2 * features[:, entropy]))).astype(np.float32)
    learned = {}
    for count in (20, 4_000):
        rows = RankingRows(features[:count], success[:count], np.ones(count, np.float32))
        ranker = prior_ranker().fit([rows], 10.0)
        learned[count] = weight(ranker, "entropy")
        assert weight(ranker, "users") == PRIOR["users"] and ranker.learned_from == 1
    assert 0 < learned[20] < learned[4_000] and learned[4_000] == pytest.approx(2.0, abs=0.2)
