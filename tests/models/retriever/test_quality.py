from pathlib import Path

import numpy as np
import pytest

from serendip.data.dataset import Dataset
from serendip.data.items.quality import UNKNOWN, item_quality
from serendip.models.early_stopping import compute_target_ndcg
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.model import Retriever
from serendip.models.retriever.quality import HeldOutRequests, find_weights, keeps_relevance
from serendip.runtime.progress import TrainOptions
from serendip.testing import build_small_world, draw_features

SMALL = RetrieverConfig(
    embedding_size=8, search_size=0, epochs=2, max_len=10, batch_size=64, quality_loss=0.1
)


def rated_world() -> Dataset:
    dataset = build_small_world()
    return dataset.with_quality(item_quality(dataset))


VALUES = np.random.default_rng(1).random((40, 2)).astype(np.float32)
NOTHING, WORTH = np.zeros(40, np.float32), VALUES.mean(1)


def held(requests: int = 200) -> HeldOutRequests:
    """Targets that the scores foretell well, whatever the quality of the items."""
    random = np.random.default_rng(0)
    wanted = random.integers(0, 40, requests)
    scores = random.normal(size=(requests, 40)).astype(np.float32)
    scores[np.arange(requests), wanted] += 2
    return HeldOutRequests.of(scores, wanted, np.arange(40))


def test_figures_are_those_of_all_items_while_weights_are_small() -> None:
    random = np.random.default_rng(3)
    scores = random.normal(size=(50, 500)).astype(np.float32)
    scores[random.random((50, 500)) < 0.2] = -np.inf
    wanted = random.integers(0, 500, 50)
    scores[np.arange(50), wanted] = random.normal(2.5, 1, 50)
    scores[0, wanted[0]] = -np.inf
    asked = HeldOutRequests.of(scores, wanted, np.arange(500))
    worth = random.random(500).astype(np.float32)
    assert asked.items.shape == (50, 300)
    for added in (np.zeros(500, np.float32), worth / 5):
        gains = compute_target_ndcg(scores + added, wanted, (np.empty(0, int), np.empty(0, int)))
        gains[0] = 0.0
        np.testing.assert_allclose(asked.gains(added), gains)
        first = np.argsort(-(scores + added), axis=1)[:, :10]
        assert asked.quality(added, worth) == pytest.approx(worth[first].mean(), rel=1e-6)


def test_weights_raise_quality_and_keep_the_bound() -> None:
    asked, found = held(), [0.0]
    for most_loss in (0.01, 0.1):
        weights = find_weights(asked, VALUES, most_loss)
        assert (weights >= 0).all()
        added = VALUES @ weights
        found.append(asked.quality(added, WORTH) - asked.quality(NOTHING, WORTH))
        assert asked.gains(added).sum() >= (1 - most_loss) * asked.gains(NOTHING).sum()
    assert found == sorted(set(found))  # a wider bound gives more quality


def test_requests_lose_nothing_by_what_changes_no_order_and_lose_by_what_does() -> None:
    asked = held()
    assert keeps_relevance(asked, NOTHING, 0.0)
    assert keeps_relevance(HeldOutRequests.joined([]), np.ones(40, np.float32), 0.0)
    worse = np.random.default_rng(1).random(40).astype(np.float32) * 5
    loss = 1 - asked.gains(worse).sum() / asked.gains(NOTHING).sum()
    assert loss > 0.2
    assert not keeps_relevance(asked, worse, 0.1)  # more than the share
    assert not keeps_relevance(asked, worse, 0.9)  # within the share, but the loss is shown


def test_new_items_have_the_quality_of_the_unknown(tmp_path: Path) -> None:
    model = Retriever(SMALL).train(rated_world(), TrainOptions(seed=5))
    model.save(tmp_path)
    opened = Retriever.open(tmp_path)
    extended = opened.with_late(draw_features(8, 2))
    assert np.array_equal(extended.item_vectors[-2:, 8:12], np.tile(UNKNOWN, (2, 1)))
    assert np.array_equal(extended.item_vectors[:30], opened.item_vectors)
