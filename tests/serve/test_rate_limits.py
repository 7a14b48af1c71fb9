"""Limits per minute: so many at once, so many on average, and when to try again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyed_service import KeyedService, bearer
from wire_client import WireClient, error_of

from serendip.data.api_key import issue_key
from serendip.errors import RateLimitError
from serendip.serve import rate_limits
from serendip.serve.access import Access
from serendip.serve.rate_limits import RateLimits


class Clock:
    """Stands still unless it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def taken(limits: RateLimits, sender: str, own_limit: int | None = None) -> bool:
    try:
        limits.take(sender, own_limit)
    except RateLimitError:
        return False
    return True


def test_so_many_at_once_then_one_after_each_part_of_the_minute():
    clock = Clock()
    limits = RateLimits(6, clock=clock)
    assert [taken(limits, "a") for _ in range(8)] == [True] * 6 + [False] * 2
    clock.now = 9.9
    assert not taken(limits, "a")
    clock.now = 10.0
    assert [taken(limits, "a") for _ in range(2)] == [True, False]
    clock.now = 70.0
    assert [taken(limits, "a") for _ in range(8)] == [True] * 6 + [False] * 2


def test_the_error_says_when_a_request_is_accepted_again():
    clock = Clock()
    limits = RateLimits(2, clock=clock)
    assert [taken(limits, "a") for _ in range(2)] == [True, True]
    clock.now = 0.5
    with pytest.raises(RateLimitError, match="a may send 2 requests per minute") as caught:
        limits.take("a")
    assert caught.value.retry_after_s == 30
    clock.now = 30.0
    assert taken(limits, "a")


def test_senders_do_not_count_for_one_another_and_may_have_their_own_limit():
    limits = RateLimits(1, clock=Clock())
    assert taken(limits, "a")
    assert taken(limits, "b")
    assert not taken(limits, "a")
    assert [taken(limits, "c", own_limit=3) for _ in range(4)] == [True] * 3 + [False]


def test_without_a_limit_nothing_is_counted():
    limits = RateLimits(None, clock=Clock())
    assert all(taken(limits, "a") for _ in range(1_000))
    assert limits._busy_until == {}
    assert [taken(limits, "a", own_limit=1) for _ in range(2)] == [True, False]


@given(st.integers(1, 50), st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=200))
def test_over_any_time_no_more_than_the_burst_and_the_rate(limit: int, gaps: list[float]):
    clock = Clock()
    limits, accepted = RateLimits(limit, clock=clock), []
    for gap in gaps:
        clock.now += gap
        if taken(limits, "a"):
            accepted.append(clock.now)
    for first, start in enumerate(accepted):
        for last, end in enumerate(accepted[first:], first):
            assert last - first + 1 <= limit * (1 + (end - start) / 60) + 1e-3


def test_who_may_send_everything_again_is_forgotten(monkeypatch):
    clock = Clock()
    limits = RateLimits(1, clock=clock)
    for number in range(rate_limits._FIRST_SWEEP - 1):
        limits.take(f"old {number}")
    clock.now = 61.0
    limits.take("new")
    assert list(limits._busy_until) == ["new"]


def test_the_number_of_senders_is_bounded(monkeypatch):
    monkeypatch.setattr(rate_limits, "_MAX_SENDERS", 4_000)
    limits = RateLimits(1, clock=Clock())
    for number in range(20_000):
        limits.take(f"sender {number}")
        assert len(limits._busy_until) <= 4_096
    assert not taken(limits, "sender 19999")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[KeyedService]:
    service = KeyedService(tmp_path, limits=RateLimits(3, clock=Clock()))
    yield service
    service.close()


def statuses(service: WireClient, path: str, times: int, **options: object) -> list[int]:
    return [service.get(path, **options).status_code for _ in range(times)]


def test_a_key_above_its_limit_gets_429_and_others_go_on(service: KeyedService):
    headers = bearer(service.any_key)
    assert statuses(service, "/v1/search?q=film", 4, headers=headers) == [200] * 3 + [429]
    response = service.get("/v1/search?q=film", headers=headers)
    assert response.headers["retry-after"] == "20"
    error = error_of(response)
    assert error["type"] == "rate_limit"
    assert error["message"].startswith(f"key {service.any_key.key.key_id} ")
    other = bearer(service.issue(["read"]))
    assert service.get("/v1/search?q=film", headers=other).status_code == 200
    own = issue_key("", ["read"], requests_per_minute=1)
    service.keys.add(own)
    service.ring.refresh()
    assert statuses(service, "/v1/search?q=film", 2, headers=bearer(own)) == [200, 429]


@pytest.mark.parametrize("path", ["/health/live", "/static/page.css", "/openapi.json"])
def test_what_is_public_is_never_limited(service: KeyedService, path: str):
    assert statuses(service, "/v1/search", 4) == [401] * 3 + [429]
    assert statuses(service, path, 5) == [200] * 5


def test_wrong_keys_and_visitors_count_for_their_address(service: KeyedService):
    assert statuses(service, "/v1/search", 2, headers=bearer("serendip_0_x")) == [401] * 2
    assert statuses(service, "/", 2) == [200, 429]


def test_requests_that_the_scope_refuses_count_too(service: KeyedService):
    headers = bearer(service.any_key)
    assert statuses(service, "/v1/users", 4, headers=headers) == [403] * 3 + [429]


def test_without_keys_a_limit_counts_for_addresses():
    client = WireClient(access=Access(requests=RateLimits(2, clock=Clock())))
    assert statuses(client, "/v1/search?q=film", 3) == [200, 200, 429]


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("not:an:address", "not:an:address", True),
    ],
)
def test_a_network_of_ipv6_is_one_sender(first: str, second: str, is_one: bool):
    client = WireClient(access=Access(requests=RateLimits(1, clock=Clock())))

    async def ask(address: str) -> int:
        transport = httpx.ASGITransport(client.app, client=(address, 1))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as web:
            return (await web.get("/v1/search?q=film")).status_code

    assert asyncio.run(ask(first)) == 200
    assert asyncio.run(ask(second)) == (429 if is_one else 200)
