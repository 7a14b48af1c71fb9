"""A shard computes a few questions at once, none whose answer nobody waits for, and keeps what is
asked for.
"""

from __future__ import annotations

import threading

import pyarrow.flight as flight
import pytest

from serendip.serve.workers.shard_server import ASKED_S, GenerationCache, QuestionQueue


def is_wanted() -> bool:
    return False


def test_a_question_that_nobody_waits_for_any_more_has_no_turn() -> None:
    queue = QuestionQueue(at_once=1, most=2)
    looks = iter([False, False, True])
    with queue.turn(is_wanted):
        with pytest.raises(flight.FlightCancelledError, match="nobody waits"):
            with queue.turn(lambda: next(looks)):
                raise AssertionError("it has a turn")
        assert next(looks, None) is None  # it was looked at while it waited
    with pytest.raises(flight.FlightCancelledError, match="nobody waits"):
        with queue.turn(lambda: True):
            raise AssertionError("it has a turn")
    with queue.turn(is_wanted):
        assert queue._turns._value == 0
    assert (queue._turns._value, queue._places._value) == (1, 2)


def test_too_many_questions_are_refused_at_once_and_others_wait() -> None:
    queue = QuestionQueue(at_once=1, most=2)
    order: list[str] = []

    def ask() -> None:
        with queue.turn(is_wanted):
            order.append("second")

    with queue.turn(is_wanted):
        second = threading.Thread(target=ask)
        second.start()
        while queue._places._value:
            threading.Event().wait(0.001)
        with pytest.raises(flight.FlightUnavailableError, match="it is busy"):
            with queue.turn(is_wanted):
                raise AssertionError("it has a turn")
        order.append("first")
    second.join(20.0)
    assert order == ["first", "second"]


def names_after(cache: GenerationCache, *published: str) -> tuple[str, ...]:
    for name in published:
        cache.put(name, {})
    return cache.names


def test_a_generation_that_is_asked_for_stays_after_two_publications() -> None:
    moments = [0.0]
    cache = GenerationCache(lambda: moments[0])
    assert names_after(cache, "gen-1", "gen-2") == ("gen-1", "gen-2")
    cache.find("gen-1", "index")
    assert names_after(cache, "gen-3", "gen-4") == ("gen-1", "gen-3", "gen-4")
    moments[0] = ASKED_S
    cache.find("gen-1", "index")
    moments[0] = 2 * ASKED_S
    assert cache.renew("gen-4") and cache.names == ("gen-1", "gen-3", "gen-4")
    moments[0] += 1.0
    assert cache.renew("gen-4") and cache.names == ("gen-3", "gen-4")
    assert not cache.renew("gen-1") and cache.find("gen-1", "index") is None


def test_of_many_generations_that_are_asked_for_the_last_one_stays() -> None:
    moments = iter(range(1_000))
    cache = GenerationCache(lambda: float(next(moments)))
    for number in range(6):
        cache.put(f"gen-{number}", {})
        cache.find(f"gen-{number}", "index")
        cache.find("gen-1", "index")
        assert len(cache.names) <= 3
    assert cache.names == ("gen-1", "gen-4", "gen-5")


def test_a_generation_that_nobody_asks_for_goes_with_the_second_publication() -> None:
    assert names_after(GenerationCache(), "gen-1", "gen-2", "gen-3") == ("gen-2", "gen-3")
