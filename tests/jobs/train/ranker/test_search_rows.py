from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serendip.data import Query, QueryExamples, Vocabulary
from serendip.data.arrays import NO_ITEMS
from serendip.data.query import TASKS
from serendip.errors import DataError
from serendip.jobs.llm.judged_queries import JudgedQueries
from serendip.jobs.train.ranker.labels import LabelledQuery
from serendip.jobs.train.ranker.requests import (
    count_searches,
    label_judged,
    read_judged_files,
    read_queries_by_llm,
    write_searches,
)
from serendip.models.ranker.config import RankerRows


def test_written_queries_have_their_weight_and_are_none_at_0() -> None:
    examples = QueryExamples(["a", "b"], np.ones((2, 4), np.float32), np.array([1, 2], np.int32))
    for weight, count in ((0.5, 2), (0.0, 0)):
        found = write_searches(examples, [], 9, weight, np.random.default_rng(0))
        assert [one.weight for one in found] == [weight] * count


def test_searches_with_a_positive_row_count_for_their_source() -> None:
    search, home = TASKS.index("search"), TASKS.index("home")
    rows = RankerRows(
        features=np.zeros((6, 1), np.float32),
        task=np.array([home, search, search, search, search, search]),
        labels=np.array([[1], [1], [0], [0], [1], [1]], np.float32),
        weights=np.ones(6, np.float32),
        group=np.array([0, 1, 1, 2, 3, 3]),
    )
    found = count_searches(rows, [None, "logged", "logged", "written"])
    assert found == {"logged": 1, "labelled": 0, "written": 1}


def test_labelled_queries_have_relevant_items_by_grade_and_irrelevant_ones() -> None:
    judged = JudgedQueries.of({"kettle": {3: 0.1, 5: 0.0, 1: 1.0}, "nothing": {2: 0.0}})
    (one,) = label_judged(judged, np.ones((1, 4), np.float32))
    assert (one.query.text, one.source) == ("kettle", "labelled")
    assert one.items.tolist() == [1, 3]
    np.testing.assert_allclose(one.weights, [1.0, 0.1])
    assert one.irrelevant.tolist() == [5]
    assert label_judged(JudgedQueries.of({}), np.ones((0, 4), np.float32)) == []


def test_of_two_labels_of_a_pair_that_of_the_later_file_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "llm.csv", tmp_path / "people.csv"
    first.write_text(
        "query,item_id,label\nlamp,a,good\nlamp,b,good\nrug,c,good\nrug,d,good\nshoe,a,good\n"
    )
    second.write_text("query,item_id,label\nlamp,b,bad\nlamp,a,good\nshoe,a,bad\n")
    judged = read_judged_files([first, second], Vocabulary(["a", "b", "c"]))
    assert dict(zip(judged.texts, judged.gains, strict=True)) == {
        "lamp": {0: 1.0, 1: 0.0},
        "rug": {2: 1.0},
    }  # nothing is relevant to "shoe"
    sample = read_judged_files([first, second], Vocabulary(["a", "b", "c"]), most=1)
    assert len(sample) == 1
    assert sample.texts[0] in judged.texts
    assert len(read_judged_files([], Vocabulary(["a"]))) == 0
    with pytest.raises(DataError, match=r"no-such\.csv"):
        read_judged_files([tmp_path / "no-such.csv"], Vocabulary(["a"]))


def test_all_queries_of_a_file_that_names_a_model_are_of_an_llm(tmp_path: Path) -> None:
    by_llm, people = tmp_path / "llm.csv", tmp_path / "people.csv"
    by_llm.write_text("query,item_id,label,model\nlamp,a,good,m\nrug,a,bad,\n")
    people.write_text("query,item_id,label,model\nlamp,a,good,\nsofa,a,good,\n")
    assert read_queries_by_llm([by_llm, people]) == {"lamp", "rug"}
    assert read_queries_by_llm([people]) == set()


def test_weights_of_candidates_are_that_of_the_request_times_that_of_a_chosen_item() -> None:
    one = LabelledQuery(
        Query("search"),
        np.array([4, 7], np.int32),
        [],
        weights=np.array([0.1, 1.0], np.float32),
        weight=0.5,
    )
    np.testing.assert_allclose(one.weights_of(np.array([2, 4, 7], np.int32)), [0.5, 0.05, 0.5])
    assert one.weights_of(NO_ITEMS).shape == (0,)
