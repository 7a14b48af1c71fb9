import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from tiny_engine import TinyEngine
from wire_client import KeyedService, as_cookie, bearer, error_of

from serendip.data import Item
from serendip.engine.config.serve import ServeConfig
from serendip.errors import ConfigError, DataError
from serendip.serve import shared_state
from serendip.serve.access import RateLimit, read_address
from serendip.serve.api.requests import ItemBatch
from serendip.serve.api.strict_route import parse
from serendip.serve.limits import MAX_BODY_BYTES, MAX_JSON_NODES, MAX_VISITOR_BODY_BYTES
from serendip.serve.server_options import ServerOptions
from serendip.serve.shared_state import SharedState


@pytest.fixture
def service(tmp_path: Path) -> Iterator[KeyedService]:
    service = KeyedService(tmp_path, events_per_minute=50)
    yield service
    service.close()


def visit(service: KeyedService) -> tuple[str, dict[str, str]]:
    cookies = service.visit()
    return cookies["serendip_visitor"].partition(".")[0], as_cookie(cookies)


@pytest.mark.parametrize("path", ["/v1/events", "/v1/suggest", "/like", "/sign-in"])
def test_bodies_without_a_key_are_small(service: KeyedService, path: str) -> None:
    _, cookies = visit(service)
    body = b" " * (MAX_VISITOR_BODY_BYTES + 1)
    for headers in (cookies, {}):
        answer = service.post(path, content=body, headers=headers)
        assert answer.status_code == (413 if headers or path in ("/like", "/sign-in") else 401)


def test_a_key_may_send_large_bodies(service: KeyedService) -> None:
    _, cookies = visit(service)
    headers = bearer(service.issue(["write"]))
    body = b'{"user_id": "u", "item_id": "f1"' + b" " * 1024**2 + b"}"
    assert service.post("/v1/events", content=body, headers=headers).status_code == 200
    refused = service.post("/v1/events", content=body, headers=cookies)
    assert "with a key" in error_of(refused)["hint"]


