"""A service of a tiny world as a process, and what its pages must keep to at any width."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SERVER = Path(__file__).parents[1] / "serve" / "tiny_server.py"
SMALLEST, PHONE, DESK = WIDTHS = (320, 390, 1280)


@contextmanager
def tiny_server(*arguments: object) -> Iterator[str]:
    """The address of the service."""
    command = [sys.executable, str(SERVER), "0", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        try:
            yield process.stdout.readline().split()[1]
        finally:
            process.terminate()


def at_widths(page: Any, *widths: int) -> Iterator[int]:
    """Makes the page as wide as a phone and a desk, or as stated; it may never scroll sideways."""
    for width in widths or (PHONE, DESK):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        yield width
