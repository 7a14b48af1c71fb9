"""The socket of a service on this machine, and how its signals end. Imports no framework."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from serendip.errors import ConfigError
from serendip.serve.middleware import LOOPBACK_NAMES

_BACKLOG = 512


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections from now on.

    Args:
        host: a loopback name or address.
        port: 0 for any free one.

    Raises:
        ConfigError: the host is not this machine's own, or the port is taken.
    """
    if host not in {name.strip("[]") for name in LOOPBACK_NAMES}:
        raise ConfigError(
            f"host {host!r} can be reached from other machines, and there is no login yet.",
            "Use 127.0.0.1, and a proxy of your own in front of it.",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(
            f"port {port} of {host} cannot be used: {error}.", "Give another one, or 0 for any."
        ) from None
    listener.listen(_BACKLOG)
    return listener


def address_of(listener: socket.socket, host: str) -> str:
    """What a browser is told."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


@contextmanager
def signals_end_quietly() -> Iterator[None]:
    """The server raises its signal again when it has drained; it has done its work by then."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = {kind: signal.signal(kind, _nothing) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Take a signal that is already obeyed."""
