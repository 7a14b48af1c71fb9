"""While a server is silent one attempt to connect waits for it, and the others fail at once."""

from __future__ import annotations

import pytest

from serendip.data.store.circuit_breaker import REST_S, CircuitBreaker


class Refused(Exception):
    """Of an attempt that was not made."""


class Server:
    """A server that refuses after a time, until it is back.

    Attributes:
        now: the time.
        seconds: until it refuses; negative = it is back.
        attempts: that came to it.
    """

    def __init__(self) -> None:
        self.now, self.seconds, self.attempts = 0.0, 10.0, 0

    def connect(self) -> str:
        self.attempts += 1
        if self.seconds < 0:
            return "connected"
        self.now += self.seconds
        raise ConnectionError


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def breaker(server: Server) -> CircuitBreaker:
    return CircuitBreaker(Refused, lambda: server.now)


def test_after_one_has_waited_in_vain_nobody_asks_until_a_rest_is_over(
    breaker: CircuitBreaker, server: Server
) -> None:
    for attempts in (1, 2):
        with pytest.raises(ConnectionError):
            breaker.call(server.connect)
        for _ in range(3):
            with pytest.raises(Refused):
                breaker.call(server.connect)
        assert server.attempts == attempts
        server.now += REST_S
    server.seconds = -1.0
    assert [breaker.call(server.connect) for _ in range(2)] == ["connected"] * 2
