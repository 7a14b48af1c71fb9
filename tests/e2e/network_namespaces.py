"""Two machines on one, joined by a cable: network namespaces with an end of a veth pair each."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

SERVER_ADDRESS, CLIENT_ADDRESS = "192.0.2.1", "192.0.2.2"
"""Of a range for documentation; other namespaces do not see them."""


@contextmanager
def two_machines() -> Iterator[tuple[list[str], list[str]]]:
    """Beginnings of commands that run on either; the test is skipped where none may be made."""
    names = [f"serendip-{os.getpid()}-{place}" for place in ("server", "client")]
    with ExitStack() as stack:
        try:
            for name in names:
                _ip("netns", "add", name)
                stack.callback(_ip, "netns", "delete", name)
            _join(*names)
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or error
            pytest.skip(f"no network namespaces can be joined here: {said}")
        server, client = (["ip", "netns", "exec", name] for name in names)
        yield server, client


def _join(server: str, client: str) -> None:
    """Connect two namespaces; the pair goes with them."""
    _ip(
        "-n",
        server,
        "link",
        "add",
        "cable",
        "type",
        "veth",
        "peer",
        "name",
        "cable",
        "netns",
        client,
    )
    for name, address in ((server, SERVER_ADDRESS), (client, CLIENT_ADDRESS)):
        _ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
        for device in ("lo", "cable"):
            _ip("-n", name, "link", "set", device, "up")


def _ip(*options: str) -> None:
    subprocess.run(["ip", *options], check=True, capture_output=True, text=True)
