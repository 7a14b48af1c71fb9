"""A process beside the workers of a service that answers no request: it trains.

The supervisor forks it as it forks workers, so that it ends with the service in every way: by the
signal, or because the channel to the supervisor is closed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from serendip.serve.limits import DRAIN_S
from serendip.serve.workers.worker_channel import WorkerChannel

_HARD_END_S = DRAIN_S + 5.0


@dataclass(frozen=True, slots=True)
class Companion:
    """What the process does.

    Args:
        is_wanted: whether there is anything to do; asked once the workers are ready and at SIGHUP,
            in the supervisor, so it starts no thread.
        work: until SIGTERM, which raises ``SystemExit``; returns earlier if nothing is left to do.
    """

    is_wanted: Callable[[], bool]
    work: Callable[[], None]

    def run(self, channel: WorkerChannel) -> None:
        """Work in this process until SIGTERM, or until the supervisor ends."""
        signal.signal(signal.SIGTERM, _exit_once)
        threading.Thread(target=_end_with_supervisor, args=(channel,), daemon=True).start()
        self.work()


def _exit_once(number: int, frame: FrameType | None) -> None:
    """Signal handler that leaves all ``with`` blocks, undisturbed by a second signal."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _end_with_supervisor(channel: WorkerChannel) -> None:
    channel.wait_for_end()
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_HARD_END_S)
    os._exit(1)
