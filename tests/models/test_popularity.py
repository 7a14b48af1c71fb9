import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from next_item_world import log_of

from serendip.data import Catalogue, Dataset, Item, Query, Vocabulary
from serendip.data.artefact import VALUE_FILE
from serendip.errors import ArtefactError
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


def world_of(items: list[int], days: list[float]) -> Dataset:
    log = log_of([0] * len(items), items, np.asarray(days) * DAY)
    return Dataset(Catalogue(Item(name) for name in "abc"), Vocabulary(["u"]), log)


def test_scores_are_log_counts_of_the_window() -> None:
    model = Popularity().train(world_of([0, 1, 0], [0, 1, 30]))
    expected = np.log1p(np.asarray([2, 1, 0], dtype=np.float64))
    np.testing.assert_allclose(model.score_all([Query()])[0], expected, rtol=1e-6)

    config = PopularityConfig(window_days=7)
    model = Popularity(config).train(world_of([0, 0, 0, 1], [0, 1, 2, 30]))
    expected = np.log1p(np.asarray([0.03, 1, 0]))
    np.testing.assert_allclose(model.score_all([Query()])[0], expected, rtol=1e-6)


EVENTS = st.lists(st.tuples(st.floats(0, 20), st.integers(0, 2)), min_size=1, max_size=12)


@given(EVENTS, st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=3), max_size=4))
def test_later_events_count_as_if_they_had_been_trained_on(trained, later) -> None:
    trained = sorted(trained)
    days, items = [day for day, _ in trained], [item for _, item in trained]
    for config in (PopularityConfig(), PopularityConfig(window_days=5)):
        model = Popularity(config).train(world_of(items, days))
        all_items, all_days = list(items), list(days)
        for step, batch in enumerate(later):
            times = [21.0 + 4 * step + number for number in range(len(batch))]
            all_items, all_days = all_items + batch, all_days + times
            counts = np.bincount(all_items, minlength=3).astype(np.int32)
            numbers = np.array(batch, np.int32)
            model = model.with_interactions(numbers, np.array(times) * DAY, counts)
        expected = Popularity(config).train(world_of(all_items, all_days))
        np.testing.assert_allclose(
            model.score_all([Query()]), expected.score_all([Query()]), rtol=1e-6
        )


def test_a_setting_of_another_version_asks_for_a_training(tmp_path: Path) -> None:
    Popularity().train(world_of([0, 1], [0, 1])).save(tmp_path)
    document = json.loads((tmp_path / VALUE_FILE).read_text(encoding="utf-8"))
    document["values"]["config"]["values"]["like_weight"] = 2.0
    (tmp_path / VALUE_FILE).write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ArtefactError, match="like_weight`"):
        Popularity.open(tmp_path)
