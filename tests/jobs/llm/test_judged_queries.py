"""Which logged queries generated texts are tested by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from data_world import dataset_of

from serendip.data.events.search_log import SUGGESTED, LoggedRequest
from serendip.jobs.llm.judged_queries import read_held_out_queries


def request(text: str, time: float, surface: str = "search") -> LoggedRequest:
    chosen = np.array([0], np.int32)
    nothing = np.empty(0, np.int32)
    return LoggedRequest("a", time, time, surface, text, nothing, chosen, np.zeros(1, np.bool_))


def held_out(*requests: LoggedRequest) -> dict[str, dict[int, float]]:
    found = read_held_out_queries(replace(dataset_of([]), requests=requests), 5.0)
    return {text: dict(gains) for text, gains in zip(found.texts, found.gains, strict=True)}


def test_what_was_typed_before_the_cut_tests_nothing() -> None:
    assert held_out(request("Heist", 9.0)) == {"heist": {0: 1.0}}
    assert held_out(request("Heist", 9.0), request("heist", 1.0)) == {}


def test_letters_after_which_a_suggestion_was_taken_are_no_query() -> None:
    assert held_out(request("sta", 9.0, SUGGESTED)) == {}
