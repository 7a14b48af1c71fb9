from dataclasses import replace

import numpy as np
import pytest
import torch

from serendip.data import Dataset, History, Query
from serendip.data.query import RetrievalTask
from serendip.data.rows.row_array import PackedRows
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.model import Retriever
from serendip.models.retriever.network import ItemContent, ItemTower, answered_by, normed_parts
from serendip.models.retriever.requests import HOME, SEARCH, SIMILAR
from serendip.models.retriever.train import RetrieverTraining
from serendip.runtime.progress import TrainOptions
from serendip.testing import build_small_world, draw_features

CONFIG = RetrieverConfig(embedding_size=8, search_size=4, epochs=2, max_len=10, batch_size=64)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return build_small_world()


@pytest.fixture(scope="module")
def trained(dataset: Dataset) -> Retriever:
    return Retriever(CONFIG).train(dataset, TrainOptions(seed=5))


def requests(dataset: Dataset) -> list[Query]:
    """A search, home and similar request of one user."""
    history: History = dataset.history(0)
    words = dataset.queries.vectors[0]
    return [
        Query("search", text="words", text_vector=words, history=history),
        Query("home", history=history),
        Query("similar", source_items=history.item_nums[-1:]),
    ]


def test_search_is_answered_by_both_parts_on_one_scale(
    trained: Retriever, dataset: Dataset
) -> None:
    search, home, similar = trained.encode_queries(requests(dataset))[:, :12]
    assert search.all()
    for one in (home, similar):
        assert one[:8].all()
        assert not one[8:].any()

    """Vectors of ones have the same dot product in every task, however wide its part is."""
    answers = answered_by((8, 4))
    assert answers.sum(1).tolist() == [12.0, 12.0, 12.0]
    assert answers[SEARCH].tolist() == [1.0] * 12
    assert answers[HOME].tolist() == answers[SIMILAR].tolist() == [1.5] * 8 + [0.0] * 4


@pytest.mark.parametrize("tasks", [("search",), ("home",), ("home", "similar")])
def test_there_is_one_part_where_search_is_not_learned_beside_others(
    dataset: Dataset, tasks: tuple[RetrievalTask, ...]
) -> None:
    config = CONFIG.model_copy(update={"tasks": tasks})
    assert RetrieverTraining(dataset, config, 0).module.tower.sizes == (8,)


@pytest.mark.parametrize("shown", [(HOME, SIMILAR, SEARCH), (HOME, SIMILAR), (SEARCH,)])
@pytest.mark.parametrize("weighed", [False, True])
def test_the_loss_is_that_of_whole_vectors(
    dataset: Dataset, shown: tuple[int, ...], weighed: bool
) -> None:
    config = CONFIG.model_copy(update={"dropout": 0.0})
    training = RetrieverTraining(dataset, config, 0)
    training.module.id_dropout = 0.0
    random = np.random.default_rng(0)
    batch = next(training.learned.epoch(64, random))
    batch = replace(batch, target=np.where(np.isin(batch.task, shown), batch.target, -1))
    if weighed:
        batch = replace(batch, weight=random.random(batch.task.shape).astype(np.float32))
    candidates = training.draw(batch, random)
    with torch.no_grad():
        encoded, targets, vectors = training.module(batch, candidates.items)
        scores = encoded @ vectors.T - candidates.correction
        own = torch.searchsorted(candidates.items, targets)
        scores[torch.arange(len(own)), own] += candidates.correction[own]
        losses = torch.nn.functional.cross_entropy(scores, own, reduction="none")
        weight = torch.from_numpy(batch.weight[batch.target >= 0])
        expected = (losses * weight).sum() / weight.sum()
        torch.testing.assert_close(training.module.loss(batch, candidates), expected)


def test_searches_move_nothing_that_answers_other_tasks_but_what_reads_words(
    dataset: Dataset,
) -> None:
    training = RetrieverTraining(dataset, CONFIG, 0)
    module = training.module.eval()
    module.id_dropout, module.tower.id_donors = 0.0, None
    batch = next(training.learned.epoch(64, np.random.default_rng(0)))
    only = replace(batch, target=np.where(batch.task == SEARCH, batch.target, -1))
    assert (only.target >= 0).any()
    module.loss(only, training.draw(only, np.random.default_rng(0))).backward()
    moved, encoder = module.tower.ids.grad, module.encoder
    assert not moved[:, :8].any()
    assert moved[np.unique(only.target[only.target >= 0]), 8:].any()
    assert all(one.grad is None or not one.grad.any() for one in encoder.block.parameters())
    assert any(one.grad is not None for one in encoder.search_block.parameters())
    assert encoder.gaps.grad is None or not encoder.gaps.grad.any()


def test_a_step_asks_each_block_what_a_served_graph_asks_both(dataset: Dataset) -> None:
    training = RetrieverTraining(dataset, CONFIG, 0)
    module, batch = training.module.eval(), next(training.learned.epoch(64, training.random))
    assert 0 < batch.num_searches < batch.task.shape[1]
    assert (batch.task[:, -batch.num_searches :] == SEARCH).all()
    assert not (batch.task[:, : -batch.num_searches] == SEARCH).any()
    asked: list[torch.Tensor] = []
    module.encoder.register_forward_pre_hook(lambda _, inputs: asked.extend(inputs))
    with torch.no_grad():
        module(batch, torch.arange(dataset.num_items))
        *inputs, num_searches = asked
        by_column = module.encoder(*inputs, num_searches)
        of_any = module.encoder(*inputs)
        of_home = module.encoder(*inputs[:5], torch.full_like(inputs[5], HOME), *inputs[6:], 0)
    torch.testing.assert_close(by_column, of_any, rtol=0, atol=1e-5)
    assert not torch.allclose(by_column, of_home, rtol=0, atol=1e-2)


def test_packed_content_is_read_as_the_numbers_that_it_holds() -> None:
    features = draw_features(0, 40)
    features.content[3] = 0.0
    packed = PackedRows.of(features.content)
    codes = torch.from_numpy(features.codes).long()
    items, vectors = torch.arange(40), np.eye(40, 8, dtype=np.float32)
    found = []
    for content in (packed, np.asarray(packed)):
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            tower = ItemTower(ItemContent(content), codes, features.codebook_size, CONFIG, 4)
            tower.start_ids_at(vectors)
            found.append(torch.cat(tower(items, (items > 20).float()), 1))
        assert tower.has_content[:, 0].tolist() == [number != 3 for number in range(40)]
    torch.testing.assert_close(*found, rtol=0, atol=1e-5)


def test_ids_start_the_same_whatever_the_signs_of_eigenvectors() -> None:
    features = draw_features(0, 40)
    codes = torch.from_numpy(features.codes).long()
    tower = ItemTower(ItemContent(features.content), codes, features.codebook_size, CONFIG, 4)
    random = np.random.default_rng(0)
    vectors = random.normal(size=(40, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[7] = 0
    starts = []
    for signs in (np.ones(8), random.choice((-1.0, 1.0), 8)):
        before = tower.ids.detach().clone()
        tower.start_ids_at(vectors * signs.astype(np.float32))
        torch.testing.assert_close(tower.ids.detach()[7], before[7])
        # The mean of a part says nothing: items leave the tower without it.
        starts.append(normed_parts(tower.ids.detach(), tower.sizes))
    torch.testing.assert_close(*starts, rtol=0, atol=1e-3)
