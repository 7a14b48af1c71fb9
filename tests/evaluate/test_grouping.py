from __future__ import annotations

from typing import Any

import pytest

from serendip.evaluate.task_transfer import TaskModels


def rows(line: str, values: dict[str, float], cpu_s: float = 10.0) -> list[dict[str, Any]]:
    """Rows of one model, twice as good on test as on validation."""
    return [
        {
            "line": line,
            "seed": 0,
            "task": task,
            "N@10": 2 * value,
            "valid_N@10": value,
            "cpu_s": cpu_s,
            "params": 100,
        }
        for task, value in values.items()
    ]


ALONE = [
    *rows("a", {"home": 0.10}),
    *rows("b", {"search": 0.20}),
    *rows("c", {"similar": 0.30}),
]


def test_transfer_is_the_relative_change_beside_another_task() -> None:
    pair = rows("p", {"home": 0.11, "search": 0.18})
    found = TaskModels([*ALONE, *pair]).transfer()
    assert found["home"] == {"search": pytest.approx(0.1)}
    assert found["search"] == {"home": pytest.approx(-0.1)}
    assert found["similar"] == {}


def test_the_best_split_of_each_size_is_found() -> None:
    pairs = [
        *rows("p", {"home": 0.11, "search": 0.18}),
        *rows("q", {"home": 0.12, "similar": 0.33}),
    ]
    unified = rows("u", {"home": 0.10, "search": 0.10, "similar": 0.30}, cpu_s=15.0)
    found = TaskModels([*ALONE, *pairs, *unified]).groupings()
    assert set(found) == {"1", "2", "3"}
    assert sorted(map(tuple, found["2"]["groups"])) == [("home", "similar"), ("search",)]
    assert found["2"]["valid_gain"] == pytest.approx((0.2 + 0.1 + 0) / 3)
    assert (found["1"]["cpu_s"], found["2"]["cpu_s"], found["3"]["cpu_s"]) == (15, 20, 30)
    assert (found["1"]["params"], found["3"]["params"]) == (100, 300)
    assert found["1"]["relative"]["search"] == pytest.approx(-0.5)
    assert found["3"]["valid_gain"] == 0


def test_seeds_are_averaged() -> None:
    again = rows("a", {"home": 0.30})
    found = TaskModels([*ALONE, *again]).groupings()
    assert found["3"]["relative"]["home"] == 0
    assert found["3"]["cpu_s"] == 30
