import faiss
import numpy as np
import pytest

from serendip.content.semantic_ids.kmeans import (
    ResidualKMeansConfig,
    choose_codebook_size,
    fit_codebooks,
    measure_code_quality,
)
from serendip.data.arrays import FloatArray
from serendip.errors import DataError
from serendip.runtime.progress import TrainOptions


def vectors(count: int, size: int = 8, seed: int = 0) -> FloatArray:
    drawn = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_codes_are_the_nearest_centroids_that_faiss_finds() -> None:
    points = vectors(300)
    codebooks, codes = fit_codebooks(points)
    residual = points.copy()
    for level, centroids in enumerate(codebooks.centroids):
        index = faiss.IndexFlatL2(points.shape[1])
        index.add(np.ascontiguousarray(centroids))
        _, nearest = index.search(residual, 1)
        assert np.array_equal(nearest[:, 0], codes[:, level])
        residual = residual - centroids[codes[:, level]]


@pytest.mark.parametrize(
    ("num_items", "expected"),
    [(0, 1), (1, 1), (2, 2), (3, 3), (10, 4), (100, 8), (9_066, 128), (10_000_000, 256)],
)
def test_the_codebook_size_follows_the_catalogue(num_items: int, expected: int) -> None:
    assert choose_codebook_size(ResidualKMeansConfig(), num_items) == expected


def test_distinct_vectors_have_codes_of_their_own_and_infinite_ones_none() -> None:
    points = np.tile(vectors(5), (40, 1))
    points[0] = -0.0 * points[0]
    points[1] = 0.0
    codebooks, codes = fit_codebooks(points, ResidualKMeansConfig(codebook_size=6))
    assert len(np.unique(codes[:, 0])) == 6
    assert codes[0, 0] == codes[1, 0]
    assert np.allclose(codebooks.centroids[0][codes[:, 0]], points)
    with pytest.raises(DataError, match="not finite"):
        fit_codebooks(np.full((3, 2), np.nan, dtype=np.float32))


def test_quality_counts_items_that_share_their_full_code() -> None:
    codes = np.asarray([[0, 0], [0, 0], [0, 1], [1, 0]], dtype=np.int32)
    found = measure_code_quality(codes, codebook_size=4)
    assert found.num_items == 4
    assert found.collision_rate == 0.5
    assert found.used == (2, 2)
    assert found.largest == (0.75, 0.75)
    assert found.dead == (2, 2)
    entropy = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert found.perplexity == pytest.approx((2**entropy, 2**entropy))


def test_items_alone_in_their_cluster_do_not_draw_the_next_level_to_themselves() -> None:
    for seed in range(6):
        random = np.random.default_rng(seed)
        vectors = random.normal(size=(600, 32)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[:6] *= 5
        config = ResidualKMeansConfig(codebook_size=32)
        _, codes = fit_codebooks(vectors, config, TrainOptions(seed))
        largest = [np.bincount(codes[:, level]).max() / 600 for level in (1, 2)]
        assert max(largest) < 0.1, (seed, largest)
