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
- A companion, which answers no request, runs beside the workers if there is anything for it to do.
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
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeAlias

from serendip.errors import NotTrainedError, SerendipError
from serendip.runtime.scratch import scratch_folder
from serendip.serve.limits import DRAIN_S, MAX_SILENCE_S
from serendip.serve.server_options import LOCAL, ServerOptions
from serendip.serve.socket import format_address
from serendip.serve.workers.companion import Companion
from serendip.serve.workers.shared_state import COUNTERS_VARIABLE, mark_started, remove_status
from serendip.serve.workers.worker_channel import (
    Heartbeat,
    SupervisorChannel,
    WorkerChannel,
    WorkerResources,
    open_channel,
)

Work: TypeAlias = Callable[[WorkerResources], None]
"""Serves until the worker is told to end."""

_log = logging.getLogger(__name__)

_KILL_AFTER_S = DRAIN_S + 5.0
"""Seconds from the request to end to the kill."""

_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 30.0
_COMPANION_DELAY_S = 5.0
"""Seconds until a companion that ended unasked is started again."""

_LOOK_S = 1.0
"""Seconds between two looks at the heartbeats, and from which on the supervisor itself was late."""

_NEVER = float("inf")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(slots=True, eq=False)
class _Worker:
    """A worker process, or the companion.

    Args:
        name: unique in the service.
        pid: of the process.
        channel: to it.
        heartbeat: of its event loop.
        is_ready: whether its engine answers.
        failure: why it could not begin, if it said so.
        exit_code: once it has ended; negative = the signal that ended it.
        kill_at: time of a monotonic clock at which it is killed; infinite = it was not told to end.
    """

    name: str
    pid: int
    channel: SupervisorChannel
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
        self.heartbeat.close()
        _, status = os.waitpid(self.pid, 0)
        self.exit_code = os.waitstatus_to_exitcode(status)

    def describe_end(self) -> str:
        """How the process ended, for the log."""
        code = self.exit_code
        if self.failure is not None:
            return str(self.failure)
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def supervise(
    work: Work,
    workers: int,
    options: ServerOptions = LOCAL,
    load: Callable[[], None] = lambda: None,
    on_ready: Callable[[str], None] = lambda address: None,
    on_listening: Callable[[str], None] = lambda address: None,
    companion: Companion | None = None,
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
        companion: runs beside the workers; None = nothing does.
        silence_s: seconds after which a worker whose event loop stands still is replaced.

    Raises:
        ConfigError: others may reach it and there is no key, or the port is taken.
        SerendipError: a worker could not begin.
    """
    listener = options.listen()
    address = format_address(listener, options.host)
    on_listening(address)
    with scratch_folder() as folder:
        os.environ[COUNTERS_VARIABLE] = os.fspath(folder)  # read when prometheus-client is imported
        load()
        gc.collect()
        gc.freeze()  # a later collection would write to, and so copy, every shared page
        ready = partial(on_ready, address)
        Supervisor(work, workers, listener, folder, ready, companion, silence_s).run()


class Supervisor:
    """Keeps the workers of one service running.

    Args:
        work: what each worker does.
        wanted: number of workers.
        listener: the listening socket; closed when the service ends.
        folder: of the shared state, empty.
        on_ready: called once, when all workers are ready.
        companion: runs beside the workers; None = nothing does.
        silence_s: seconds after which a worker whose event loop stands still is killed.
    """

    def __init__(
        self,
        work: Work,
        wanted: int,
        listener: socket.socket,
        folder: Path,
        on_ready: Callable[[], None],
        companion: Companion | None = None,
        silence_s: float = MAX_SILENCE_S,
    ) -> None:
        self._work, self._wanted, self._silence_s = work, wanted, silence_s
        self._awake_since = time.monotonic()
        self._listener, self._folder, self._on_ready = listener, folder, on_ready
        self._selector = selectors.DefaultSelector()
        self._workers: list[_Worker] = []
        self._to_replace: list[_Worker] = []
        self._beside, self._companion = companion, list[_Worker]()
        self._companion_at = _NEVER
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
                while self._processes or not self._is_stopping:
                    self._wait(signals)
                    self._kill_late()
                    self._kill_silent()
                    self._balance()
            finally:
                self._listener.close()
                for process in self._processes:
                    os.kill(process.pid, signal.SIGKILL)
                self._selector.close()
        if self._error is not None:
            raise self._error

    @property
    def _running(self) -> list[_Worker]:
        """Workers that were not told to end."""
        return [worker for worker in self._workers if not worker.is_ending]

    @property
    def _processes(self) -> list[_Worker]:
        """All workers, and the companion if it runs."""
        return [*self._workers, *self._companion]

    def _wait(self, signals: socket.socket) -> None:
        """Wait for what happens next and note it: signals, reports of workers, times."""
        times = [self._companion_at, *(process.kill_at for process in self._processes)]
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
            self._companion_at = time.monotonic()

    def _note_report(self, worker: _Worker) -> None:
        report = worker.channel.read()
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
            self._companion_at = time.monotonic()

    def _remove(self, worker: _Worker) -> None:
        """Forget a worker that has ended."""
        self._selector.unregister(worker.channel)
        worker.channel.close()
        worker.wait()
        if worker in self._companion:
            self._remove_companion(worker)
            return
        self._workers.remove(worker)
        remove_status(self._folder, worker.name)
        self._to_replace = [other for other in self._to_replace if other is not worker]
        if self._is_stopping or worker.is_ending:
            return
        if not self._has_started:
            self._error = worker.failure or NotTrainedError(
                f"a worker ended with {worker.describe_end()} before it was ready.",
                "Its messages are above.",
            )
            self._stop()
        elif not worker.is_ready and len(self._running) >= self._wanted:
            end = worker.describe_end()
            _log.error("the next worker could not begin, the earlier ones go on: %s", end)
            self._to_replace = []
        else:
            self._delay_start(worker)

    def _remove_companion(self, companion: _Worker) -> None:
        """Forget the companion; one that ended unasked with something left to do starts again."""
        self._companion.remove(companion)
        if companion.exit_code and not self._is_stopping:
            self._companion_at = time.monotonic() + _COMPANION_DELAY_S
            end = companion.describe_end()
            _log.error("the companion ended with %s; it starts again soon", end)

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
        if time.monotonic() >= self._companion_at:
            self._start_companion()
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
        """Kill the workers that were told to end and do not."""
        now = time.monotonic()
        for worker in self._processes:
            if now >= worker.kill_at:
                _log.warning("worker %s does not end and is killed", worker.name)
                worker.kill_at = now + _KILL_AFTER_S
                os.kill(worker.pid, signal.SIGKILL)

    def _kill_silent(self) -> None:
        """Kill the workers whose event loop stands still: they end as if unasked."""
        since = time.monotonic() - self._silence_s
        if self._awake_since > since:
            return
        for worker in self._workers:
            if worker.is_silent(since):
                _log.error("worker %s has stood still for %g s", worker.name, self._silence_s)
                worker.heartbeat.beat()  # not killed again at the next look: its end takes a moment
                os.kill(worker.pid, signal.SIGKILL)

    def _start(self) -> None:
        """Start a worker."""
        self._num_started += 1
        name, is_late = str(self._num_started), self._has_started

        heartbeat = Heartbeat()

        def work(channel: WorkerChannel) -> None:
            self._work(
                WorkerResources(
                    *(name, self._folder, self._wanted, self._listener),
                    *(channel, heartbeat, is_late),
                )
            )

        self._workers.append(self._fork(name, work, heartbeat))

    def _start_companion(self) -> None:
        """Start the companion if it does not run and there is anything for it to do."""
        self._companion_at = _NEVER
        beside = self._beside
        if beside is None or self._companion or not beside.is_wanted():
            return

        def work(channel: WorkerChannel) -> None:
            self._listener.close()
            beside.run(channel)

        self._companion.append(self._fork("companion", work, Heartbeat()))

    def _fork(
        self, name: str, work: Callable[[WorkerChannel], None], heartbeat: Heartbeat
    ) -> _Worker:
        """Fork a process that does some work and then ends."""
        channel, theirs = open_channel()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            channel.close()
            self._become(work, theirs)
        theirs.close()
        worker = _Worker(name, pid, channel, heartbeat)
        self._selector.register(channel, selectors.EVENT_READ, worker)
        return worker

    def _become(self, work: Callable[[WorkerChannel], None], channel: WorkerChannel) -> NoReturn:
        """Do the work of a forked process, then end it."""
        code = 1
        try:
            self._leave_supervisor()
            work(channel)
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
        for process in self._processes:
            process.channel.close()

    def _stop(self) -> None:
        """Accept no more connections and end all workers."""
        self._is_stopping, self._companion_at = True, _NEVER
        self._listener.close()
        for process in self._processes:
            process.end()


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket that the numbers of SIGTERM, SIGINT and SIGHUP can be read from."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    handlers = {number: signal.signal(number, _pass) for number in _SIGNALS}
    before = signal.set_wakeup_fd(theirs.fileno())
    try:
        yield ours
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        ours.close()
        theirs.close()


def _pass(number: int, frame: FrameType | None) -> None:
    """Signal handler that does nothing: the number is in the socket."""
