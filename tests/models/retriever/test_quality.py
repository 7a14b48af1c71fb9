from pathlib import Path

import numpy as np

from serendip.data.dataset import Dataset
from serendip.data.items.quality import UNKNOWN, item_quality
from serendip.models.retriever.artefact import QualityVector
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.content_weights import tune_quality
from serendip.models.retriever.model import Retriever
from serendip.models.retriever.requests import TASK_OF
from serendip.models.retriever.train import RetrieverTraining
from serendip.runtime.progress import TrainOptions
from serendip.testing import build_small_world, draw_features

SMALL = RetrieverConfig(
    embedding_size=8, search_size=0, epochs=2, max_len=10, batch_size=64, quality_loss=0.1
)


def rated_world() -> Dataset:
    dataset = build_small_world()
    return dataset.with_quality(item_quality(dataset))


def test_quality_has_the_largest_weight_that_costs_no_task_more_than_its_bound() -> None:
    world = rated_world()
    training = RetrieverTraining(world, SMALL, 0)
    blocks = {
        task: list(training._scored_requests(TASK_OF[task], None))
        for task in training.validation.tasks
    }
    assert sum(map(len, blocks.values()))

    def gains(found: QualityVector) -> list[float]:
        added = found.added
        return [
            sum(block.gains(added[block.ranked], 0.0, [1.0])[0] for block, _ in part)
            for part in blocks.values()
        ]

    before = gains(QualityVector(world.quality, np.zeros(world.quality.shape[1], np.float32)))
    weights = [0.0]
    for loss in (1e-6, 0.2, 0.999_999):
        found = tune_quality(blocks.values(), world.quality, loss)
        weights.append(float(found.weights.sum()))
        for after, first in zip(gains(found), before, strict=True):
            assert after >= (1 - loss) * first - 1e-6
    assert weights == sorted(weights) and weights[-1] > 0
    assert not tune_quality([], world.quality, 0.1).weights.any()


def test_new_items_have_the_quality_of_the_unknown(tmp_path: Path) -> None:
    model = Retriever(SMALL).train(rated_world(), TrainOptions(seed=5))
    model.save(tmp_path)
    opened = Retriever.open(tmp_path)
    extended = opened.with_late(draw_features(8, 2))
    assert np.array_equal(extended.item_vectors[-2:, 8:12], np.tile(UNKNOWN, (2, 1)))
    assert np.array_equal(extended.item_vectors[:30], opened.item_vectors)
