"""The product from its outside: commands in processes of their own, and a service over HTTP."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from golden.names import READY, SERVE

ROOT = Path(__file__).parents[2]
_FIXED = {
    "PYTHONPATH": str(ROOT / "src"),
    "PYTHONHASHSEED": "0",
    "COLUMNS": "100",
    "TERM": "dumb",
    "NO_COLOR": "1",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
}
_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did.

    Args:
        code: its exit code.
        stdout: as it was written.
        stderr: as it was written.
    """

    code: int
    stdout: str
    stderr: str

    def answer(self) -> dict[str, Any]:
        """Exit code, and the JSON document or the text on stdout."""
        try:
            return {"exit": self.code, "json": json.loads(self.stdout)}
        except ValueError:
            return {"exit": self.code, "text": self.stdout.splitlines()}


def environment() -> dict[str, str]:
    """What commands run in: one thread, one hash seed, one width, no settings of whoever calls."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SERENDIP")}
    return {**kept, **_FIXED}


class Product:
    """Runs commands, and services.

    Args:
        tell: is told each command before it runs.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._process: subprocess.Popen[str] | None = None

    def run(self, line: str, folder: Path) -> Outcome:
        """A command in a folder.

        Raises:
            RuntimeError: what runs commands has ended.
        """
        self._tell(line)
        runner = self._process or self._started()
        assert runner.stdin is not None and runner.stdout is not None
        with tempfile.TemporaryDirectory(prefix="goldens-") as scratch:
            files = {name: f"{scratch}/{name}" for name in ("stdout", "stderr")}
            command = {"arguments": shlex.split(line), "folder": str(folder), **files}
            runner.stdin.write(json.dumps(command) + "\n")
            runner.stdin.flush()
            code = runner.stdout.readline()
            if not code:
                raise RuntimeError(f"what runs commands has ended at {line!r}")
            told = [Path(file).read_text(encoding="utf-8") for file in files.values()]
        return Outcome(int(code), *told)

    def close(self) -> None:
        """No more commands."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def _started(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("preloaded.py"))],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self._process

    @contextmanager
    def serving(self, workspace: Path) -> Iterator[Client]:
        """A service on a free port, once it is ready."""
        self._tell(f"serve {workspace.name}")
        words = [word.format(workspace=workspace) for word in shlex.split(SERVE)]
        with subprocess.Popen(
            [sys.executable, "-m", "serendip", *words],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                yield Client(_address(process))
            finally:
                process.send_signal(signal.SIGTERM)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(READY):
            return line.removeprefix(READY).split()[0]
    raise RuntimeError("the service ended before it was ready")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer over HTTP.

    Args:
        status: of HTTP.
        headers: names in lower case.
        body: as it was sent.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, read; its text where it is no JSON."""
        text = self.body.decode("utf-8", "replace")
        try:
            return json.loads(text)
        except ValueError:
            return text.splitlines()


@dataclass(frozen=True, slots=True)
class Client:
    """Asks one service.

    Args:
        address: of it, ``http://host:port``.
    """

    address: str

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request on a connection of its own."""
        place = urlsplit(self.address)
        connection = HTTPConnection(str(place.hostname), place.port, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()
