import numpy as np

from serendip.data import ActionRules, Event, Vocabulary
from serendip.data.events.search_log import (
    is_prefix_of_next,
    read_searches,
    read_suggested,
    similar_choices,
)

ITEMS = Vocabulary(["a", "b"])


def event(user, item, at, action="click", query="", request="", surface="search", value=None):
    return Event(user, item, at, action, value, query, request, None, surface)


def test_events_of_one_request_are_one_search_with_what_was_chosen():
    events = [
        event("u", "a", 1.0, "impression", "Heist", "r1"),
        event("u", "b", 2.0, "click", "Heist", "r1"),
        event("u", "a", 3.0, "like", "", "r1"),
        event("u", "zzz", 4.0, "click", "noir"),
        event("u", "", 5.0, "click", "  "),
    ]
    first, second = read_searches(events, ITEMS, ActionRules())
    assert (first.text, first.key, first.chosen.tolist()) == ("Heist", "heist", [0, 1])
    assert (second.key, second.chosen.tolist()) == ("noir", [])


def test_suggestions_are_no_searches_and_come_with_their_chance_and_click():
    events = [
        event("u", "", 1.0, "impression", "Noir", "s", "suggest", 0.25),
        event("u", "", 1.0, "impression", "Heist", "s", "suggest", 7.0),
        event("u", "", 9.0, "click", "noir", "s", "suggest", 0.25),
        event("u", "a", 9.0, "click", "the ma", "", "suggest"),
        event("u", "", 9.0, "hide", "Heist", "s", "suggest", 0.25),
    ]
    assert read_searches(events, ITEMS, ActionRules()) == []
    # The values are chances of being shown: no low one is a dislike.
    rules = ActionRules(dislike_at_most=2.0)
    found = {one.key: one for one in read_suggested(events, rules)}
    assert set(found) == {"noir", "heist"}
    assert (found["noir"].propensity, found["noir"].clicked) == (0.25, True)
    assert (found["heist"].propensity, found["heist"].clicked) == (1.0, False)


def test_choices_from_what_is_like_an_item_are_told_by_user():
    events = [
        event("u", "a", 1.0, "impression", request="r", surface="similar"),
        event("u", "a", 2.0, request="r", surface="similar"),
        event("u", "b", 3.0, request="h", surface="home"),
        event("v", "b", 4.0, "like", request="s", surface="similar"),
        event("u", "b", 5.0, request="t", surface="similar"),
    ]
    assert similar_choices(events, ActionRules()) == {"u": [2.0, 5.0], "v": [4.0]}


def test_typing_on_is_the_next_search_and_what_is_rejected_is_not_chosen():
    events = [
        event("u", "", 0.0, query="sta"),
        event("v", "", 1.0, query="star trek"),
        event("u", "", 2.0, query="star"),
        event("u", "", 900.0, query="star wars"),
    ]
    searches = read_searches(events, ITEMS, ActionRules())
    assert is_prefix_of_next(searches, 300.0) == [True, False, False, False]
    assert np.array_equal(is_prefix_of_next(searches, 1_000.0), [True, False, True, False])

    events = [
        event("u", "a", 1.0, "click", "Heist", "r1"),
        event("u", "b", 2.0, "hide", "Heist", "r1"),
        event("u", "a", 3.0, "dislike", "", "r1"),
        event("u", "a", 4.0, "report", "noir", "", "similar"),
    ]
    assert [one.chosen.tolist() for one in read_searches(events, ITEMS, ActionRules())] == [[], []]
    assert similar_choices(events, ActionRules()) == {}
