"""The real service of a workspace, in a forked process, and a client that counts.

The fork spares a start the imports, and can run a variant that is broken on purpose.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import wait
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from serendip.data.events.event import Event
from serendip.data.store.store import Store
from serendip.errors import StorageError
from serendip_bench.large_state import write_workspace
from serendip_bench.reliability.forks import run, start
from serendip_bench.reliability.workload import DATABASE
from serendip_bench.service import HttpClient, read_memory_mb

NUM_ITEMS = 500
"""Of the workspace that is made."""

Breakage: TypeAlias = Callable[[], AbstractContextManager[None]]
"""A variant of ``breakage``."""

LOG = "service.log"
"""Beside the workspace; what the service says."""


@dataclass(frozen=True, slots=True)
class RunningService:
    """Address and process of a service that is ready."""

    netloc: str
    pid: int

    def memory_mb(self) -> float:
        """Memory that it occupies."""
        return read_memory_mb(self.pid)

    def warm_up(self, paths: Iterable[str]) -> None:
        """Ask for something until it is answered: the first search loads the text encoder."""
        with closing(HttpClient(self.netloc)) as client:
            for path in paths:
                while client.ask("GET", path).status not in (200, 404):
                    continue

    def kill(self) -> None:
        """End it with SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)


@contextmanager
def copy_workspace(workspace: Path | None, place: Path | None = None) -> Iterator[Path]:
    """A copy of a workspace with a published generation, removed after the block.

    Args:
        workspace: None = one with random models, which is made once per process.
        place: folder of the copy; None = a new one for temporary files.
    """
    with tempfile.TemporaryDirectory(prefix="serendip-trial-", dir=place) as name:
        copy = Path(name, "shop")
        shutil.copytree(find_workspace(workspace), copy)
        yield copy


def find_workspace(workspace: Path | None) -> Path:
    """A workspace to copy; see ``copy_workspace``."""
    return _make_workspace() if workspace is None else workspace


@cache
def _make_workspace() -> Path:
    """Write a workspace, in a process of its own: torch starts threads."""
    folder = Path(tempfile.mkdtemp(prefix="serendip-shop-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if run(_write_workspace, folder):
        raise StorageError(f"no workspace could be written to {folder}.", "See the error above.")
    return folder


def _write_workspace(out: int, folder: Path) -> None:
    write_workspace(folder, NUM_ITEMS)
    events = (
        Event(f"u{number % 50}", f"sku-{number:08d}", 1.6e9 + number) for number in range(NUM_ITEMS)
    )
    with closing(Store.open(folder / DATABASE)) as store:
        store.put_events(events)


@contextmanager
def serve_copy(
    workspace: Path | None, broken: Breakage = nullcontext, warm: Iterable[str] = ()
) -> Iterator[tuple[Path, RunningService]]:
    """The service of a copy of a workspace, once it has answered some paths, and the copy."""
    with copy_workspace(workspace) as copy, run_forked(copy, broken) as service:
        service.warm_up(warm)
        yield copy, service


@contextmanager
def beside(*calls: Callable[[threading.Event], object]) -> Iterator[threading.Event]:
    """Run calls in threads while a block runs; each gets the event that is set at its end."""
    ended = threading.Event()
    with ThreadPoolExecutor(len(calls)) as pool:
        running = [pool.submit(call, ended) for call in calls]
        try:
            yield ended
        finally:
            ended.set()
        for call in running:
            call.result()


@contextmanager
def run_forked(workspace: Path, broken: Breakage = nullcontext) -> Iterator[RunningService]:
    """``serendip serve`` on a free port, as a context; ended with SIGTERM, unless it was killed.

    Args:
        workspace: its folder.
        broken: a variant of ``breakage``.

    Raises:
        StorageError: it did not start.
    """
    process, reader = start(_serve, workspace, broken)
    try:
        with os.fdopen(os.dup(reader.fileno()), encoding="utf-8") as lines:
            line = next((line for line in lines if line.startswith("Ready:")), "")
            if not line or process.pid is None:
                said = workspace.with_name(LOG).read_text(encoding="utf-8")[-500:]
                raise StorageError(f"the service did not start: {said}", "See its message.")
            yield RunningService(urlsplit(line.split()[1]).netloc, process.pid)
    finally:
        process.terminate()
        process.join()
        reader.close()


def _serve(out: int, workspace: Path, broken: Breakage) -> None:
    from serendip.cli.main import main

    threading.Thread(target=_end_with_parent, daemon=True).start()
    log = os.open(workspace.with_name(LOG), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(log, 2)
    sys.argv = ["serendip", "serve", "-w", str(workspace), "--port", "0"]
    with broken():
        main()


def _end_with_parent() -> None:
    """End the service soon after the process that asked for it, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
