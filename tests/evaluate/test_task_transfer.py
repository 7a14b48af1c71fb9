from itertools import combinations

import numpy as np
import pytest

from serendip.evaluate.task_transfer import TaskRanks, alignment_figures

TASKS = ("home", "search", "similar")
NUM_USERS = 60


def answered(group: tuple[str, ...], task: str, valid: float, test: float, seed: int) -> TaskRanks:
    """The first share of the users find what came next at once, the others never."""
    users = np.arange(NUM_USERS)
    ranks = [np.where(users < share * NUM_USERS, 1.0, np.inf) for share in (valid, test)]
    return TaskRanks(
        task,
        group,
        seed,
        np.concatenate(ranks),
        np.tile(users, 2),
        np.repeat([False, True], NUM_USERS),
        10.0,
        100,
    )


def world(valid: dict[tuple[str, ...], float], seeds: int = 2) -> list[TaskRanks]:
    """All groups of tasks; figures on the test are half of those on validation."""
    return [
        answered(group, task, valid.get(group, 0.5), valid.get(group, 0.5) / 2, seed)
        for size in (1, 2, 3)
        for group in combinations(TASKS, size)
        for task in group
        for seed in range(seeds)
    ]


def test_figures_are_means_over_users_of_the_test() -> None:
    found = alignment_figures(world({TASKS: 0.6}))
    assert found["models"]["home"]["unified"]["N@10"]["value"] == pytest.approx(0.3)
    assert found["grouping"]["1"]["valid_relative"]["home"] == pytest.approx(0.2)
    specialist = found["models"]["home"]["specialist"]["N@10"]
    assert (specialist["value"], specialist["n"]) == (pytest.approx(0.25), NUM_USERS)
    for one in found["comparisons"]:
        assert one["difference"] == pytest.approx(0.05)
        assert one["relative_difference"] == pytest.approx(0.2)
        assert one["relative_low"] <= 0.2 <= one["relative_high"]


def test_comparisons_are_of_means_over_seeds() -> None:
    answers = world({}, seeds=1) + [
        answered(ranks.group, ranks.task, 0.5, 0.5 if ranks.group == TASKS else 0.25, seed=1)
        for ranks in world({}, seeds=1)
    ]
    for one in alignment_figures(answers)["comparisons"]:  # .25 and .5 against .25 and .25
        assert one["difference"] == pytest.approx(0.125)


def test_the_fewest_models_are_advised_with_which_no_task_loses() -> None:
    pair = ("home", "similar")
    found = alignment_figures(world({TASKS: 0.4, ("home", "search"): 0.3, pair: 0.6}))
    assert found["recommendation"]["groups"] in (
        [["search"], list(pair)],
        [list(pair), ["search"]],
    )
    assert found["recommendation"]["sentences"][-1].startswith("2 models")
    assert found["transfer"]["home"] == {
        "search": pytest.approx(-0.4),
        "similar": pytest.approx(0.2),
    }


def test_the_best_split_of_each_size_is_found() -> None:
    valid = {("home", "search"): 0.6, ("home", "similar"): 0.7, TASKS: 0.3}
    found = alignment_figures(world(valid))["grouping"]
    assert set(found) == {"1", "2", "3"}
    assert sorted(map(tuple, found["2"]["groups"])) == [("home", "similar"), ("search",)]
    assert found["2"]["valid_gain"] == pytest.approx((0.4 + 0.4 + 0) / 3)
    assert (found["1"]["cpu_s"], found["2"]["cpu_s"], found["3"]["cpu_s"]) == (10, 20, 30)
    assert (found["1"]["params"], found["3"]["params"]) == (100, 300)
    assert found["1"]["relative"]["search"] == pytest.approx(-0.4)
    assert found["3"]["valid_gain"] == 0
