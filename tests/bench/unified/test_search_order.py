from pathlib import Path

import numpy as np
import pytest
from bench_films import write_films
from bench_products import write_products
from bench_world import InThisProcess

from serendip.content.encoders.text import TextEncoderConfig
from serendip.data.arrays import NO_ITEMS
from serendip.data.query import Query
from serendip.jobs.train.ranker.labels import LabelledQuery
from serendip.jobs.train.ranker.rows import SearchCandidates
from serendip.models.ranker.config import RankerRows
from serendip.runtime.progress import TrainOptions
from serendip_bench.datasets.registry import MOVIELENS, PRODUCTS
from serendip_bench.qrels import Relevance
from serendip_bench.splits import RequestSet
from serendip_bench.unified.models import SEARCH_RANKERS, UnifiedModel
from serendip_bench.unified.run import UnifiedBench, run_unified
from serendip_bench.unified.search_order import (
    CHOSEN,
    LABELLED,
    NUM_FOLDS,
    WRITTEN,
    SearchRows,
    label_requests,
)

pytestmark = pytest.mark.usefixtures("few_written_queries")

TINY = {"embedding_size": 8, "epochs": 1, "num_negatives": 8, "slots": 2}


def test_a_request_has_all_its_items_by_grade() -> None:
    queries = [Query("search", text=text) for text in ("b", "a", "b", "b")]
    relevance = Relevance(
        np.array([1, 0, 1, 1]), np.array([1, 0, 1, 1]), np.array([0.1, 1.0, 0.0, 1.0])
    )
    first, second = label_requests(
        RequestSet(queries, np.array([4, 5, 6, 7], np.int32), relevance), "labelled"
    )
    assert (first.query.text, first.items.tolist()) == ("a", [5])
    assert (second.query.text, second.items.tolist()) == ("b", [4, 7])
    np.testing.assert_allclose(second.weights, [0.1, 1.0])
    assert second.irrelevant.tolist() == [6]
    alone = label_requests(RequestSet(queries, np.arange(4, dtype=np.int32)), "written")
    assert [one.items.tolist() for one in alone] == [[0], [1], [2], [3]]
    assert {one.source for one in alone} == {"written"}


def rows_of(groups: list[int]) -> RankerRows:
    size = len(groups)
    columns = np.arange(size, dtype=np.float32)
    return RankerRows(
        columns[:, None], np.zeros(size, np.int64), columns[:, None], columns, np.array(groups)
    )


def test_requests_of_different_parts_stay_different() -> None:
    asked = [LabelledQuery(Query("search", text=text), NO_ITEMS, ()) for text in "abcd"]
    fused = np.ones(2, np.float32)
    compared = SearchCandidates(rows_of([1, 3]), fused, fused)
    home = SearchRows.of_others(rows_of([0, 0, 2]))
    joined = SearchRows.joined([home, SearchRows(rows_of([0, 1]), asked, compared)])
    assert joined.rows.group.tolist() == [0, 0, 2, 3, 4]
    assert joined.rows.weights.tolist() == [0, 1, 2, 0, 1]
    assert [request.query.text for request in joined.requests] == ["", "", "", *"abcd"]
    assert not any(request.can_decide for request in home.requests)
    assert joined.compared is not None
    assert joined.compared.rows.group.tolist() == [4, 6]  # "b" and "d", as in the requests
    kept = joined.where(np.array([False] * 4 + [True] * 3))
    assert (kept.rows.group.tolist(), kept.rows.weights.tolist()) == ([4], [1])
    assert kept.compared is not None
    assert kept.compared.rows.group.tolist() == [4, 6]
    assert kept.requests == joined.requests


@pytest.mark.parametrize("data", ["films", "products"])
def test_rankers_of_search_are_compared_with_rank_fusion_in_pairs(
    tmp_path: Path, data: str
) -> None:
    dataset = MOVIELENS if data == "films" else PRODUCTS
    folder = (write_films if data == "films" else write_products)(tmp_path / data)
    tasks = ("home", "search", "similar") if data == "films" else ("search",)
    lines = {
        "unified": UnifiedModel("unified", tasks, config={**TINY, "tasks": tasks}),
        "engine": UnifiedModel("engine", ("search",), "engine", of="unified"),
        **SEARCH_RANKERS,
    }
    assert all(dataset.table[name] == line for name, line in SEARCH_RANKERS.items())
    bench = UnifiedBench(
        folder, tmp_path / "out.json", lines, 1, encoder=TextEncoderConfig(name="hashing")
    )
    document = run_unified(bench, TrainOptions(), executor=InThisProcess(100))
    sets = {"tags", "redial"} if data == "films" else {None}
    compared = {
        (row.get("set"), row["system"], row["baseline"])
        for row in document["summary"]["comparisons"]
        if row["system"] != "unified"
    }
    assert compared == {
        (name, system, baseline)
        for name in sets
        for system, baseline in (
            (WRITTEN, "engine"),
            (LABELLED, "engine"),
            (LABELLED, WRITTEN),
            (CHOSEN, "engine"),
            (CHOSEN, LABELLED),
        )
    }
    rows = {(row.get("set"), row["model"]): row for row in document["rows"]}
    for name in sets:
        for model in (WRITTEN, LABELLED, CHOSEN):
            assert rows[name, model]["R@100"] == 1  # there are fewer items
            assert rows[name, model]["users"] == rows[name, "engine"]["users"]
        orders = rows[name, CHOSEN]["orders"]
        assert len(orders) == min(NUM_FOLDS, rows[name, CHOSEN]["users"])
        # The few queries of this world are too few to compare on: rank fusion orders, as served.
        assert not any(order["on"] for order in orders)
        assert rows[name, CHOSEN]["N@10"] == rows[name, "engine"]["N@10"]
