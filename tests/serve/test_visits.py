"""What a visitor of the page may send, who counts as one sender, and whom a service is open to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from starlette.requests import Request

from serendip.data.events.event import Event
from serendip.engine.config.serve import ServeConfig
from serendip.errors import ConfigError, ForbiddenError
from serendip.serve.access import Caller, read_address
from serendip.serve.server_options import ServerOptions

CLICK = Event("v", "i", 1_000.0, "click")


@pytest.mark.parametrize(
    "changed",
    [{"event_id": "order-1"}, {"value": 5.0}, {"timestamp": 900.0}, {"timestamp": 1_100.0}],
)
def test_a_visitor_sends_no_id_no_value_and_no_other_time(changed: dict[str, object]) -> None:
    event = replace(CLICK, **changed)
    with pytest.raises(ForbiddenError, match="events of visitors"):
        Caller(visitor_id="v").require_visit([CLICK, event], 1_010.0)
    Caller(is_open=True).require_visit([event], 1_010.0)


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


def test_behind_a_proxy_others_may_reach_a_service() -> None:
    assert not ServerOptions().is_reachable
    behind = ServerOptions(config=ServeConfig(trusted_proxies=("127.0.0.1",)))
    assert behind.is_reachable
    with pytest.raises(ConfigError, match=r"trusted_proxies of \[serve\]: 127"):
        behind.listen()


def test_a_name_to_listen_on_is_a_name_to_answer_to() -> None:
    assert ServerOptions(host="Shop.lan").allows("shop.lan:8080")
