import numpy as np

from serendip.data.numeric import NewtonSteps, fit_logistic, logistic, unit


def test_vectors_have_length_one_whatever_their_axes_but_for_the_shortest() -> None:
    vectors = np.random.default_rng(0).normal(size=(2, 5, 3))
    vectors[0, 1] = 0.0
    scaled = unit(vectors)
    lengths = np.linalg.norm(scaled, axis=-1)
    assert scaled.dtype == np.float32
    assert lengths[0, 1] == 0.0
    assert np.allclose(np.delete(lengths.ravel(), 1), 1.0, atol=1e-6)
    scaled = unit(np.array([[3.0, 4.0], [3e-12, 4e-12]], np.float32), shortest=1e-9)
    assert np.allclose(scaled, [[0.6, 0.8], [0.003, 0.004]], rtol=1e-5)


def test_the_fit_is_where_the_penalised_likelihood_has_no_slope() -> None:
    random = np.random.default_rng(1)
    inputs = np.column_stack([random.normal(size=(300, 3)), np.ones(300)])
    targets = (random.random(300) < logistic(inputs @ [1.0, -2.0, 0.0, 0.5])).astype(np.float64)
    weights, ridge, prior = random.random(300), np.array([1.0, 2.0, 50.0, 1e-6]), np.ones(4)
    options = {"prior": prior, "weights": weights, "steps": NewtonSteps(tolerance=1e-9)}
    found = fit_logistic(inputs, targets, np.zeros(4), ridge, **options)
    errors = weights * (logistic(inputs @ found) - targets)
    assert np.abs(inputs.T @ errors + ridge * (found - prior)).max() < 1e-6
    assert abs(found[2] - 1.0) < 0.5  # Drawn to its prior, away from the 0 of the data.


def test_damping_does_not_move_the_minimum_and_a_far_start_comes_back() -> None:
    random = np.random.default_rng(2)
    inputs = np.column_stack([random.normal(size=100), np.ones(100)])
    targets, ridge = random.random(100), np.zeros(2)
    fits = [
        fit_logistic(inputs, targets, np.zeros(2), ridge, damping=damping, steps=steps)
        for damping, steps in ((0.0, NewtonSteps()), (0.1, NewtonSteps(200, 1e-12)))
    ]
    assert np.allclose(*fits, atol=1e-6)
    inputs, targets = np.ones((2, 1)), np.array([0.0, 1.0])
    found = fit_logistic(inputs, targets, np.array([10.0]), np.array([1e-3]))
    assert abs(found[0]) < 1e-4
