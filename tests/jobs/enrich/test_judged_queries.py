"""Which logged queries texts may be written from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from data_world import dataset_of

from serendip.data.events.search_log import SUGGESTED, LoggedRequest
from serendip.data.privacy import VISITOR
from serendip.jobs.enrich.judged_queries import read_held_out_queries, read_training_queries


def request(user: str, text: str, time: float = 1.0, surface: str = "search") -> LoggedRequest:
    chosen = np.array([0], np.int32)
    nothing = np.empty(0, np.int32)
    return LoggedRequest(user, time, time, surface, text, nothing, chosen, np.zeros(1, np.bool_))


def earlier(*requests: LoggedRequest) -> dict[int, list[str]]:
    return read_training_queries(replace(dataset_of([]), requests=requests), 5.0)


def test_a_query_of_two_people_is_written_from() -> None:
    assert earlier(request("a", "Heist"), request("b", "heist")) == {0: ["heist"]}
    assert earlier(request("a", "Heist"), request("a", "heist")) == {}


def test_visitors_whose_ids_were_made_up_are_no_two_people() -> None:
    strangers = [request(f"{VISITOR}{number}", "heist") for number in range(5)]
    assert earlier(*strangers, request("a", "heist")) == {}


def test_a_query_with_a_private_spelling_is_not_written_from() -> None:
    shared = [request("a", "ann example com"), request("b", "ann example com")]
    assert earlier(*shared) == {0: ["ann example com"]}
    assert earlier(*shared, request("c", "ann@example.com", 9.0)) == {}


def test_letters_after_which_a_suggestion_was_taken_are_no_query() -> None:
    taken = [request(user, "sta", surface=SUGGESTED) for user in "ab"]
    assert earlier(*taken) == {}
    later = [replace(one, timestamp=9.0, ended=9.0) for one in taken]
    assert len(read_held_out_queries(replace(dataset_of([]), requests=later), 5.0)) == 0
