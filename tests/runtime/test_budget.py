import pytest

from serendip.errors import ConfigError
from serendip.runtime.budget import open_budget, parse_duration


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5_400), (" 2 m ", 120)]
)
def test_durations_have_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "-5m", "0s", "10 minutes", "1h30m", "nan"])
def test_other_texts_are_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a duration"):
        parse_duration(text)


def test_each_training_may_take_a_share_of_what_is_left() -> None:
    clock = Clock()
    budget = open_budget(100, clock)
    first = budget.from_now(0.5, "first")
    assert first.seconds == 50
    clock.now += 25
    assert first.spent() == 0.5 and not first.is_over
    part = first.from_now(0.2, "part")
    assert (part.name, part.seconds, part.spent()) == ("first part", 5, 0.0)
    clock.now += 25
    assert first.is_over and first.spent() == 1.0
    assert budget.from_now(0.5, "second").seconds == 25
    clock.now += 1_000
    assert budget.from_now(0.5, "third").is_over


def test_what_was_cut_short_is_noted_once() -> None:
    budget = open_budget(10, Clock())
    allowance = budget.from_now(0.5, "retriever")
    allowance.from_now(0.8).cut(0.25, steps=7)
    allowance.cut(0.75)
    budget.from_now(0.5, "ranker").cut(1.0)
    budget.from_now(0.2, "later").cut(0.0, continues=True)
    assert budget.as_dict() == {
        "seconds": 10,
        "cut_short": [
            {"name": "retriever", "done": 0.25, "seconds": 4.0, "continues": False, "steps": 7},
            {"name": "later", "done": 0.0, "seconds": 2.0, "continues": True, "steps": 0},
        ],
    }


@pytest.mark.parametrize(
    ("spent", "done", "pace"),
    [(0.04, 0.0, 0.0), (0.5, 0.6, 0.6), (0.5, 0.4, 0.5), (1.0, 0.4, 1.0), (2.0, 0.4, 1.0)],
)
def test_schedules_follow_the_time_where_it_ends_before_the_steps(
    spent: float, done: float, pace: float
) -> None:
    clock = Clock()
    allowance = open_budget(100, clock).from_now(1.0, "any")
    clock.now += 100 * spent
    assert allowance.pace(done) == pace
