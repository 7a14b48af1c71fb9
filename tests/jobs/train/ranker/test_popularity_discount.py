import numpy as np
import pytest

from serendip.engine.stages.scoring import discount_popular
from serendip.jobs.train.ranker.popularity_discount import MIN_REQUESTS, POWERS, learn_discount


def requests(
    values: list[float], counts: list[int], chosen: int, number: int = MIN_REQUESTS
) -> tuple[np.ndarray, ...]:
    """The same request ``number`` times: rows with these values, of which one is chosen."""
    size = len(values)
    labels = np.zeros(size, np.bool_)
    labels[chosen] = True
    return (
        np.tile(np.array(values, np.float32), number),
        np.tile(np.array(counts, np.int32), number),
        np.tile(labels, number),
        np.repeat(np.arange(number), size),
    )


def test_values_are_divided_by_a_power_of_the_interactions() -> None:
    found = discount_popular(np.array([8.0, 8.0], np.float32), np.array([0, 80], np.int32), 0.5)
    assert found.tolist() == pytest.approx([8 / 20**0.5, 8 / 10])
    none = discount_popular(np.array([8.0, 1.0], np.float32), np.array([0, 80], np.int32), 0.0)
    assert none.tolist() == [8.0, 1.0]


@pytest.mark.parametrize(
    ("values", "counts", "power"),
    [
        # The chosen item is rare and comes first or second in any order.
        ([0.9, 0.8, 0.1], [5, 500, 500], max(POWERS)),
        ([0.5, 0.5 - 1e-6, 0.1], [500, 0, 0], 0.0),  # popular items are chosen
        # (20 + 180) / 20 = 10: 0.5 / 10^p falls below 0.28 at p = 0.25.
        ([0.5, 0.28, 0.01], [180, 0, 0], 0.2),
    ],
)
def test_the_largest_power_that_changes_no_order_is_learned(
    values: list[float], counts: list[int], power: float
) -> None:
    """Of the same requests in any order."""
    rows = requests(values, counts, 0)
    order = np.random.default_rng(0).permutation(len(rows[0]))
    assert learn_discount(*rows) == learn_discount(*(part[order] for part in rows)) == power


def test_a_loss_of_a_few_requests_is_accepted() -> None:
    most = requests([0.9, 0.1], [0, 1_000], 0, 20 * MIN_REQUESTS)
    few = requests([0.5, 0.5 - 1e-6], [500, 0], 0, MIN_REQUESTS // 20)
    joined = [np.concatenate(pair) for pair in zip(most, few, strict=True)]
    joined[3][len(most[3]) :] += 20 * MIN_REQUESTS
    # A four hundredth of the requests loses a third.
    assert learn_discount(*joined) == max(POWERS)


def test_few_requests_and_those_without_a_choice_say_nothing() -> None:
    assert learn_discount(*requests([0.9, 0.8], [5, 500], 0, MIN_REQUESTS - 1)) == 0.0
    values, counts, chosen, group = requests([0.9, 0.8], [5, 500], 0)
    chosen[group == 0] = False
    assert learn_discount(values, counts, chosen, group) == 0.0
