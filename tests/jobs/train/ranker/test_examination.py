import numpy as np
import pytest

from serendip.data import ActionRules, Event, Vocabulary
from serendip.data.events.search_log import LoggedRequest, logged_requests
from serendip.jobs.train.ranker.examination import (
    MOST_POSITIONS,
    MOST_WEIGHT,
    fit_examination,
    position_weights,
)

EXAMINED = np.array([1.0, 0.7, 0.5, 0.35, 0.25])


def request_of(shown: list[int], positions: list[int], chosen: list[int]) -> LoggedRequest:
    return LoggedRequest(
        "u",
        0.0,
        1.0,
        "home",
        "",
        np.array(shown, np.int32),
        np.array(chosen, np.int32),
        np.zeros(len(chosen), np.bool_),
        (),
        np.array(positions, np.int32),
    )


def simulate(count: int, seed: int = 0) -> list[LoggedRequest]:
    """Lists in which better items stand higher, not always, chosen by the position-based model."""
    random = np.random.default_rng(seed)
    attractive = np.linspace(0.05, 0.6, 30)
    requests = []
    for _ in range(count):
        items = random.choice(30, len(EXAMINED), replace=False)
        noise = random.normal(size=len(items)) * 0.3
        items = items[np.argsort(-(attractive[items] + noise))]
        is_chosen = random.random(len(items)) < EXAMINED * attractive[items]
        order = np.argsort(items)
        requests.append(request_of(items[order], order, np.sort(items[is_chosen])))
    return requests


def test_examination_is_found_where_better_items_stand_higher() -> None:
    requests = simulate(6_000)
    found = fit_examination(requests)
    assert found.shape == (MOST_POSITIONS,)
    np.testing.assert_allclose(found[: len(EXAMINED)] / found[0], EXAMINED, atol=0.08)
    # Plain shares of choices would exaggerate, as better items stand higher.
    shown, chosen = np.zeros(5), np.zeros(5)
    for one in requests:
        np.add.at(shown, one.positions, 1)
        np.add.at(chosen, one.positions, np.isin(one.shown, one.chosen))
    shares = chosen / shown
    plain_error = np.abs(shares / shares[0] - EXAMINED).max()
    assert np.abs(found[:5] / found[0] - EXAMINED).max() < plain_error


def test_too_few_positions_weigh_nothing() -> None:
    assert fit_examination([]).tolist() == [1.0] * MOST_POSITIONS
    assert fit_examination(simulate(20)).tolist() == [1.0] * MOST_POSITIONS
    unknown = [request_of([1, 2], [], [1])] * 2_000
    assert fit_examination(unknown).tolist() == [1.0] * MOST_POSITIONS


def test_the_weight_of_a_choice_is_the_inverse_of_its_examination() -> None:
    request = request_of([3, 5, 8, 9], [1, 0, 50, -1], [3, 8, 9])
    examined = np.array([1.0, 0.5, 0.01], np.float32)
    assert position_weights(request, examined).tolist() == [2.0, MOST_WEIGHT, 1.0]
    no_positions = request_of([3, 5], [], [3])
    assert position_weights(no_positions, examined).tolist() == [1.0]


@pytest.mark.parametrize("named", [True, False])
def test_positions_are_read_from_the_log_and_survive_other_numbers(named: bool) -> None:
    places = {"a": 2, "b": 0, "c": 1} if named else {}
    events = [
        Event("u", item, 1.0, "impression", request_id="r", position=places.get(item))
        for item in "abc"
    ]
    events.append(Event("u", "b", 2.0, "click", request_id="r"))
    (request,) = logged_requests(events, Vocabulary("abc"), ActionRules())
    assert request.positions.tolist() == ([2, 0, 1] if named else [])
    moved = request.renumbered(np.array([7, -1, 4], np.int32))
    assert moved.shown.tolist() == [4, 7]
    assert moved.positions.tolist() == ([1, 2] if named else [])
