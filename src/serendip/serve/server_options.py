"""Where a service listens, and for whom; its listening socket. Imports no framework."""

from __future__ import annotations

import ipaddress
import re
import socket
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from serendip.engine.config.serve import ServeConfig
from serendip.errors import ConfigError
from serendip.serve.limits import MAX_UNREAD_S

if TYPE_CHECKING:
    from serendip.data.store.tables.api_keys import ApiKeys

_BACKLOG = 512
_MAPPED_BITS = 96  # of ::ffff:0:0/96, the IPv6 addresses that stand for those of IPv4
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::\d{1,5})?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Where a service listens, and for whom; by default for this machine alone.

    Args:
        host: name or address to listen on.
        port: 0 = any free one.
        config: ``[serve]`` of the settings.
        open_keys: opens the keys of the workspace; None = there are none.
        secret_file: see ``KeyRing``.
        waits_for_others: whether reads wait for the server of a database, so that several are
            computed at once.
        workers: number of processes that answer.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    config: ServeConfig = field(default_factory=ServeConfig)
    open_keys: Callable[[], ApiKeys] | None = None
    secret_file: Path | None = None
    waits_for_others: bool = False
    workers: int = 1

    @property
    def is_reachable(self) -> bool:
        """Whether others than this machine may reach it, directly or through a proxy."""
        named = self.config.allowed_hosts or self.config.trusted_proxies
        return self.host not in _LOOPBACK or bool(named)

    def allows(self, host: str) -> bool:
        """Whether a ``Host`` header may be answered.

        A service that others reach answers to every IP address, too: a browser sends an address
        only to that address, so that no name of another site can lead it here.
        """
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower().strip("[]")
        if name in _LOOPBACK or name in self.config.allowed_hosts or name == self.host.lower():
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.host not in _LOOPBACK

    @property
    def believed_proxies(self) -> tuple[str, ...]:
        """``trusted_proxies``, those of IPv4 also as a socket for both versions shows them."""
        mapped = (
            f"::ffff:{network.network_address}/{_MAPPED_BITS + network.prefixlen}"
            for network in map(ipaddress.ip_network, self.config.trusted_proxies)
            if network.version == 4
        )
        return (*self.config.trusted_proxies, *mapped)

    def check_keys(self) -> None:
        """Refuse a service that others may reach and that has no key, by a ``ConfigError``."""
        if not self.is_reachable:
            return
        if self.open_keys is not None:
            with closing(self.open_keys()) as source:
                keys = source.read().keys.values()
            if any(key.state(time.time()) == "active" for key in keys):
                return
        reason = f"host {self.host!r}"
        if self.host in _LOOPBACK:
            name = "allowed_hosts" if self.config.allowed_hosts else "trusted_proxies"
            reason = f"{name} of [serve]: {', '.join(getattr(self.config, name))}"
        raise ConfigError(
            f"others may reach this service ({reason}), and it has no key.",
            "Create one with `serendip keys create`, or serve this machine alone.",
        )

    def listen(self) -> socket.socket:
        """Open the listening socket.

        Raises:
            ConfigError: others may reach it and there is no key, the host is not one of this
                machine, or the port is taken.
            StorageError: the keys cannot be read.
        """
        self.check_keys()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        is_dual = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        try:
            at = self.host, self.port
            listener = socket.create_server(
                at, family=family, backlog=_BACKLOG, dualstack_ipv6=is_dual
            )
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"port {self.port} of {self.host} cannot be used: {error}.",
                "Give another one, or 0 for any.",
            ) from None
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux has it; its connections inherit it
            unread_ms = round(MAX_UNREAD_S * 1000)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread_ms)
        return listener

    def format_address(self, listener: socket.socket) -> str:
        """The URL of the service."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{listener.getsockname()[1]}"


LOCAL = ServerOptions()
