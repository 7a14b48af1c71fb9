"""The listening socket of the service and its signal handling. Imports no framework."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from serendip.errors import ConfigError

_BACKLOG = 512


def listen(host: str, port: int) -> socket.socket:
    """Open a socket that accepts connections.

    Args:
        host: a name or address of this machine.
        port: 0 = any free one.

    Raises:
        ConfigError: the host is not one of this machine, or the port is taken.
    """
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


def format_address(listener: socket.socket, host: str) -> str:
    """The URL of the service."""
    host_in_url = f"[{host}]" if ":" in host else host
    return f"http://{host_in_url}:{listener.getsockname()[1]}"


@contextmanager
def ignore_repeated_signals() -> Iterator[None]:
    """Ignore SIGTERM and SIGINT that the server raises again after its graceful shutdown."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {
        number: signal.signal(number, _ignore) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Signal handler that does nothing."""
