"""A shard computes a few questions at once, and none whose answer nobody waits for."""

from __future__ import annotations

import threading

import pyarrow.flight as flight
import pytest

from serendip.serve.workers.shard_server import QuestionQueue


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
