import numpy as np
from next_item_world import dataset_of

from serendip.data import History, Query
from serendip.models.item2vec import Item2Vec, Item2VecConfig, Item2VecTraining, count_pairs
from serendip.models.linalg import to_csr
from serendip.runtime.progress import TrainOptions
from serendip.testing import (
    AddingVotesContract,
    LocalChangeContract,
    RecommenderContract,
    build_small_world,
)


class TestItem2Vec(AddingVotesContract, LocalChangeContract, RecommenderContract):
    @classmethod
    def make(cls) -> Item2Vec:
        return Item2Vec(Item2VecConfig(embedding_size=8, epochs=3))


def test_nearer_pairs_count_more_and_the_score_is_the_cosine_with_the_decayed_mean() -> None:
    pairs = count_pairs(dataset_of([0, 1, 2, 3], num_items=4), window=2)
    expected = [[0, 1, 0.5, 0], [1, 0, 1, 0.5], [0.5, 1, 0, 1], [0, 0.5, 1, 0]]
    np.testing.assert_allclose(pairs.toarray(), expected)

    model = Item2Vec(Item2VecConfig(embedding_size=8, decay=0.25)).train(build_small_world())
    vectors = model._vectors
    mean = 0.25 * vectors[3] + vectors[7]
    history = History.of_items(np.asarray([3, 7], np.int32))
    expected = vectors @ mean / np.linalg.norm(mean)
    np.testing.assert_allclose(model.score_all([Query(history=history)])[0], expected, atol=1e-6)


def test_with_full_size_it_factorises_the_shifted_pointwise_mutual_information() -> None:
    """The optimum of the objective is known: log(pairs[i, j] / (k totals[i] P(j)))."""
    rng = np.random.default_rng(1)
    counts = rng.integers(3, 9, (6, 6)) * (1 - np.eye(6, dtype=np.int64))
    counts = counts + counts.T
    config = Item2VecConfig(
        embedding_size=12, epochs=500, num_negatives=1, negative_exponent=1, learning_rate=0.3
    )
    training = Item2VecTraining(to_csr(counts), config, 3)
    training.run(TrainOptions())
    totals = counts.sum(1)
    expected = counts * totals.sum() / np.outer(totals, totals)
    apart = ~np.eye(6, dtype=np.bool_)
    found = (training.inner @ training.outer.T)[apart]
    np.testing.assert_allclose(found, np.log(expected[apart]), atol=0.15)
