from dataclasses import replace

import numpy as np
from data_world import dataset_of
from hypothesis import given
from hypothesis import strategies as st

from serendip.data import ActionRules, Event, Vocabulary
from serendip.data.events.search_log import LoggedRequest, logged_requests
from serendip.data.splits import temporal

ITEMS = Vocabulary("abcdef")
RULES = ActionRules()


def event(item: str, time: float, action: str = "click", **more: str | float) -> Event:
    return Event(**{"user_id": "u", "item_id": item, "timestamp": time, "action": action, **more})


def test_events_of_one_request_are_what_was_shown_and_chosen_and_words_alone_a_search() -> None:
    shown = [event(item, 5.0, "impression", request_id="r", surface="home") for item in "dba"]
    done = [event("b", 6.0, request_id="r"), event("b", 7.0, "like", request_id="r")]
    (one,) = logged_requests([*shown, *done], ITEMS, RULES)
    assert (one.user_id, one.timestamp, one.ended, one.surface) == ("u", 5.0, 7.0, "home")
    assert one.shown.tolist() == [0, 1, 3]
    assert one.chosen.tolist() == [1]
    assert one.liked.tolist() == [True]

    rows = [event("c", 1.0, query="sea"), event("d", 1.0, query="sea")]
    found = logged_requests(rows, ITEMS, RULES)
    assert [(one.surface, one.text, one.shown.tolist(), one.chosen.tolist()) for one in found] == [
        ("search", "sea", [], [2]),
        ("search", "sea", [], [3]),
    ]


def test_requests_that_say_nothing_are_left_out_and_an_id_means_one_of_one_user() -> None:
    rows = [event("", 1.0, "search", query="sea"), event("unknown", 2.0, request_id="r")]
    assert logged_requests(rows, ITEMS, RULES) == []
    rows = [event("a", 1.0, request_id="r"), event("b", 2.0, request_id="r", user_id="v")]
    assert [one.user_id for one in logged_requests(rows, ITEMS, RULES)] == ["u", "v"]


def request(shown: list[int], chosen: list[int], time: float = 1.0, ended: float = 1.0):
    return LoggedRequest(
        "u",
        time,
        ended,
        "home",
        "",
        np.asarray(shown, np.int32),
        np.asarray(chosen, np.int32),
        np.asarray([number % 2 == 0 for number in chosen], np.bool_),
    )


@given(st.sets(st.integers(0, 5)), st.permutations(range(6)), st.integers(0, 6))
def test_other_numbers_keep_what_belongs_together(chosen, numbers, gone) -> None:
    old = request(sorted(chosen), sorted(chosen))
    mapped = np.where(np.arange(6) < gone, -1, np.asarray(numbers)).astype(np.int32)
    new = old.renumbered(mapped)
    expected = sorted((int(mapped[n]), n % 2 == 0) for n in chosen if mapped[n] >= 0)
    assert list(zip(new.chosen.tolist(), new.liked.tolist(), strict=True)) == expected
    assert new.shown.tolist() == [number for number, _ in expected]


def test_propensities_follow_their_items_and_are_those_of_impressions() -> None:
    rows = [
        replace(event("b", 1.0, "impression", request_id="r"), propensity=0.25),
        event("a", 1.0, "impression", request_id="r"),
        replace(event("a", 2.0, request_id="r"), propensity=0.5),
    ]
    (old,) = logged_requests(rows, ITEMS, RULES)
    assert old.shown.tolist() == [0, 1]
    np.testing.assert_array_equal(old.propensities, [np.nan, 0.25])
    new = old.renumbered(np.array([5, 3, -1, -1, -1, -1], np.int32))
    assert new.shown.tolist() == [3, 5]
    np.testing.assert_array_equal(new.propensities, [0.25, np.nan])


def test_a_split_in_time_never_shows_the_past_what_was_chosen_later() -> None:
    rows = [("u", item, time) for time, item in enumerate("abcdef")]
    data = replace(
        dataset_of(rows),
        requests=[
            request([0, 1], [1], 1.0, 2.0),
            request([1, 5], [5], 2.0, 5.0),  # Chosen after the cut.
            request([0, 5], [5], 4.0, 4.0),
        ],
    )
    split = temporal(data, 0.5)
    assert split.cut == 3.0
    numbers = split.catalogue.vocabulary.numbers
    assert [one.shown.tolist() for one in split.train.requests] == [[0, 1]]
    assert [one.chosen.tolist() for one in split.requests] == [numbers(["f"]).tolist()]
    assert len(split.targets.past_before("u", 4.0).history) == 4
    assert len(split.targets.past_before("nobody", 4.0).history) == 0


def test_what_is_rejected_was_shown_and_not_chosen() -> None:
    shown = [event(item, 1.0, "impression", request_id="r") for item in "abcd"]
    done = [
        event("a", 2.0, request_id="r"),
        event("a", 3.0, "hide", request_id="r"),
        event("b", 2.0, "rate", request_id="r", value=2.0),
        event("c", 2.0, "dislike", request_id="r"),
        event("c", 3.0, "purchase", request_id="r"),
        event("d", 2.0, request_id="r"),
        event("d", 3.0, "skip", request_id="r"),
    ]
    (one,) = logged_requests([*shown, *done], ITEMS, ActionRules(dislike_at_most=2.0))
    assert one.shown.tolist() == [0, 1, 2, 3]
    assert one.chosen.tolist() == [2, 3]
    assert one.liked.tolist() == [True, False]
    assert one.actions == [{"purchase"}, {"click"}]
