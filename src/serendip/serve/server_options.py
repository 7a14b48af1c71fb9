"""Where a service listens, and for whom; its listening socket. Imports no framework."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from serendip.engine.config.serve import ServeConfig
from serendip.errors import ConfigError
from serendip.runtime.atomic_files import flush_folder, lock_file
from serendip.serve.limits import MAX_UNREAD_S

if TYPE_CHECKING:
    from serendip.data.store.tables.api_keys import ApiKeys

_log = logging.getLogger(__name__)

_BACKLOG = 512
_SECRET_BYTES = 32
_MAPPED_BITS = 96  # of ::ffff:0:0/96, the IPv6 addresses that stand for those of IPv4
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::\d{1,5})?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Where a service listens, and for whom; by default for this machine alone."""

    host: str = "127.0.0.1"
    port: int = 8080  # 0 = any free one
    config: ServeConfig = field(default_factory=ServeConfig)
    open_keys: Callable[[], ApiKeys] | None = None  # those of the workspace
    secret: bytes = field(default_factory=lambda: os.urandom(_SECRET_BYTES), repr=False)
    waits_for_others: bool = False  # whether reads wait for the server of a database
    workers: int = 1

    @property
    def is_reachable(self) -> bool:
        """Whether others than this machine may reach it, directly or through a proxy."""
        named = self.config.allowed_hosts or self.config.trusted_proxies
        return self.host not in _LOOPBACK or bool(named)

    def allows(self, host: str) -> bool:
        """Whether a ``Host`` header may be answered, which any IP address is where others reach it:
        a browser sends an address only to that address, so no name of another site leads it here.
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
        names = ", ".join([*self.config.allowed_hosts, *self.config.trusted_proxies]) or "none"
        raise ConfigError(
            f"others may reach this service (host {self.host}; allowed_hosts, trusted_proxies of "
            f"[serve]: {names}), and it has no key.",
            "Create one with `serendip keys create`, or serve this machine alone.",
        )

    def listen(self) -> socket.socket:
        """Open the socket; a ``ConfigError`` if it is taken, or others reach it without a key."""
        self.check_keys()
        is_6 = ":" in self.host
        try:
            listener = socket.create_server(
                (self.host, self.port),
                family=socket.AF_INET6 if is_6 else socket.AF_INET,
                backlog=_BACKLOG,
                dualstack_ipv6=is_6 and socket.has_dualstack_ipv6(),
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


def read_secret(path: Path) -> bytes:
    """The bytes of a file that sign cookies.

    The first of several processes makes a file that is missing; one that is not whole is made anew:
    whoever had signed in does so again.
    """
    with suppress(OSError):
        with suppress(OSError), lock_file(path, wait=True):
            if path.stat().st_size < _SECRET_BYTES:
                path.chmod(0o600)  # before it has a secret
                with path.open("r+b") as stream:
                    stream.write(os.urandom(_SECRET_BYTES))
                    stream.flush()
                    os.fsync(stream.fileno())
                flush_folder(path.parent)
        if len(secret := path.read_bytes()) >= _SECRET_BYTES:
            return secret
    # On a disk that nobody writes to, sessions end with the service.
    _log.warning("%s cannot be made; who signs in does so again after a restart", path.name)
    return os.urandom(_SECRET_BYTES)
