"""Questions and answers between processes that share a secret, over TCP.

Messages are framed by ``multiprocessing.connection``, and each end proves that it knows the secret
without sending it; before that nothing longer than a few hundred bytes is read. Nothing is pickled.
A call costs some hundredths of a millisecond on both ends, of a remote procedure call by HTTP/2 ten
times that.
"""

from __future__ import annotations

import logging
import os
import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Self

_log = logging.getLogger(__name__)

_STALLED_S = 5.0
"""Longest seconds between the parts of a message, and of a server's wait for the proof."""

_MOST_BYTES = 256 * 2**20
"""Largest message of an end that knows the secret."""

_MOST_CHANNELS = 1_024
"""Channels that a server has open."""

_HEARD, _REFUSED = b"+", b"-"


class RefusedError(Exception):
    """What the other end says instead of an answer."""


class Channel:
    """One end of a connection; for one thread at a time.

    Args:
        connected: a connected socket, which the channel takes over; it is closed with it.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.settimeout(None)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._messages = Connection(connected.detach())

    @classmethod
    def open(cls, address: str, secret: bytes, deadline_s: float) -> Self:
        """Connect to a server.

        Args:
            address: ``host:port``.
            secret: that both ends know.
            deadline_s: seconds for that.

        Raises:
            OSError: it cannot be reached, or not in time, or has another secret.
        """
        host, _, port = address.rpartition(":")
        deadline_s = max(deadline_s, 1e-3)
        channel = cls(socket.create_connection((host, int(port)), deadline_s))
        channel._limit(deadline_s)
        try:
            answer_challenge(channel._messages, secret)
            deliver_challenge(channel._messages, secret)
        except (AuthenticationError, EOFError, OSError) as error:
            channel.close()
            if isinstance(error, AuthenticationError):
                raise ConnectionRefusedError("the token is another one") from None
            raise ConnectionError(str(error) or "it closes the connection") from None
        channel._limit(_STALLED_S)
        return channel

    @classmethod
    def accept(cls, connected: socket.socket, secret: bytes) -> Self:
        """The server's end.

        Raises:
            OSError: the other end does not know the secret, or is silent.
        """
        channel = cls(connected)
        channel._limit(_STALLED_S)
        try:
            deliver_challenge(channel._messages, secret)
            answer_challenge(channel._messages, secret)
        except (AuthenticationError, EOFError, OSError) as error:
            channel.close()
            raise ConnectionError(f"no proof of the secret: {error}") from None
        channel._limit(0.0)
        return channel

    def send(self, message: bytes) -> None:
        """Send a message.

        Raises:
            OSError: the connection is broken, or the other end does not read.
        """
        self._messages.send_bytes(message)

    def receive(self) -> bytes:
        """Wait for a message.

        Raises:
            EOFError: the other end closed the connection.
            OSError: it is broken, or the message too large.
        """
        return self._messages.recv_bytes(_MOST_BYTES)

    def is_ready(self, timeout_s: float) -> bool:
        """Whether a message, or the end of the connection, comes in so many seconds."""
        return self._messages.poll(max(0.0, timeout_s))

    def close(self) -> None:
        """Close the connection, also for a thread that waits."""
        with suppress(OSError), self._socket() as connected:
            connected.shutdown(socket.SHUT_RDWR)
        self._messages.close()

    def _limit(self, seconds: float) -> None:
        """Let each reading and writing end after so many seconds; 0 = never."""
        whole = int(seconds)
        value = struct.pack("ll", whole, int((seconds - whole) * 1e6))
        with self._socket() as connected:
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                connected.setsockopt(socket.SOL_SOCKET, option, value)

    def _socket(self) -> socket.socket:
        """The socket once more; closing it does not close the channel."""
        return socket.socket(fileno=os.dup(self._messages.fileno()))


def read_answer(message: bytes) -> bytes:
    """The answer of a server.

    Raises:
        RefusedError: it refuses, for a reason.
    """
    if message[:1] == _REFUSED:
        raise RefusedError(message[1:].decode("utf-8", "replace"))
    return message[1:]


class ChannelServer(socketserver.ThreadingTCPServer):
    """Answers questions, one thread for each channel.

    Args:
        host: to listen on.
        port: to listen on; 0 picks a free one.
        secret: that the other ends must know.
        answer: question -> answer; raises ``RefusedError`` to refuse one.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, host: str, port: int, secret: bytes, answer: Callable[[bytes], bytes]
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _ChannelHandler)
        self.secret, self.answer = secret, answer
        self._channels: set[Channel] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self.server_address[1])

    def add(self, channel: Channel) -> bool:
        """Note an open channel; False if there are too many."""
        with self._lock:
            self._channels.add(channel)
            return len(self._channels) <= _MOST_CHANNELS

    def remove(self, channel: Channel) -> None:
        """Close a channel."""
        with self._lock:
            self._channels.discard(channel)
        channel.close()

    def start(self) -> None:
        """Answer, in threads, until ``close``."""
        self._thread = threading.Thread(target=self.serve_forever, name="channels", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering, and close all channels."""
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
        self.server_close()
        with self._lock:
            channels = list(self._channels)
        for channel in channels:
            channel.close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what no handler expects."""
        _log.exception("a channel from %s ends", client_address)

    def shutdown_request(self, request: object) -> None:
        """Nothing: a channel closes its own socket."""


class _ChannelHandler(socketserver.BaseRequestHandler):
    """One channel, until its other end closes it."""

    server: ChannelServer

    def handle(self) -> None:
        try:
            channel = Channel.accept(self.request, self.server.secret)
        except OSError as error:
            _log.warning("a connection from %s is refused: %s", self.client_address[0], error)
            return
        try:
            if self.server.add(channel):
                while True:
                    channel.send(self._answer(channel.receive()))
            _log.warning("a connection from %s is one too many", self.client_address[0])
        except (EOFError, OSError):
            pass  # the other end is gone, or this server ends
        finally:
            self.server.remove(channel)

    def _answer(self, question: bytes) -> bytes:
        try:
            return _HEARD + self.server.answer(question)
        except RefusedError as refusal:
            return _REFUSED + str(refusal).encode()
