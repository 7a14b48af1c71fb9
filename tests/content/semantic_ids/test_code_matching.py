import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.content.semantic_ids.code_matching import match_codebooks, renumber
from serendip.content.semantic_ids.kmeans import ResidualKMeansConfig, fit_codebooks
from serendip.data import Codebooks, FloatArray, IntArray
from serendip.runtime.progress import TrainOptions

POINTS = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
FITTED, CODES = fit_codebooks(POINTS, ResidualKMeansConfig(codebook_size=16))


def permuted(seed: int) -> tuple[Codebooks, IntArray]:
    """The same codebooks under other numbers."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(16) for _ in range(3)]
    centroids = np.stack([FITTED.centroids[level][order] for level, order in enumerate(orders)])
    codebooks = Codebooks(centroids)
    return codebooks, codebooks.assign(POINTS)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1_000), st.sampled_from([0, 400]))
def test_shuffled_codebooks_find_their_numbers_again(seed: int, shared: int) -> None:
    other, codes = permuted(seed)
    matched, numbers = match_codebooks(other, codes[:shared], FITTED, CODES[:shared])
    np.testing.assert_array_equal(matched.centroids, FITTED.centroids)
    np.testing.assert_array_equal(renumber(codes, numbers), CODES)


def test_codes_of_matched_codebooks_are_the_renumbered_ones() -> None:
    other, codes = fit_codebooks(
        POINTS, ResidualKMeansConfig(codebook_size=16), TrainOptions(seed=9)
    )
    matched, numbers = match_codebooks(other, codes, FITTED, CODES)
    for level in numbers:
        assert sorted(level) == list(range(16))
    np.testing.assert_array_equal(matched.assign(POINTS), renumber(codes, numbers))


def share_kept(left: IntArray, right: IntArray) -> float:
    return float((left[:, 0] == right[:, 0]).mean())


def clusters() -> FloatArray:
    rng = np.random.default_rng(3)
    centres = 6 * rng.normal(size=(12, 8))
    points = centres[np.arange(600) % 12] + rng.normal(size=(600, 8))
    return points.astype(np.float32)


def test_other_sizes_match_as_far_as_they_go() -> None:
    wide = fit_codebooks(
        POINTS, ResidualKMeansConfig(codebook_size=24, num_levels=2), TrainOptions(seed=9)
    )
    for new, old in ((wide, (FITTED, CODES)), ((FITTED, CODES), wide)):
        matched, numbers = match_codebooks(new[0], new[1], old[0], old[1])
        assert matched.centroids.shape == new[0].centroids.shape
        for level in numbers:
            assert sorted(level) == list(range(new[0].codebook_size))
        assert share_kept(renumber(new[1], numbers), old[1]) > share_kept(new[1], old[1])


def test_codebooks_of_another_space_are_matched_by_their_items() -> None:
    longer = Codebooks(np.pad(permuted(1)[0].centroids, ((0, 0), (0, 0), (0, 4))))
    codes = longer.assign(np.pad(POINTS, ((0, 0), (0, 4))))
    _, numbers = match_codebooks(longer, codes, FITTED, CODES)
    np.testing.assert_array_equal(renumber(codes, numbers), CODES)
