from dataclasses import replace

import numpy as np
import pytest

from serendip.data.dataset import Dataset
from serendip.models.early_stopping import compute_target_ndcg
from serendip.models.retriever import validation
from serendip.models.retriever.batches import BatchBuilder, PackedLog, TrainingBatch
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.requests import HOME, NONE, SIMILAR
from serendip.models.retriever.train import RetrieverTraining
from serendip.models.retriever.validation import ValidationRequests, ValidationSample, shown
from serendip.testing import build_small_world

CONFIG = RetrieverConfig(embedding_size=8, search_size=4, epochs=2, max_len=10, batch_size=64)


@pytest.fixture(scope="module")
def world() -> Dataset:
    return build_small_world(num_items=200, num_users=40, num_events=2_000)


@pytest.fixture
def few_ranked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes at which the catalogue of the test is a large one."""
    monkeypatch.setattr(validation, "RANKED_WHOLE", 100)
    monkeypatch.setattr(validation, "NUM_RANKED", 30)


def maker_of(world: Dataset) -> BatchBuilder:
    newest = np.arange(len(world.events)) >= len(world.events) - 300
    return BatchBuilder(PackedLog(world.events, newest), world.queries, CONFIG)


def targets_of(batch: TrainingBatch) -> np.ndarray:
    return batch.target[batch.target != NONE]


@pytest.mark.usefixtures("few_ranked")
def test_a_large_catalogue_is_sampled_and_every_target_is_ranked(world: Dataset) -> None:
    sample = ValidationSample.of(maker_of(world), HOME, 200)
    targets = np.unique(np.concatenate([targets_of(block) for block in sample.blocks]))
    assert np.isin(targets, sample.ranked).all()
    assert 30 <= len(sample.ranked) <= 30 + len(targets)
    assert (np.diff(sample.ranked) > 0).all()


def test_a_small_catalogue_is_ranked_whole(world: Dataset) -> None:
    assert np.array_equal(ValidationSample.of(maker_of(world), HOME, 200).ranked, np.arange(200))


@pytest.mark.usefixtures("few_ranked")
@pytest.mark.parametrize("task", [HOME, SIMILAR])
def test_what_a_request_shows_is_not_ranked_and_gains_are_those_of_the_ranked(
    world: Dataset, task: int
) -> None:
    sample = ValidationSample.of(maker_of(world), task, 200)
    random = np.random.default_rng(0)
    for batch in sample.blocks:
        targets = targets_of(batch)
        scores = random.random((len(targets), 200)).astype(np.float32)
        block = ValidationRequests(batch, sample.ranked, scores[:, sample.ranked])
        assert np.array_equal(sample.ranked[block.columns], targets)
        # By hand, over the whole catalogue: items that are not ranked score below all others.
        whole = np.full_like(scores, -np.inf)
        whole[:, sample.ranked] = scores[:, sample.ranked]
        rows, items = [], []
        for number, (at, which) in enumerate(np.argwhere(batch.target != NONE)):
            seen = [*batch.items[at, : batch.prefix[at, which]], batch.source[at, which]]
            seen = [item for item in seen if item not in (NONE, targets[number])]
            rows += [number] * len(seen)
            items += seen
        excluded = np.array(rows, np.int64), np.array(items, np.int64)
        expected = compute_target_ndcg(whole, targets, excluded).sum()
        assert block.gain() == pytest.approx(expected)
        added = random.random((len(targets), len(sample.ranked))).astype(np.float32)
        doubled = replace(block, scores=block.scores + 2 * added)
        assert block.gains(added, 0.0, [0.0, 2.0]) == pytest.approx([expected, doubled.gain()])
        assert shown(batch).shape == (len(targets), batch.items.shape[1])


class Counted(RetrieverTraining):
    """Counts the items that pass the item tower."""

    def count(self) -> list[int]:
        rows: list[int] = []
        self.module.tower.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
        return rows


def test_a_step_encodes_what_it_reads_however_large_the_catalogue_is() -> None:
    """Steps of the same events beside ten times as many items, which nobody chose."""
    costs = []
    config = CONFIG.model_copy(update={"num_negatives": 16})
    for num_items in (400, 4_000):
        world = build_small_world(num_items=num_items, num_users=20, num_events=1_000)
        events = replace(world.events, items=world.events.items % 300)
        training = Counted(replace(world, events=events, queries=None), config, seed=0)
        training.module.tower.id_donors = None
        rows = training.count()
        training.epoch(0)
        steps = len(training.learned.cut_epoch(config.batch_size, np.random.default_rng(0)))
        assert len(rows) == pytest.approx(steps, abs=2)
        costs.append(sum(rows) / len(rows))
    assert costs[1] == pytest.approx(costs[0], rel=0.2)
    assert costs[1] < 400


def test_weights_are_tuned_with_the_best_network_and_not_with_the_last_one(world: Dataset) -> None:
    training, afresh = (RetrieverTraining(world, CONFIG, seed=0) for _ in range(2))
    afresh.module.load_state_dict(training.module.state_dict())
    best = {name: value.clone() for name, value in training.module.state_dict().items()}
    training.epoch(0)
    training.validate()
    training.module.load_state_dict(best)
    training.affinity()
    found, expected = (
        next(one._validation_requests(HOME, one.validation)).scores for one in (training, afresh)
    )
    assert np.array_equal(found, expected)
