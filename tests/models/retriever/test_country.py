from dataclasses import replace

import numpy as np
import pytest

from serendip.data.dataset import Dataset, UserCountries
from serendip.data.query import Query
from serendip.errors import DataError
from serendip.models.retriever.batches import BatchBuilder, PackedLog, cut_rows
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.model import Retriever
from serendip.models.retriever.requests import HOME, SEARCH
from serendip.runtime.progress import TrainOptions
from serendip.testing import build_small_world

SMALL = RetrieverConfig(
    embedding_size=8, search_size=4, epochs=6, max_len=10, batch_size=8, blind_share=0.5
)
NAMES = ("France", "United Kingdom")


def world() -> Dataset:
    """Even users are in France and choose items below 10, odd ones elsewhere and those above."""
    dataset = build_small_world(num_items=20, num_events=400)
    rng = np.random.default_rng(0)
    users = dataset.events.users
    items = (rng.integers(0, 10, len(users)) + 10 * (users % 2)).astype(np.int32)
    where = (np.arange(dataset.num_users) % 2).astype(np.int32)
    where[-1] = -1
    log = replace(dataset.events, items=items)
    return replace(dataset, events=log).with_countries(UserCountries(NAMES, where))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return world()


@pytest.fixture(scope="module")
def trained(dataset: Dataset) -> Retriever:
    return Retriever(SMALL).train(dataset, TrainOptions(seed=5))


def test_a_visitor_gets_what_is_chosen_in_their_country_if_it_is_known(
    trained: Retriever, dataset: Dataset
) -> None:
    france, elsewhere = trained.score_all([Query(country=name) for name in NAMES])
    difference = france - elsewhere
    assert difference[:10].min() > difference[10:].max()

    history = dataset.history(0)
    nowhere, unknown, france = trained.score_all(
        [Query(history=history, country=name) for name in ("", "Atlantis", "France")]
    )
    np.testing.assert_array_equal(nowhere, unknown)
    assert np.abs(nowhere - france).max() > 1e-3


def test_only_home_requests_read_it(trained: Retriever, dataset: Dataset) -> None:
    source = np.array([3], np.int32)
    for query in (
        Query("similar", source_items=source),
        Query("search", text_vector=dataset.queries.vectors[0]),
    ):
        with_country = replace(query, country="France")
        found = trained.score_all([query, with_country])
        np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-6)


def test_countries_are_one_per_user_and_without_them_nothing_reads_them(
    trained: Retriever, dataset: Dataset
) -> None:
    short = SMALL.model_copy(update={"epochs": 1})
    bare = Retriever(short).train(dataset.with_countries(None), TrainOptions(seed=5))
    assert bare.num_parameters == trained.num_parameters - len(NAMES) * (8 + 4)
    names = {one.name for one in bare._session.get_inputs()}
    assert {one.name for one in trained._session.get_inputs()} == names | {"country"}
    found = bare.score_all([Query(), Query(country="France")])
    np.testing.assert_array_equal(found[0], found[1])
    with pytest.raises(DataError, match="countries of 3 users for 12 users"):
        dataset.with_countries(UserCountries(NAMES, np.zeros(3, np.int32)))


def test_some_home_requests_of_training_name_no_country(dataset: Dataset) -> None:
    log, where = dataset.events, dataset.countries
    packed = PackedLog(log, np.ones(len(log), np.bool_))
    maker = BatchBuilder(packed, dataset.queries, SMALL, countries=where.of_users)
    rows = cut_rows(packed, 10, np.zeros(len(packed.starts), np.int64))
    own = where.of_users[packed.users[rows.begin]] + 1
    batch = maker.batch(rows, np.random.default_rng(0))
    is_home = batch.task == HOME
    assert (batch.country[~is_home] == 0).all()
    known = np.broadcast_to(own[:, None], batch.task.shape)
    named = is_home & (batch.country > 0)
    assert (batch.country[named] == known[named]).all()
    assert 0.1 < (batch.country[is_home & (known > 0)] == 0).mean() < 0.3
    asked = maker.asked_batch(rows, HOME).country
    assert asked is not None
    assert (asked == own[:, None]).all()
    assert not maker.asked_batch(rows, SEARCH).country.any()  # type: ignore[union-attr]
