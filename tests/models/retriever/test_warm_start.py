from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serendip.data import Catalogue, Dataset, QueryExamples
from serendip.data.dataset import UserCountries
from serendip.models.base import WarmStart
from serendip.models.retriever.artefact import RetrieverStart
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.model import Retriever
from serendip.models.retriever.train import RetrieverTraining
from serendip.runtime.budget import open_budget
from serendip.runtime.progress import TrainOptions
from serendip.testing import build_small_world

CONFIG = RetrieverConfig(embedding_size=8, search_size=4, epochs=4, max_len=10, batch_size=64)
SHORT = CONFIG.model_copy(update={"epochs": 1, "continued_epochs": 1})


@pytest.fixture(scope="module")
def world() -> Dataset:
    return build_small_world(num_items=40, num_users=30, num_events=1_500)


def older_part(world: Dataset, count: int, items: list[int]) -> tuple[Dataset, np.ndarray]:
    """The first events of some items, in another order; and the number of each item there."""
    rows = np.full(world.num_items, -1, np.int32)
    rows[items] = np.arange(len(items), dtype=np.int32)
    kept = (np.arange(len(world.events)) < count) & (rows[world.events.items] >= 0)
    events = world.events.rows(kept)
    asked = np.flatnonzero(rows[world.queries.items] >= 0)
    queries = QueryExamples(
        [world.queries.texts[row] for row in asked],
        world.queries.vectors[asked],
        rows[world.queries.items[asked]],
    )
    dataset = replace(
        world,
        catalogue=Catalogue([world.catalogue[item] for item in items]),
        events=replace(events, items=rows[events.items]),
        features=world.features.rows(np.array(items, np.int32)),
        queries=queries,
    )
    return dataset, rows


@pytest.fixture(scope="module")
def older(world: Dataset) -> tuple[Retriever, np.ndarray]:
    dataset, rows = older_part(world, 1_200, [*range(35, 4, -1)])
    return Retriever(CONFIG).train(dataset, TrainOptions(seed=1)), rows


def test_it_begins_where_the_earlier_training_ended(
    world: Dataset, older: tuple[Retriever, np.ndarray]
) -> None:
    model, rows = older
    start = RetrieverStart.of(WarmStart(model.learned(), rows))
    training = RetrieverTraining(world, CONFIG, 0, start)
    assert training.start is start
    before = training.finish(None).item_vectors
    known = np.flatnonzero(rows >= 0)
    known = known[start.seen[rows[known]]]
    network = model._trained.item_vectors[rows[known]]
    np.testing.assert_allclose(before[known], network, rtol=0, atol=1e-4)


def test_new_items_begin_with_the_ids_of_their_donors(
    world: Dataset, older: tuple[Retriever, np.ndarray]
) -> None:
    model, rows = older
    start = RetrieverStart.of(WarmStart(model.learned(), rows))
    training = RetrieverTraining(world, CONFIG, 0, start)
    donors, weights = (part.numpy() for part in training.module.tower.id_donors)
    ids = training.module.tower.ids.detach().numpy()
    known = (rows >= 0) & start.seen[np.maximum(rows, 0)]
    new = np.flatnonzero(~known)
    assert len(new)
    for item in new.tolist():
        shares = weights[item] * known[donors[item]]
        if shares.sum():
            expected = shares @ ids[donors[item]] / shares.sum()
            np.testing.assert_allclose(ids[item], expected, rtol=0, atol=1e-5)


def test_codes_that_were_renumbered_keep_their_embeddings(
    world: Dataset, older: tuple[Retriever, np.ndarray]
) -> None:
    model, rows = older
    size = world.features.codebook_size
    turned = replace(world.features, codes=(world.features.codes + 1) % size)
    tables = [
        RetrieverTraining(
            world.with_features(features),
            CONFIG,
            0,
            RetrieverStart.of(WarmStart(model.learned(), rows)),
        ).module.tower.code_tables.detach()
        for features in (world.features, turned)
    ]
    np.testing.assert_allclose(tables[1].roll(-1, 1), tables[0], rtol=0, atol=1e-6)


def test_other_sizes_and_opened_models_train_from_nothing(
    world: Dataset, older: tuple[Retriever, np.ndarray], tmp_path: Any
) -> None:
    model, rows = older
    wider = SHORT.model_copy(update={"embedding_size": 10})
    start = WarmStart(model.learned(), rows)
    from_nothing = Retriever(wider).train(world, TrainOptions(seed=2))
    found = Retriever(wider).train(world, TrainOptions(seed=2), start)
    assert np.array_equal(found.item_vectors, from_nothing.item_vectors)
    older[0].save(tmp_path)
    assert Retriever.open(tmp_path).learned() == {}


@pytest.mark.parametrize(("names", "continues"), [("AB", True), ("BA", False), ("AC", False)])
def test_other_countries_train_from_nothing(world: Dataset, names: str, continues: bool) -> None:
    """The vector of a country is never taken for that of another one."""
    of_users = (np.arange(world.num_users) % 2).astype(np.int32)
    earlier = world.with_countries(UserCountries(("A", "B"), of_users))
    kept = Retriever(SHORT).train(earlier).learned()
    start = WarmStart(kept, np.arange(world.num_items, dtype=np.int32))
    later = world.with_countries(UserCountries(tuple(names), of_users))
    training = RetrieverTraining(later, CONFIG, 0, RetrieverStart.of(start))
    assert (training.start is not None) == continues


class Ticking:
    """A clock on which every look takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_a_last_pass_without_time_keeps_what_the_others_learned(world: Dataset) -> None:
    training = RetrieverTraining(world, SHORT, 0)
    training.epoch(0)
    training.held_back, steps = True, training.num_steps
    budget = open_budget(1e-9, Ticking())
    training.allowance = budget.from_now(0.5, "retriever")
    training.learn_held_back()
    (cut,) = budget.cuts
    assert (cut.continues, cut.steps) == (True, steps) and steps > 0


def test_without_any_time_the_start_is_what_is_left(
    world: Dataset, older: tuple[Retriever, np.ndarray]
) -> None:
    model, rows = older
    budget = open_budget(1e-9, Ticking())
    options = TrainOptions(allowance=budget.from_now(0.5, "retriever"))
    start = WarmStart(model.learned(), rows)
    found = Retriever(CONFIG).train(world, options, start)
    parameters = found.learned()
    name = "network/encoder.tasks"
    assert np.array_equal(parameters[name], model.learned()[name])
    (cut,) = budget.cuts
    assert (cut.done, cut.continues) == (0.0, True)
    Retriever(CONFIG).train(world, TrainOptions(allowance=budget.from_now(0.5, "another")))
    assert (budget.cuts[1].done, budget.cuts[1].continues) == (0.0, False)
