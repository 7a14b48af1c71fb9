from dataclasses import replace

import numpy as np

from serendip.data.item_list import ItemList
from serendip.data.items.reception import Reception
from serendip.data.query import TASKS, Query
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.batch import Batch, Candidates, round_scores
from serendip.engine.stages.pipeline import answer_queries
from serendip.engine.stages.scoring import fuse_by_rank, order_complete, ranks
from serendip.engine.stages.surfaces import DEFAULT_SURFACES
from serendip.models.ranker.config import RankerConfig, RankerRows
from serendip.models.ranker.model import Ranker
from serendip.search.understanding import ALL_WORDS, CORRECTED, SOME_WORDS


def test_rounding_changes_no_order_and_shares_no_rank() -> None:
    random = np.random.default_rng(0)
    values = (random.normal(size=2_000) * 10.0 ** random.integers(-6, 6, 2_000)).astype(np.float32)
    rounded = round_scores(values)
    np.testing.assert_allclose(rounded, values, rtol=2.0**-14)
    noisy = values * (1 + 1e-7 * random.normal(size=2_000)).astype(np.float32)
    assert (round_scores(noisy) == rounded).mean() > 0.98
    exact = np.array([0.0, -0.0, 1.0, 1_003.0, -np.inf, np.inf], np.float32)
    assert round_scores(exact).tolist() == exact.tolist()

    scores = np.array([50.0, 49.0, 48.999998, 48.0, 48.0, 1e-3, 1e-3 - 1e-10, -3.0], np.float32)
    assert ranks(scores).tolist() == [1, 2.5, 2.5, 4.5, 4.5, 6.5, 6.5, 8]
    assert ranks(scores[:0]).tolist() == []
    # Behind twenty items of one title, which stand far above, the others keep their order.
    words = np.concatenate([0.03 + np.arange(20, 0, -1), 1 / (61 + np.arange(180))])
    assert ranks(words.astype(np.float32)).tolist() == list(range(1, 201))


def test_sums_are_of_the_sources_that_propose_a_candidate() -> None:
    candidates = Candidates(np.array([0, 0, 0, 1], np.int32), np.array([3, 5, 9, 5], np.int32))
    proposals = {
        "words": [ItemList.of([9, 3], [2.0, 1.0]), ItemList()],
        "retriever": [ItemList.of([5, 9], [0.5, 0.5]), ItemList.of([99, 5], [3.0, -4.0])],
    }
    expected = [1 / 62, 1 / 61.5, 1 / 61 + 1 / 61.5, 1 / 62]  # item 99 is no candidate
    np.testing.assert_allclose(fuse_by_rank(candidates, proposals, 2), expected, rtol=1e-6)


def test_hits_of_all_words_are_also_ordered_by_merit_and_by_title(reader: Engine) -> None:
    state = replace(reader.state, quality=np.linspace(0, 1, reader.state.num_items))
    hits = ItemList.of([7, 5, 3, 9], [4.0, 3.0, 2.0, 1.0])
    fields = {
        "match": np.array([ALL_WORDS, ALL_WORDS, ALL_WORDS, SOME_WORDS], np.float32),
        "title_match": np.array([0.1, 0.3, 0.2, 0.8], np.float32),
    }
    batch = Batch.of([Query("search", "x")], DEFAULT_SURFACES["search"], state, [])
    batch.hits = [ItemList.of_distinct(hits.item_nums, hits.scores, fields)]
    orders = order_complete(batch)
    assert orders["titles"][0].item_nums.tolist() == [5, 3, 7]
    merits = state.quality * np.log(np.e + state.counts)
    assert orders["merits"][0].item_nums.tolist() == sorted([7, 5, 3], key=lambda n: -merits[n])
    batch.hits = None
    assert order_complete(batch) == {}


def test_where_nobody_chose_anything_only_posted_items_are_new(reader: Engine) -> None:
    state, count = reader.state, reader.state.num_items
    nobody = replace(state, counts=np.zeros(count, np.int32), reception=Reception.none(count))
    assert not nobody.new_items.mask.any()
    one = replace(nobody, counts=np.eye(1, count, dtype=np.int32)[0])
    assert one.new_items.mask.tolist() == [False, *[True] * (count - 1)]


def test_a_task_that_the_ranker_may_not_order_is_fused_by_rank(reader: Engine) -> None:
    state = reader.state
    # The shop has no logged searches.
    assert state.ranker.ordered_tasks == (TASKS.index("home"), TASKS.index("similar"))
    config = reader.settings.all_surfaces()["search"]
    queries = reader.queries([Request("search", "u0", text="horror tale")])
    (served,) = answer_queries(queries, config, state)
    (fused,) = answer_queries(queries, config, replace(state, ranker=None))
    assert served.items.item_nums.tolist() == fused.items.item_nums.tolist()
    np.testing.assert_array_equal(served.items.scores, fused.items.scores)
    home = reader.settings.all_surfaces()["home"]
    queries = reader.queries([Request("home", "u0")])
    (ranked,) = answer_queries(queries, home, state)
    (summed,) = answer_queries(queries, home, replace(state, ranker=None))
    assert ranked.items.scores.tolist() != summed.items.scores.tolist()


def test_a_ranker_that_has_seen_people_search_orders_it_behind_exact_titles(reader: Engine) -> None:
    state = reader.state
    names = state.ranker.feature_names
    random = np.random.default_rng(0)
    features = random.normal(size=(400, len(names))).astype(np.float32)
    rows = RankerRows(
        features,
        np.full(400, TASKS.index("search")),
        np.repeat((features[:, names.index("log popularity")] < 0)[:, None], 2, 1).astype("f4"),
        np.ones(400, np.float32),
        np.arange(400) // 10,
    )
    ranker = Ranker(RankerConfig(epochs=3)).train(rows, names)
    config = reader.settings.all_surfaces()["search"]
    title = state.catalogue[7].title
    (result,) = answer_queries(
        reader.queries([Request("search", text=title)]), config, replace(state, ranker=ranker)
    )
    items = result.items
    assert items.item_nums[0] == 7
    assert items.fields["title match"][0] >= CORRECTED
    behind = items.fields["title match"] < CORRECTED
    columns = np.column_stack([items.fields[name] for name in names]).astype(np.float32)
    task = np.full(len(items), TASKS.index("search"))
    worth = round_scores(ranker.predict(columns, task).sum(1))
    np.testing.assert_allclose(items.scores[behind], worth[behind], rtol=1e-4)
