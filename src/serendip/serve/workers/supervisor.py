"""Supervisor of a service with several workers: starts, restarts, replaces and ends them.

It opens the listening socket, which all workers share: the kernel gives each connection to one of
those that accept, and connections wait in its queue while a worker is missing.

It answers no request and opens no engine. It loads what is the same for all, modules and the
weights of the text encoder, and forks its workers, which share that memory. A fork copies only the
thread that calls it, so the supervisor has one thread and loads nothing that starts others.

- A worker that ends unasked is started again, at once or, after repeated failures, with a growing
  delay.
- A worker whose event loop stands still is killed, which is an end unasked.
- SIGHUP replaces the workers one by one: the next one loads, then the old one ends. SIGTERM and
  SIGINT end the service. A worker that ends answers what it accepted before.
- If the supervisor ends in any way, its workers end too: nothing keeps the port.
"""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import NoReturn, TypeAlias

from serendip.errors import NotTrainedError, SerendipError
from serendip.runtime.scratch import scratch_folder
from serendip.serve.limits import DRAIN_S, MAX_SILENCE_S
from serendip.serve.server_options import LOCAL, ServerOptions
from serendip.serve.workers.shared_state import COUNTERS_VARIABLE, mark_started, remove_status
from serendip.serve.workers.worker_channel import (
    Heartbeat,
    WorkerResources,
    read_report,
)

Work: TypeAlias = Callable[[WorkerResources], None]
"""Serves until the worker is told to end."""

_log = logging.getLogger(__name__)

_KILL_AFTER_S = DRAIN_S + 5.0
"""Seconds from the request to end to the kill."""

_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 30.0
_LOOK_S = 1.0
"""Seconds between two looks at the heartbeats, and from which on the supervisor itself was late."""

_NEVER = float("inf")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(slots=True, eq=False)
class _Worker:
    """A worker process."""

    name: str
    pid: int
    channel: Connection
    heartbeat: Heartbeat
    is_ready: bool = False
    failure: SerendipError | None = None
    exit_code: int = 0
    kill_at: float = _NEVER

    @property
    def is_ending(self) -> bool:
        """Whether it was told to end."""
        return self.kill_at < _NEVER

    def end(self) -> None:
        """Tell it to answer what it accepted and end."""
        if not self.is_ending:
            self.kill_at = time.monotonic() + _KILL_AFTER_S
            os.kill(self.pid, signal.SIGTERM)

    def is_silent(self, since: float) -> bool:
        """Whether its event loop went round before a time, and not since; not while it ends."""
        return 0.0 < self.heartbeat.last < since and not self.is_ending

    def wait(self) -> None:
        """Wait until the process has ended."""
        self.channel.close()
        self.heartbeat.close()
        self.exit_code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def describe_end(self) -> str:
        """How the process ended, for the log."""
        if self.failure is not None:
            return str(self.failure)
        code = self.exit_code
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def supervise(
    work: Work,
    workers: int,
    options: ServerOptions = LOCAL,
    load: Callable[[], None] = lambda: None,
    on_ready: Callable[[str], None] = lambda address: None,
    on_listening: Callable[[str], None] = lambda address: None,
    silence_s: float = MAX_SILENCE_S,
) -> None:
    """Serve with several workers until SIGTERM or SIGINT; return once the last one has ended.

    Args:
        work: what each worker does.
        workers: number of workers.
        options: where they listen, and for whom.
        load: loads what all workers share; starts no thread.
        on_ready: called with the address once all workers are ready.
        on_listening: called with the address once connections are accepted.
        silence_s: seconds after which a worker whose event loop stands still is replaced.

    Raises:
        ConfigError: others may reach it and there is no key, or the port is taken.
        SerendipError: a worker could not begin.
    """
    listener = options.listen()
    address = options.format_address(listener)
    on_listening(address)
    with scratch_folder() as folder:
        os.environ[COUNTERS_VARIABLE] = os.fspath(folder)  # read when prometheus-client is imported
        load()
        gc.collect()
        gc.freeze()  # a later collection would write to, and so copy, every shared page
        ready = partial(on_ready, address)
        Supervisor(work, workers, listener, folder, ready, silence_s).run()


