from __future__ import annotations

import numpy as np

from serendip.data.dataset import Dataset, EventLog
from serendip.data.item import Catalogue, Item
from serendip.data.query import Query
from serendip.data.vocabulary import Vocabulary
from serendip.models.popularity import Popularity, PopularityConfig
from serendip.testing import LocalChangeContract, RecommenderContract

DAY = 86_400.0


class TestPopularity(LocalChangeContract, RecommenderContract):
    @classmethod
    def make(cls) -> Popularity:
        return Popularity()


class TestRecentPopularity(LocalChangeContract, RecommenderContract):
    @classmethod
    def make(cls) -> Popularity:
        return Popularity(PopularityConfig(window_days=2))


def log_of(items: list[int], days: list[float]) -> Dataset:
    count = len(items)
    log = EventLog(
        np.zeros(count, np.int32),
        np.asarray(items, np.int32),
        np.asarray(days) * DAY,
        np.zeros(count, np.bool_),
        np.zeros(count, np.float32),
    )
    return Dataset(Catalogue(Item(name) for name in "abc"), Vocabulary(["u"]), log)


def test_all_time_scores_are_log_counts() -> None:
    model = Popularity().train(log_of([0, 1, 0], [0, 1, 30]))
    expected = np.log1p(np.asarray([2, 1, 0], dtype=np.float64))
    np.testing.assert_allclose(model.score_all([Query()])[0], expected, rtol=1e-6)


def test_only_the_window_before_the_last_event_counts_fully() -> None:
    config = PopularityConfig(window_days=7, prior=0.01)
    model = Popularity(config).train(log_of([0, 0, 0, 1], [0, 1, 2, 30]))
    expected = np.log1p(np.asarray([0.03, 1, 0]))
    np.testing.assert_allclose(model.score_all([Query()])[0], expected, rtol=1e-6)


def test_an_item_without_events_comes_last_but_comes() -> None:
    (answer,) = Popularity().train(log_of([1, 1, 0], [0, 0, 0])).recommend([Query()], k=3)
    assert answer.item_nums.tolist() == [1, 0, 2]
