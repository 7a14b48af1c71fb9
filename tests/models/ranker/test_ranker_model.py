from pathlib import Path

import numpy as np
import pytest

from serendip.errors import ArtefactError, ConfigError, DataError, NotTrainedError
from serendip.models.ranker.config import RankerConfig, RankerRows
from serendip.models.ranker.model import Ranker, action_value
from serendip.runtime.progress import TrainOptions

NAMES = ("left", "right", "constant", "often missing")
ONE_ACTION = RankerConfig(actions=("interact",), epochs=20, batch_size=128, patience=20)


def made_up_rows(num_rows: int = 6_000, seed: int = 0) -> RankerRows:
    """Task 0: liked where left and right have one sign; task 1: where ``left`` is negative;
    task 2: where ``often missing`` is missing. Labels are 90 % sure.
    """
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num_rows, 4)).astype(np.float32)
    features[:, 2] = 3.5
    features[rng.random(num_rows) < 0.5, 3] = np.nan
    task = rng.integers(0, 3, num_rows)
    right = np.stack(
        [features[:, 0] * features[:, 1] > 0, features[:, 0] < 0, np.isnan(features[:, 3])]
    )[task, np.arange(num_rows)]
    labels = np.where(rng.random(num_rows) < 0.9, right, ~right)[:, None].astype(np.float32)
    weights = np.ones(num_rows, np.float32)
    return RankerRows(features, task, labels, weights, np.arange(num_rows) // 10)


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    rank = scores.argsort().argsort() + 1.0
    positive = labels > 0.5
    count = positive.sum()
    best = count * (len(labels) - count)
    return float((rank[positive].sum() - count * (count + 1) / 2) / best)


@pytest.fixture(scope="module")
def rows() -> RankerRows:
    return made_up_rows()


@pytest.fixture(scope="module")
def ranker(rows: RankerRows) -> Ranker:
    return Ranker(ONE_ACTION).train(rows, NAMES, TrainOptions(seed=1))


@pytest.mark.parametrize("task", [0, 1, 2])
def test_it_learns_what_each_task_wants(ranker: Ranker, task: int) -> None:
    unseen = made_up_rows(seed=9)
    chosen = unseen.task == task
    probabilities = ranker.predict(unseen.features[chosen], unseen.task[chosen])
    assert auc(probabilities[:, 0], unseen.labels[chosen, 0]) > 0.85


def test_probabilities_are_near_frequencies(ranker: Ranker) -> None:
    unseen = made_up_rows(seed=9)
    probabilities = ranker.predict(unseen.features, unseen.task)[:, 0]
    for low, high in ((0.0, 0.25), (0.75, 1.0)):
        inside = (probabilities >= low) & (probabilities < high)
        assert abs(probabilities[inside].mean() - unseen.labels[inside, 0].mean()) < 0.06


def test_many_rows_are_predicted_like_a_few(ranker: Ranker) -> None:
    many = made_up_rows(20_000, seed=5)
    together = ranker.predict(many.features, many.task)
    assert together.shape == (20_000, 1)
    for part in (slice(0, 50), slice(8_180, 8_210), slice(19_980, None)):
        alone = ranker.predict(many.features[part], many.task[part])
        np.testing.assert_allclose(together[part], alone, rtol=0, atol=1e-5)


def test_the_same_seed_gives_the_same_network(rows: RankerRows) -> None:
    quick = ONE_ACTION.model_copy(update={"epochs": 1})
    first, second, other = (
        Ranker(quick).train(rows, NAMES, TrainOptions(seed=seed)).predict(rows.features, rows.task)
        for seed in (3, 3, 4)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_saved_ranker_opens_with_the_same_answers(
    ranker: Ranker, rows: RankerRows, tmp_path: Path
) -> None:
    ranker.save(tmp_path)
    opened = Ranker.open(tmp_path)
    assert opened.config == ranker.config
    assert opened.feature_names == NAMES
    before = ranker.predict(rows.features, rows.task)
    assert np.array_equal(opened.predict(rows.features, rows.task), before)


def test_a_ranker_for_other_features_is_refused(ranker: Ranker) -> None:
    ranker.require_features(NAMES)
    with pytest.raises(ArtefactError, match="constant, new"):
        ranker.require_features(("left", "right", "new", "often missing"))
    with pytest.raises(ArtefactError, match="order"):
        ranker.require_features(NAMES[::-1])


def test_an_untrained_ranker_says_so(rows: RankerRows) -> None:
    with pytest.raises(NotTrainedError, match="ranker"):
        Ranker().predict(rows.features, rows.task)


def test_a_feature_that_never_varied_says_nothing_when_it_does(
    ranker: Ranker, rows: RankerRows
) -> None:
    changed = rows.features.copy()
    changed[:, 2] = np.resize([0.0, -9.0, np.inf], len(changed))
    before = ranker.predict(rows.features, rows.task)
    assert np.array_equal(ranker.predict(changed, rows.task), before)


def test_endless_and_missing_values_give_probabilities(ranker: Ranker) -> None:
    odd = np.array([[np.inf, -np.inf, np.nan, 1e30], [np.nan] * 4], np.float32)
    probabilities = ranker.predict(odd, np.zeros(2, np.int64))
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_no_rows_are_answered_with_none_and_not_learned_from(
    ranker: Ranker, rows: RankerRows
) -> None:
    assert ranker.predict(rows.features[:0], rows.task[:0]).shape == (0, 1)
    empty = RankerRows(*(getattr(rows, name)[:0] for name in rows.__dataclass_fields__))
    with pytest.raises(DataError, match="no rows"):
        Ranker(ONE_ACTION).train(empty, NAMES)


def test_a_value_is_the_weighted_sum_of_probabilities() -> None:
    probabilities = np.array([[0.5, 0.25], [1.0, 0.0]], np.float32)
    value = action_value(probabilities, {"like": 2.0, "interact": 1.0}, ("interact", "like"))
    assert value.tolist() == [1.0, 1.0]
    actions = RankerConfig().actions
    assert action_value(probabilities, {"like": 2.0}, actions).tolist() == [0.5, 0.0]
    with pytest.raises(ConfigError, match="'buy'"):
        action_value(probabilities, {"buy": 1.0}, actions)


def test_it_says_which_tasks_it_may_order(ranker: Ranker, rows: RankerRows, tmp_path: Path) -> None:
    assert ranker.ordered_tasks == (0, 1, 2)
    quick = ONE_ACTION.model_copy(update={"epochs": 1})
    some = Ranker(quick).train(rows, NAMES, ordered_tasks=[1, 0])
    assert some.ordered_tasks == (0, 1)
    some.save(tmp_path)
    assert Ranker.open(tmp_path).ordered_tasks == (0, 1)
    with pytest.raises(NotTrainedError):
        _ = Ranker().ordered_tasks


def test_learned_discounts_are_saved(rows: RankerRows, tmp_path: Path) -> None:
    ranker = Ranker(ONE_ACTION.model_copy(update={"epochs": 1})).train(rows, NAMES)
    assert ranker.discounts == {}
    ranker.discounts = {"home": 0.2}
    ranker.save(tmp_path)
    assert Ranker.open(tmp_path).discounts == {"home": 0.2}
