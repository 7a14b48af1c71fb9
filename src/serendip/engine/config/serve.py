"""``[serve]``: who may reach the service, how much may wait, and what is logged.

It is a module of its own because the service listens before it loads what the other settings name.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from serendip.config import Config
from serendip.errors import ConfigError
from serendip.runtime.budget import parse_duration


def _require_duration(text: str) -> str:
    try:
        parse_duration(text)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return text


def _read_never(text: str | None) -> str | None:
    return None if text is None or text == "never" else _require_duration(text)


Duration = Annotated[str, AfterValidator(_require_duration)]  # such as ``10m``
OptionalDuration = Annotated[str | None, AfterValidator(_read_never)]  # None = ``never``
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


def _check_host(name: str) -> str:
    if not _HOST.fullmatch(name.lower()):
        raise ValueError("give a host name without a scheme, a port or *")
    return name.lower()


def _check_network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("give an address or a network, such as 10.0.0.0/8") from None
    return text


class ServeConfig(Config):
    """``[serve]``: who may reach the service, and how much may wait."""

    allowed_hosts: tuple[Annotated[str, AfterValidator(_check_host)], ...] = ()
    """Host names under which the service answers besides `127.0.0.1` and `localhost`, such as
    `shop.example.com`. A service that listens on an address that others reach answers to every
    address, too. Needs keys."""

    trusted_proxies: tuple[Annotated[str, AfterValidator(_check_network)], ...] = ()
    """Addresses and networks of proxies, such as `10.0.0.0/8`, that say where a request comes from
    in `X-Forwarded-For` and `X-Forwarded-Proto`. None is
    believed by default."""

    visitor_events_per_minute: int | None = Field(default=300, ge=1)
    """Events per minute of visitors of the page at one address: so many at once, and so many on
    average, of all workers together; each replica on Ray counts for itself. None = no limit. What
    one visitor does with one item counts once an hour, its impressions twenty times; of all at one
    address twenty times as often. The rate of requests is bounded by a proxy in front."""

    waiting_requests: int = Field(default=64, ge=1)
    """Requests that may wait to be computed, of all workers together; more are refused with 429 and
    `Retry-After`. While more is asked for than can be computed, none waits long."""

    receive_timeout: Duration = "10s"
    """Time in which the first line and the headers of a request must arrive, and its body must
    begin to come. Slower connections end."""

    deadline: Duration = "5s"
    """Time that computing an answer may take, waiting included. Then items are answered from less:
    from words and content, else the most chosen ones, which `degraded` says; other answers get 503
    and `Retry-After`."""

    log_format: Literal["text", "json"] = "text"
    """Form of the messages on standard error: lines for people, or one JSON object per line."""

    access_log: bool = False
    """Whether each answer is logged, with its route, status and time; never with addresses, ids or
    what was asked."""
