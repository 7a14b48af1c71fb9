"""Questions and answers over TCP, between ends that know the same secret."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from serendip.runtime.channels import Channel, ChannelServer, RefusedError, read_answer


def answer(question: bytes) -> bytes:
    if question == b"forbidden":
        raise RefusedError("that is not told")
    return question[::-1]


@pytest.fixture
def server() -> Iterator[ChannelServer]:
    server = ChannelServer("127.0.0.1", 0, b"secret", answer)
    server.start()
    yield server
    server.close()


def address(server: ChannelServer) -> str:
    return f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("size", [0, 1, 5_000, 1_000_000])
def test_messages_of_any_size_arrive(server: ChannelServer, size: int) -> None:
    with closing(Channel.open(address(server), b"secret", 20.0)) as channel:
        for question in (bytes(range(7)) * size, b"end"):
            channel.send(question)
            assert channel.is_ready(20.0)
            assert read_answer(channel.receive()) == question[::-1]
        channel.send(b"forbidden")
        with pytest.raises(RefusedError, match="that is not told"):
            read_answer(channel.receive())


def test_who_does_not_know_the_secret_asks_nothing(server: ChannelServer) -> None:
    with pytest.raises(ConnectionRefusedError, match="the token is another one"):
        Channel.open(address(server), b"guess", 20.0)
    with closing(socket.create_connection(("127.0.0.1", server.port), 20.0)) as raw:
        raw.sendall(b"\x7f\xff\xff\xff" + b"x" * 1_000)  # a message of two gigabytes, it says
        with suppress(ConnectionResetError):
            while raw.recv(1_000):
                pass  # until the server hangs up
    with closing(Channel.open(address(server), b"secret", 20.0)) as channel:
        channel.send(b"abc")
        assert read_answer(channel.receive()) == b"cba"


def test_a_silent_server_is_given_up_in_time() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        begin = time.monotonic()
        with pytest.raises(OSError, match="temporarily unavailable"):
            Channel.open(f"127.0.0.1:{silent.getsockname()[1]}", b"", 0.05)
        assert time.monotonic() - begin < 10


def test_a_server_that_ends_closes_its_channels(server: ChannelServer) -> None:
    with closing(Channel.open(address(server), b"secret", 20.0)) as channel:
        channel.send(b"abc")
        channel.receive()
        server.close()
        assert channel.is_ready(20.0)
        with pytest.raises((EOFError, OSError)):
            channel.receive()