def test_a_body_of_nothing_but_lists_is_refused_before_it_is_parsed() -> None:
    assert len(parse(b"[" + b"[]," * (MAX_JSON_NODES - 2) + b"[]]")) == MAX_JSON_NODES - 1
    with pytest.raises(DataError, match="lists and objects"):
        parse(b"[" + b"[]," * (MAX_BODY_BYTES // 3 - 2) + b"[]]")


@pytest.mark.parametrize("value", [{}, list(range(50))], ids=["objects", "numbers"])
def test_a_body_that_is_wrong_everywhere_is_refused_at_its_first_row(value: object) -> None:
    rows = TypeAdapter(ItemBatch.model_fields["items"].rebuild_annotation())
    body = [{"item_id": f"i{row}", "attributes": {"colour": value}} for row in range(10_000)]
    with pytest.raises(ValidationError) as refused:
        rows.validate_python(body)
    assert refused.value.error_count() <= 3  # an attribute is a number, a text or texts


def test_others_are_answered_while_a_large_body_is_parsed(service: KeyedService) -> None:
    headers = bearer(service.issue(["write"]))
    row = b'{"user_id": "u", "item_id": "f1", "query": "' + b"x" * 700 + b'"},'
    body = b"[" + row * 9_999 + row[:-1] + b"]"

    async def scene() -> tuple[int, int]:
        post = asyncio.create_task(
            service.ask_async("POST", "/v1/events", content=body, headers=headers)
        )
        answered = 0
        while not post.done():
            await asyncio.sleep(0)
            answered += (await service.ask_async("GET", "/health/live")).status_code == 200
        return post.result().status_code, answered

    status, answered = asyncio.run(scene())
    assert status == 200
    assert answered > 3


def test_a_visitor_sends_so_many_events_a_minute_and_a_key_all(service: KeyedService) -> None:
    own, headers = visit(service)
    seen = [{"user_id": own, "item_id": f"f{n}", "action": "impression"} for n in range(50)]
    assert service.post("/v1/events", json=seen, headers=headers).json()["new"] == 50
    refused = service.post("/v1/events", json=seen[:1], headers=headers)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert "visitor_events_per_minute" in error_of(refused)["hint"]
    assert service.post("/like", data={"item_id": "f1"}, headers=headers).status_code == 429
    keyed = bearer(service.issue(["write"]))
    rows = [{"user_id": "u", "item_id": "f1"}] * 200
    assert service.post("/v1/events", json=rows, headers=keyed).json()["new"] == 200


def test_what_a_visitor_does_with_an_item_counts_once_an_hour(service: KeyedService) -> None:
    own, headers = visit(service)
    click = {"user_id": own, "item_id": "f1", "action": "click"}
    assert service.post("/v1/events", json=[click] * 3, headers=headers).json() == {
        "received": 3,
        "new": 1,
    }
    for _ in range(3):
        assert service.post("/like", data={"item_id": "f1"}, headers=headers).status_code == 303
    assert [event.action for event in service.engine.history(own)] == ["like", "click"]

    own, headers = visit(service)
    likes = [
        {"user_id": own, "item_id": "f1", "action": "like", "query": f"q{n}"} for n in range(40)
    ]
    assert service.post("/v1/events", json=likes, headers=headers).json()["new"] == 1


def test_a_visitor_does_not_say_that_a_draw_was_next_to_impossible(service: KeyedService) -> None:
    own, headers = visit(service)
    sent = [1e-9, 0.001, 0.25, None]
    rows = [{"user_id": own, "item_id": f"f{n}", "propensity": p} for n, p in enumerate(sent)]
    assert service.post("/v1/events", json=rows, headers=headers).json()["new"] == 4
    form = {"item_id": "f5", "propensity": "1e-9"}
    assert service.post("/like", data=form, headers=headers).status_code == 303
    stored = {event.item_id: event.propensity for event in service.engine.history(own)}
    assert stored == {"f0": 0.001, "f1": 0.001, "f2": 0.25, "f3": None, "f5": 0.001}
    keyed = bearer(service.issue(["write"]))
    row = {"user_id": "u", "item_id": "f1", "propensity": 1e-9}
    assert service.post("/v1/events", json=row, headers=keyed).json()["new"] == 1
    assert service.engine.history("u")[0].propensity == 1e-9


def test_new_visitors_of_one_address_do_not_count_without_end(service: KeyedService) -> None:
    for n in range(30):
        data = {"item_id": "f1", "q": f"q{n}"}
        assert service.post("/like", data=data).status_code == 303
    assert service.engine.stats()["events"] == 20


def test_an_event_of_a_clock_that_is_ahead_has_the_time_at_which_it_came(
    service: KeyedService,
) -> None:
    headers = bearer(service.issue(["write"]))
    now = time.time()
    row = {"user_id": "u", "item_id": "f1", "timestamp": now + 23 * 3600}
    assert service.post("/v1/events", json=row, headers=headers).status_code == 200
    (stored,) = service.engine.history("u")
    assert now <= stored.timestamp <= time.time()
    late = row | {"timestamp": now + 25 * 3600}
    assert service.post("/v1/events", json=late, headers=headers).status_code == 422


PRIVATE = {"margin": 0.314159, "bid": 2.71828}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[KeyedService]:
    items = [
        Item(f"f{n}", f"Film {n}", "", {"year": 1990.0 + n, **PRIVATE, "margin": n / 7})
        for n in range(8)
    ]
    engine = TinyEngine(items)
    engine.private = frozenset(PRIVATE)
    service = KeyedService(tmp_path, engine)
    yield service
    service.close()


@pytest.mark.parametrize("path", ["/", "/search?q=film", "/items/f3", "/why?item_id=f3"])
def test_no_page_shows_what_is_not_for_shoppers(shop: KeyedService, path: str) -> None:
    html = shop.get(path).text.lower()
    assert "film" in html
    assert "margin" not in html.replace("margin:", "")
    assert "bid" not in html.replace("forbid", "")


@pytest.mark.parametrize(
    "path",
    [
        "/search?q=film&filter=margin>=0.5",
        "/search?q=film&sort=-margin",
        "/more?surface=search&q=film&cursor=2&sort=bid",
        "/why?item_id=f3&q=film&surface=search&filter=bid>=1",
        "/v1/suggest?q=fi&filter=margin>=0.5",
    ],
)
def test_nobody_without_a_key_filters_or_sorts_by_it(shop: KeyedService, path: str) -> None:
    answer = shop.get(path, headers=as_cookie(shop.visit()))
    assert answer.status_code == 422
    assert "no item has the attribute" in answer.text


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(1, 50), st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=200))
def test_over_any_time_no_more_than_the_burst_and_the_rate(most: int, gaps: list[float]) -> None:
    clock = Clock()
    limit, accepted = RateLimit(SharedState(), clock), list[float]()
    for gap in gaps:
        clock.now += gap
        if not limit.take("a", 1 / most, 60.0):
            accepted.append(clock.now)
    for first, start in enumerate(accepted):
        for last, end in enumerate(accepted[first:], first):
            assert last - first + 1 <= most * (1 + (end - start) / 60) + 1e-3


