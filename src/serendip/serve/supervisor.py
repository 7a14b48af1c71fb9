"""Supervisor of a service with several workers: starts, restarts, replaces and ends them.

All workers share the listening socket: connections wait in its queue while none accepts. The
supervisor answers nothing and opens no engine. It loads what is the same for all, modules and the
weights of the text encoder, and forks its workers, which share that memory. A fork copies only the
thread that calls it, so the supervisor has one thread and loads nothing that starts others.

- A worker says once a second that its event loop goes on, or is killed after a while.
- A worker that ends unasked is started again, at once or, if it could not begin, a moment later.
- SIGHUP replaces the workers one by one: the next one loads, then the old one ends. SIGTERM and
  SIGINT end the service. A worker that ends answers what it accepted before.
- If the supervisor ends in any way, its workers end too: nothing keeps the port.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from serendip.errors import SerendipError
from serendip.runtime.atomic_files import scratch_folder
from serendip.serve.limits import DRAIN_S, MAX_SILENCE_S
from serendip.serve.shared_state import COUNTERS_VARIABLE, SharedState

_log = logging.getLogger(__name__)

_KILL_AFTER_S = DRAIN_S + 5.0  # from the request to end
_DELAY_S = 2.0  # after which another worker is started in place of one that could not begin
_PAUSE_S = 0.1  # between two looks at the workers
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(slots=True, eq=False)
class _Worker:
    pid: int
    place: int
    is_ready: bool = False
    is_old: bool = False  # another one is to replace it
    last_beat: float = 0.0
    silent_s: float = 0.0
    kill_at: float = math.inf

    @property
    def is_ending(self) -> bool:
        return self.kill_at < math.inf

    def end(self) -> None:
        if not self.is_ending:
            self.kill_at = time.monotonic() + _KILL_AFTER_S
            os.kill(self.pid, signal.SIGTERM)


@dataclass(slots=True, eq=False)
class Supervisor:
    """Serves a socket, which is closed at the end, with several workers."""

    listener: socket.socket
    work: Callable[[SharedState], None]  # what each does, until it is told to end
    shared: SharedState
    load: Callable[[], None] = lambda: None  # what all workers share; starts no thread
    on_ready: Callable[[], None] = lambda: None
    silence_s: float = MAX_SILENCE_S  # after which a worker that stands still is replaced
    _workers: list[_Worker] = field(default_factory=list)
    _signals: list[int] = field(default_factory=list)
    _start_at: float = 0.0
    _has_started: bool = False
    _is_stopping: bool = False
    _exit_code: int = 0

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; exit if a worker cannot begin, for a reason in the log."""
        with scratch_folder() as folder:
            os.environ[COUNTERS_VARIABLE] = os.fspath(folder)  # read as prometheus-client is
            self.load()
            gc.collect()
            gc.freeze()  # a later collection would write to, and so copy, every shared page
            for kind in _SIGNALS:
                signal.signal(kind, lambda number, _: self._signals.append(number))
            try:
                while self._workers or not self._is_stopping:
                    self._step()
            finally:
                for worker in self._workers:
                    os.kill(worker.pid, signal.SIGKILL)
        if self._exit_code:
            raise SystemExit(self._exit_code)

    @property
    def _running(self) -> list[_Worker]:
        return [worker for worker in self._workers if not worker.is_ending]

    def _step(self) -> None:
        if not self._is_stopping:
            self._balance()
        since = time.monotonic()
        time.sleep(_PAUSE_S)
        while self._signals:
            self._obey(self._signals.pop(0))
        # Silence is counted in looks: where the whole machine slept, nobody was silent.
        passed_s = min(time.monotonic() - since, 1.0)
        for worker in list(self._workers):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._remove(worker, os.waitstatus_to_exitcode(status))
            else:
                self._look_at(worker, passed_s)
        if not (self._has_started or self._is_stopping):
            self._has_started = all(worker.is_ready for worker in self._workers)
            if self._has_started:
                self.on_ready()

    def _obey(self, number: int) -> None:
        if number != signal.SIGHUP:
            self._stop()
        elif self._has_started and not self._is_stopping:
            _log.warning("replacing the workers one by one")
            self._mark(True)

    def _mark(self, is_old: bool) -> None:
        for worker in self._running:
            worker.is_old = is_old

    def _look_at(self, worker: _Worker, passed_s: float) -> None:
        beat, now = self.shared.beats[worker.place], time.monotonic()
        worker.silent_s = worker.silent_s + passed_s if beat == worker.last_beat else 0.0
        worker.last_beat, worker.is_ready = beat, worker.is_ready or beat > 0
        if now >= worker.kill_at:
            _log.warning("worker %d does not end and is killed", worker.pid)
            worker.kill_at = now + _KILL_AFTER_S
            os.kill(worker.pid, signal.SIGKILL)
        elif worker.is_ready and not worker.is_ending and worker.silent_s > self.silence_s:
            _log.error("worker %d has stood still for %g s", worker.pid, self.silence_s)
            worker.silent_s = 0.0  # not killed again at the next look: its end takes a moment
            os.kill(worker.pid, signal.SIGKILL)

    def _remove(self, worker: _Worker, code: int) -> None:
        end = f"signal {-code}" if code < 0 else f"exit code {code}"
        self._workers.remove(worker)
        self.shared.beats[worker.place] = 0.0
        if self._is_stopping or worker.is_ending:
            return
        if not self._has_started:
            _log.error("a worker ended with %s before it was ready", end)
            self._exit_code = code if code > 0 else 1
            self._stop()
        elif not worker.is_ready and len(self._running) >= self.shared.workers:
            _log.error("the next worker could not begin, the earlier ones go on: %s", end)
            self._mark(False)
        else:
            self._start_at = 0.0 if worker.is_ready else time.monotonic() + _DELAY_S
            _log.error("worker %d ended with %s; another one starts", worker.pid, end)

    def _balance(self) -> None:
        running, wanted = self._running, self.shared.workers
        old = next((worker for worker in running if worker.is_old), None)
        if len(running) < wanted:
            if time.monotonic() >= self._start_at:
                for _ in range(wanted - len(running)):
                    self._start()
        elif old and all(worker.is_ready for worker in running):
            if len(running) > wanted:
                old.end()
            elif len(running) == len(self._workers):  # the one before has ended
                self._start()

    def _start(self) -> None:
        places = set(range(self.shared.places)) - {worker.place for worker in self._workers}
        self.shared.place = min(places)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._become_worker()
        self._workers.append(_Worker(pid, self.shared.place))

    def _become_worker(self) -> NoReturn:
        code = 1
        try:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            os.setsid()  # Ctrl-C reaches the supervisor, which tells the workers
            self.work(self.shared)
            code = 0
        except SerendipError as error:
            _log.error("the worker cannot go on: %s", error)
            code = error.exit_code
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001 - what follows the fork is the supervisor's
            _log.exception("the worker cannot go on")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _stop(self) -> None:
        self._is_stopping = True
        self.listener.close()
        for worker in self._workers:
            worker.end()
