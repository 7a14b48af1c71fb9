from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from killed_run import Killed, Killer

from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.loss import NUM_NEAREST, HardNegatives
from serendip.models.retriever.model import Retriever
from serendip.models.retriever.train import RetrieverTraining
from serendip.runtime.progress import TrainOptions
from serendip.testing import build_small_world

SMALL = RetrieverConfig(
    embedding_size=8, search_size=0, epochs=4, num_negatives=4, hard_negatives=6, max_len=10
)


def around_a_circle(count: int) -> np.ndarray:
    angles = 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32) * 3


def test_the_nearest_are_drawn_as_often_as_expected() -> None:
    random = np.random.default_rng(0)
    frequency = random.dirichlet(np.ones(60), 3)
    hard = HardNegatives.of(around_a_circle(60), frequency, 50)
    assert (np.diff(hard.nearest.indptr) == NUM_NEAREST).all()
    assert not hard.nearest.diagonal().any()
    np.testing.assert_allclose(hard.nearest.sum(1), 1, rtol=1e-5)
    # Ten items on either side and no others.
    assert sorted(hard.nearest[[30]].indices.tolist()) == [*range(20, 30), *range(31, 41)]
    per_task = np.array([30, 10, 0])
    found = np.zeros(60)
    steps = 3_000
    for _ in range(steps):
        tasks = np.repeat(np.arange(3), per_task)
        targets = np.array([random.choice(60, p=frequency[task]) for task in tasks])
        found += np.bincount(hard.draw(targets, random), minlength=60)
    expected = hard.expected(per_task)
    assert expected.sum() == pytest.approx(50)
    np.testing.assert_allclose(found / steps, expected, rtol=0.1, atol=0.03)


def test_what_is_near_nothing_draws_nothing() -> None:
    apart = np.eye(4, dtype=np.float32)
    hard = HardNegatives.of(apart, np.full((3, 4), 0.25), 5)
    assert hard.draw(np.arange(4), np.random.default_rng(0)).tolist() == []
    assert not hard.expected(np.array([4, 0, 0])).any()


def test_the_chance_to_be_a_candidate_counts_hard_draws() -> None:
    training = RetrieverTraining(build_small_world(), SMALL, 0)
    batch = next(training.learned.epoch(4, np.random.default_rng(0)))
    without = training.draw(batch, np.random.default_rng(1))
    count = training.num_items
    training.draw.hard = HardNegatives.of(around_a_circle(count), training.draw.frequency, 6)
    hardened = training.draw(batch, np.random.default_rng(1))
    assert set(without.items.tolist()) < set(hardened.items.tolist())
    before, after = (
        dict(zip(*map(list, one), strict=True))
        for one in (
            (without.items.tolist(), without.correction.tolist()),
            (hardened.items.tolist(), hardened.correction.tolist()),
        )
    )
    assert all(after[item] > before[item] for item in before)


def test_the_first_half_of_the_passes_draws_none_and_small_catalogues_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[int] = []
    real = HardNegatives.draw

    def counted(self, targets, random):
        drawn.append(training.passes)
        return real(self, targets, random)

    monkeypatch.setattr(HardNegatives, "draw", counted)
    for config, expected in (
        (SMALL, {2, 3}),
        (SMALL.model_copy(update={"num_negatives": 500}), set()),
        (SMALL.model_copy(update={"hard_negatives": 0}), set()),
    ):
        training = RetrieverTraining(build_small_world(), config, 0)
        for training.passes in range(4):
            training.epoch(training.passes)
        assert set(drawn) == expected
        drawn.clear()


def test_a_killed_training_ends_with_the_numbers_of_a_whole_one(tmp_path: Path) -> None:
    whole = Retriever(SMALL).train(build_small_world(), TrainOptions(0))
    with pytest.raises(Killed):
        killed = TrainOptions(0, Killer(3), tmp_path)
        Retriever(SMALL).train(build_small_world(), killed)
    resumed = Retriever(SMALL).train(build_small_world(), TrainOptions(0, checkpoint=tmp_path))
    np.testing.assert_array_equal(whole.item_vectors, resumed.item_vectors)
    plain = Retriever(SMALL.model_copy(update={"hard_negatives": 0}))
    other = plain.train(build_small_world(), TrainOptions(0))
    assert not np.array_equal(whole.item_vectors, other.item_vectors)
