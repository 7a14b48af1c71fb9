"""What waits too long, or for nobody, is not computed; bursts are."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from serendip.errors import ClientGoneError, OverloadError
from serendip.serve.gate import BURST_S, QUIET_S, WaitingCall, WaitingRoom
from serendip.serve.shared_state import SharedState


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1.0  # nobody was ever overloaded at 0

    def __call__(self) -> float:
        return self.now


class Room:
    """A room with one thread, whose requests take so long, on a clock that is set by hand."""

    def __init__(
        self,
        length: int = 64,
        each_s: float = 0.01,
        load: SharedState | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock, self.each_s, self.load = clock or Clock(), each_s, load or SharedState()
        self.room = WaitingRoom(length, self.load, self.clock)
        self.visits, self.waits, self.order = list[WaitingCall](), list[float](), list[float]()

    def come(self, count: int = 1) -> int:
        """Let so many come; how many were refused at the door."""
        refused = 0
        for _ in range(count):
            visit = WaitingCall(lambda: None, lambda: False, self.clock.now)
            try:
                self.room.join(visit)
            except OverloadError:
                refused += 1
            else:
                self.visits.append(visit)
        return refused

    def compute(self, count: int = 1) -> None:
        """Compute so many of those that wait, if there are any."""
        for _ in range(count):
            if not self.room._waiting:
                return
            visit = self.room.take()
            self.order.append(visit.came)
            self.waits.append(self.clock.now - visit.came)
            self.clock.now += self.each_s
            visit()

    def overload(self, seconds: float, times: int = 4) -> int:
        """Ask for several times as much as can be computed; how many were refused at the door."""
        end, refused = self.clock.now + seconds, 0
        while self.clock.now < end:
            refused += self.come(times)
            self.compute()
        return refused

    @property
    def refused_inside(self) -> int:
        """How many were accepted first and refused later."""
        done = [visit.result for visit in self.visits if visit.result.done()]
        return sum(isinstance(result.exception(), OverloadError) for result in done)


def test_no_more_wait_than_may_and_the_place_of_one_that_left_is_free() -> None:
    room = Room(length=2)
    assert room.come(3) == 1
    room.compute()
    assert room.come(2) == 1
    room.room.leave(room.visits[-1])
    assert not room.room.turn_away()


@pytest.mark.parametrize(("each_s", "count"), [(0.01, 64), (0.03, 64), (0.1, 20), (0.3, 6)])
def test_a_burst_is_computed_to_its_end_the_oldest_first(each_s: float, count: int) -> None:
    room = Room(each_s=each_s)
    for _ in range(count):
        room.clock.now += 1e-4
        assert room.come() == 0
    room.compute(count)
    assert room.order == sorted(room.order)
    assert len(room.order) == count


def test_eight_clients_that_ask_again_at_once_are_never_refused() -> None:
    room = Room(each_s=0.05)
    room.come(8)
    for _ in range(2_000):
        room.compute()
        assert room.come() == 0
    assert max(room.waits) == pytest.approx(7 * 0.05)


@pytest.mark.parametrize("each_s", [0.002, 0.01, 0.08])
def test_a_queue_that_stays_computes_only_what_has_just_come(each_s: float) -> None:
    room = Room(each_s=each_s)
    refused = room.overload(seconds=max(20.0, 500 * each_s))
    computed = len(room.waits)
    slow = sum(wait > each_s + 1e-9 for wait in room.waits)
    assert slow <= 64 / 3 + 1  # while the room fills
    assert max(room.waits) <= BURST_S
    assert refused + room.refused_inside == pytest.approx(3 * computed, abs=65)
    assert room.refused_inside <= 64


@pytest.mark.parametrize("count", [65, 200, 1_000])
def test_of_a_burst_as_many_as_may_wait_are_answered(count: int) -> None:
    room, refused = Room(), 0
    for _ in range(count):
        room.clock.now += 1e-5
        refused += room.room.turn_away() or room.come()
    assert refused == count - 64
    room.compute(64)
    assert (len(room.waits), room.refused_inside) == (64, 0)


def test_in_a_full_room_the_newest_is_computed_first() -> None:
    room = Room(length=4)
    for number in range(4):
        room.clock.now = 1 + number / 1000
        room.come()
    assert room.room.turn_away()
    room.compute()
    assert room.order == [1.003]


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_room_has_its_size_again_once_hardly_more_come_than_are_computed(share: float) -> None:
    room, draw = Room(), random.Random(1)
    room.overload(2.0)
    assert room.come(64) == 63
    next_at = room.clock.now
    for _ in range(300):  # at random moments
        next_at += draw.expovariate(share / room.each_s)
        while room.room._waiting and room.clock.now < next_at:
            room.compute()
        room.clock.now = max(room.clock.now, next_at)
        room.come()
    assert room.come(40) == 0


def test_a_room_stays_small_while_twice_as_many_come_as_are_computed() -> None:
    room, draw = Room(), random.Random(1)
    room.overload(2.0)
    next_at, refused = room.clock.now, 0
    for _ in range(2_000):
        next_at += draw.expovariate(2 / room.each_s)
        while room.room._waiting and room.clock.now < next_at:
            room.compute()
        room.clock.now = max(room.clock.now, next_at)
        refused += room.come()
    assert refused == pytest.approx(1_000, rel=0.3)
    assert max(room.waits[64:]) < 2 * room.each_s


def test_while_one_room_of_a_service_is_small_all_are() -> None:
    one = Room()
    other = Room(load=one.load, clock=one.clock)
    other.come(40)
    one.overload(1.0)
    assert other.come() == 1
    other.compute()
    assert other.refused_inside == 39  # all but the newest
    assert (other.come(), other.come()) == (0, 1)
    one.clock.now += QUIET_S + 0.01
    assert other.come(40) == 0


def test_in_a_room_that_refuses_no_longer_the_oldest_is_computed_first() -> None:
    room = Room(length=4)
    for number in range(4):
        room.clock.now = 1 + number / 1000
        room.come()
    assert room.room.turn_away()
    room.clock.now += QUIET_S + 0.01
    room.compute()
    assert room.order == [1.0]


def test_nothing_is_computed_that_has_waited_for_too_long() -> None:
    room = Room()
    room.come(2)
    room.clock.now += BURST_S + 0.1
    room.come()
    room.compute()
    assert room.waits == [0.0]
    assert room.refused_inside == 2


def test_what_nobody_waits_for_is_not_computed() -> None:
    room = Room()
    visit = WaitingCall(lambda: None, lambda: True, room.clock.now)
    room.room.join(visit)
    room.come()
    room.compute()
    assert isinstance(visit.result.exception(), ClientGoneError)
    cancelled: Callable[[], bool] = room.visits[0].result.cancel
    assert not cancelled()  # it was computed