def test_more_senders_than_there_are_places_forget_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_state, "_SENDERS", 1_000)
    limit = RateLimit(SharedState(), Clock())
    assert [limit.take(f"sender {number}", 1.0) for number in range(5_000)] == [0.0] * 5_000
    assert limit.take("sender 4999", 1.0) == 3_600.0
    assert limit.take("sender 0", 1.0) == 0.0


def test_impressions_of_an_item_by_strangers_do_not_count_without_end(tmp_path: Path) -> None:
    with closing(KeyedService(tmp_path)) as service:

        def see(own: str, headers: dict[str, str], times: int, item: str = "f1") -> int:
            seen = {"user_id": own, "item_id": item, "action": "impression"}
            answer = service.post("/v1/events", json=[seen] * times, headers=headers)
            return int(answer.json()["new"])

        visits = [visit(service) for _ in range(25)]
        assert see(*visits[0], 12) == 12
        assert see(*visits[0], 12) == 8
        assert see(*visits[0], 12, "f2") == 12
        assert sum(see(*one, 100) for one in visits[1:]) == 380
        click = {"user_id": visits[0][0], "item_id": "f1", "action": "click"}
        answer = service.post("/v1/events", json=click, headers=visits[0][1])
        assert answer.json()["new"] == 1
        keyed = bearer(service.issue(["write"]))
        assert see("u", keyed, 100) == 100


@pytest.mark.parametrize(
    "changed",
    [
        *({"event_id": "order-1"}, {"value": 5.0}, {"timestamp": time.time() - 3_600}),
        *({"user_id": "u"}, {"action": "purchase"}),
    ],
)
def test_a_visitor_sends_only_what_the_page_sends(
    service: KeyedService, changed: dict[str, object]
) -> None:
    visitor, cookies = visit(service)
    click = {"user_id": visitor, "item_id": "f1"}
    for events in ([click, click | changed], [click] * 101):
        answer = service.post("/v1/events", json=events, headers=cookies)
        assert (answer.status_code, error_of(answer)["type"]) == (403, "forbidden")
    too_many = service.post("/v1/events", json=[click] * 100, headers=cookies)
    assert too_many.status_code == 429  # their address may send 50
    key = bearer(service.issue(["write"]))
    assert service.post("/v1/events", json=[click, click | changed], headers=key).status_code == 200


@pytest.mark.parametrize(
    ("host", "sender"),
    [
        ("203.0.113.9", "address 203.0.113.9"),
        ("::ffff:203.0.113.9", "address 203.0.113.9"),
        ("2001:db8::1:2:3:4", "network 2001:db8::/64"),
        ("fe80::1%eth0", "network fe80::/64"),
    ],
)
def test_a_sender_is_an_address_or_a_network(host: str, sender: str) -> None:
    assert read_address(Request({"type": "http", "client": (host, 1)})) == sender


def test_behind_a_proxy_or_with_a_name_others_may_reach_a_service() -> None:
    assert not ServerOptions().is_reachable
    for config, reason in (
        (ServeConfig(trusted_proxies=("127.0.0.1",)), r"of \[serve\]: 127"),
        (ServeConfig(allowed_hosts=("shop.example.com",)), r"of \[serve\]: shop"),
    ):
        with pytest.raises(ConfigError, match=reason):
            ServerOptions(config=config).listen()