class Supervisor:
    """Keeps the workers of one service running.

    Args:
        work: what each worker does.
        wanted: number of workers.
        listener: the listening socket; closed when the service ends.
        folder: of the shared state, empty.
        on_ready: called once, when all workers are ready.
        silence_s: seconds after which a worker whose event loop stands still is killed.
    """

    def __init__(
        self,
        work: Work,
        wanted: int,
        listener: socket.socket,
        folder: Path,
        on_ready: Callable[[], None],
        silence_s: float = MAX_SILENCE_S,
    ) -> None:
        self._work, self._wanted, self._silence_s = work, wanted, silence_s
        self._awake_since = time.monotonic()
        self._listener, self._folder, self._on_ready = listener, folder, on_ready
        self._selector = selectors.DefaultSelector()
        self._workers: list[_Worker] = []
        self._to_replace: list[_Worker] = []
        self._num_started = 0
        self._failures, self._start_at = 0, 0.0
        self._has_started = self._is_stopping = False
        self._error: SerendipError | None = None

    def run(self) -> None:
        """Start the workers and keep them running until SIGTERM or SIGINT.

        Raises:
            SerendipError: a worker could not begin.
        """
        with _signals() as signals:
            self._selector.register(signals, selectors.EVENT_READ)
            try:
                self._balance()
                while self._workers or not self._is_stopping:
                    self._wait(signals)
                    self._kill_late()
                    self._balance()
            finally:
                self._listener.close()
                for worker in self._workers:
                    os.kill(worker.pid, signal.SIGKILL)
                self._selector.close()
        if self._error is not None:
            raise self._error

    @property
    def _running(self) -> list[_Worker]:
        """Workers that were not told to end."""
        return [worker for worker in self._workers if not worker.is_ending]

    def _wait(self, signals: socket.socket) -> None:
        """Wait for what happens next and note it: signals, reports of workers, times."""
        times = [worker.kill_at for worker in self._workers]
        if len(self._running) < self._wanted and not self._is_stopping:
            times.append(self._start_at)
        begin = time.monotonic()
        if any(worker.heartbeat.last for worker in self._workers):
            times.append(begin + _LOOK_S)
        seconds = min(times, default=_NEVER) - begin
        timeout = None if seconds == _NEVER else max(0.0, seconds)
        ready = self._selector.select(timeout)
        if timeout is not None and time.monotonic() > begin + timeout + _LOOK_S:
            self._awake_since = time.monotonic()  # all were asleep with the machine, not stuck
        for key, _ in ready:
            if key.fileobj is signals:
                for number in signals.recv(64):
                    self._note_signal(number)
            else:
                self._note_report(key.data)

    def _note_signal(self, number: int) -> None:
        if number != signal.SIGHUP:
            self._stop()
        elif self._has_started and not self._is_stopping:
            _log.warning("replacing the workers one by one")
            self._to_replace = self._running

    def _note_report(self, worker: _Worker) -> None:
        report = read_report(worker.channel)
        if report.has_ended:
            self._remove(worker)
        elif report.failure is not None:
            worker.failure = report.failure
        elif report.is_ready:
            worker.is_ready, self._failures = True, 0
        if not self._has_started and sum(w.is_ready for w in self._running) == self._wanted:
            self._has_started = True
            mark_started(self._folder)
            self._on_ready()

    def _remove(self, worker: _Worker) -> None:
        """Forget a worker that has ended."""
        self._selector.unregister(worker.channel)
        worker.wait()
        self._workers.remove(worker)
        remove_status(self._folder, worker.name)
        self._to_replace = [other for other in self._to_replace if other is not worker]
        end = worker.describe_end()
        if self._is_stopping or worker.is_ending:
            return
        if not self._has_started:
            self._error = worker.failure or NotTrainedError(
                f"a worker ended with {end} before it was ready.", "Its messages are above."
            )
            self._stop()
        elif not worker.is_ready and len(self._running) >= self._wanted:
            _log.error("the next worker could not begin, the earlier ones go on: %s", end)
            self._to_replace = []
        else:
            self._delay_start(worker)

    def _delay_start(self, worker: _Worker) -> None:
        """Decide when another worker starts in place of one that ended unasked."""
        delay_s = 0.0
        if not worker.is_ready:
            delay_s = min(_FIRST_DELAY_S * 2**self._failures, _LONGEST_DELAY_S)
            self._failures += 1
        self._start_at = time.monotonic() + delay_s
        wait = f" in {delay_s:g} s" if delay_s else ""
        end = worker.describe_end()
        _log.error("worker %s ended with %s; another one starts%s", worker.name, end, wait)

    def _balance(self) -> None:
        """Take the next step towards the wanted workers: start missing ones, or replace one."""
        running = self._running
        if self._is_stopping:
            return
        if len(running) < self._wanted:
            if time.monotonic() >= self._start_at:
                for _ in range(self._wanted - len(running)):
                    self._start()
        elif self._to_replace and all(worker.is_ready for worker in running):
            if len(running) > self._wanted:
                self._to_replace.pop(0).end()
            elif len(running) == len(self._workers):  # the one before has ended
                self._start()

    def _kill_late(self) -> None:
        """Kill the workers that do not end, and those whose event loop stands still.

        The latter end as if unasked.
        """
        now = time.monotonic()
        silent_since = now - self._silence_s
        for worker in self._workers:
            if now >= worker.kill_at:
                _log.warning("worker %s does not end and is killed", worker.name)
                worker.kill_at = now + _KILL_AFTER_S
            elif self._awake_since <= silent_since and worker.is_silent(silent_since):
                _log.error("worker %s has stood still for %g s", worker.name, self._silence_s)
                worker.heartbeat.beat()  # not killed again at the next look: its end takes a moment
            else:
                continue
            os.kill(worker.pid, signal.SIGKILL)

    def _start(self) -> None:
        """Fork a worker."""
        self._num_started += 1
        name, heartbeat = str(self._num_started), Heartbeat()
        channel, theirs = Pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            channel.close()
            shared = (name, self._folder, self._wanted, self._listener)
            self._become(WorkerResources(*shared, theirs, heartbeat, self._has_started))
        theirs.close()
        worker = _Worker(name, pid, channel, heartbeat)
        self._selector.register(channel, selectors.EVENT_READ, worker)
        self._workers.append(worker)

    def _become(self, resources: WorkerResources) -> NoReturn:
        """Do the work of a forked process, then end it."""
        code = 1
        try:
            self._leave_supervisor()
            self._work(resources)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001 - what follows the fork is the supervisor's, not ours
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _leave_supervisor(self) -> None:
        """Give back what only the supervisor should hold: signals, and its ends of the channels."""
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        os.setsid()  # Ctrl-C reaches the supervisor, which tells the workers
        self._selector.close()
        for worker in self._workers:
            worker.channel.close()

    def _stop(self) -> None:
        """Accept no more connections and end all workers."""
        self._is_stopping = True
        self._listener.close()
        for worker in self._workers:
            worker.end()


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket that the numbers of SIGTERM, SIGINT and SIGHUP can be read from."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    handlers = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    before = signal.set_wakeup_fd(theirs.fileno())
    try:
        yield ours
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        ours.close()
        theirs.close()
