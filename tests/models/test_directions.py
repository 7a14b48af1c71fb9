"""Products along a few directions are nearly those of the whole vectors."""

import numpy as np

from serendip.models.linalg import main_directions


def test_all_directions_keep_every_product_and_the_main_ones_most_of_it() -> None:
    random = np.random.default_rng(0)
    low = random.normal(size=(200, 3)) @ random.normal(size=(3, 12))
    vectors = (low + 0.05 * random.normal(size=low.shape)).astype(np.float32)
    asked = vectors[7]
    for count, most in ((12, 1e-4), (20, 1e-4), (3, 0.01)):
        main = main_directions(vectors, count)
        assert main.shape == (12, min(count, 12))
        np.testing.assert_allclose(main.T @ main, np.eye(main.shape[1]), atol=1e-5)
        found = (vectors @ main) @ (main.T @ asked)
        error = np.abs(found - vectors @ asked).max() / np.abs(vectors @ asked).max()
        assert error < most
    one = main_directions(vectors, 1)
    assert np.abs((vectors @ one) @ (one.T @ asked) - vectors @ asked).max() > 0.1


def test_no_vectors_have_directions_that_say_nothing() -> None:
    main = main_directions(np.empty((0, 4), np.float32), 2)
    assert main.shape == (4, 2)
    assert np.isfinite(main).all()
