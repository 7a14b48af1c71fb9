"""Time of a job, of which a training may take what is left, and of an answer.

Wall-clock time, so a training that its budget cuts short does not give the same numbers twice. One
that ends within its time gives the same numbers as without a budget.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any

from serendip.errors import ConfigError

Clock = Callable[[], float]

_LEAST_SPENT = 0.05  # share of the time from which on the pace is judged: first steps are slower
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``90s``, ``10m``, ``1.5h`` or ``7d``.

    Raises:
        ConfigError: it is not a number above 0 with a unit.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if seconds <= 0:
        raise ConfigError(
            f"{text!r} is not a duration.", 'Give a number above 0 and s, m, h or d, such as "10m".'
        )
    return seconds


@dataclass(frozen=True, slots=True)
class CutShort:
    """A training that ended because its time was over.

    Args:
        done: share of its planned steps, in [0, 1).
        continues: whether it began with what an earlier training, or all passes of this one but the
            last, have learned, and so keeps that.
        steps: optimiser steps that it made; 0 for one that learns by no optimiser.
    """

    name: str
    done: float
    seconds: float
    continues: bool = False
    steps: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Allowance:
    """Time that a job, or one training of it, may take.

    Args:
        name: of the training; empty = of a whole job.
        seconds: its time; infinite = unlimited.
        start: on ``clock``.
        clock: seconds since any moment.
    """

    name: str = ""
    seconds: float = math.inf
    start: float = 0.0
    clock: Clock = time.monotonic
    cuts: list[CutShort] = field(default_factory=list)

    def spent(self) -> float:
        """Share of the time that has passed, at most 1; 0 if it is unlimited."""
        if self.seconds <= 0:
            return 1.0
        return min(1.0, (self.clock() - self.start) / self.seconds)

    @property
    def is_over(self) -> bool:
        """True once all of the time has passed."""
        return self.spent() >= 1.0

    def pace(self, done: float) -> float:
        """Share of a training that is over, for schedules such as that of the learning rate.

        ``done`` of its planned steps, unless the time ends before the steps at their present pace:
        then the share of the time.
        """
        spent = self.spent()
        return done if spent < _LEAST_SPENT else max(done, spent)

    def from_now(self, share: float, part: str = "") -> Allowance:
        """A share in (0, 1] of the time that is left from now on, for a ``part`` of the training or
        the whole of it.
        """
        now = self.clock()
        left = max(0.0, self.seconds - (now - self.start))
        name = f"{self.name} {part}".strip()
        return Allowance(name, share * left, now, self.clock, self.cuts)

    def cut(self, done: float, continues: bool = False, steps: int = 0) -> None:
        """Note, once, that the training ended after a share ``done`` of its planned steps.

        At 1 nothing is noted; ``continues`` and ``steps`` are as in ``CutShort``.
        """
        if done < 1 and all(cut.name != self.name for cut in self.cuts):
            seconds = round(self.seconds, 1)
            self.cuts.append(CutShort(self.name, round(done, 3), seconds, continues, steps))

    def as_dict(self) -> dict[str, Any]:
        """Seconds (None = unlimited) and the trainings that were cut short, for JSON."""
        seconds = None if math.isinf(self.seconds) else self.seconds
        return {"seconds": seconds, "cut_short": [asdict(cut) for cut in self.cuts]}


UNLIMITED = Allowance()


def open_budget(seconds: float | None = None, clock: Clock = time.monotonic) -> Allowance:
    """Time of a whole job, from now on; None = unlimited."""
    return Allowance("", math.inf if seconds is None else seconds, clock(), clock)


_limit: ContextVar[tuple[float, float] | None] = ContextVar("serendip_time_limit", default=None)


@contextmanager
def time_limit(begin: float, end: float) -> Iterator[None]:
    """Compute an answer in the block, from and until a ``time.monotonic()``."""
    token = _limit.set((begin, end))
    try:
        yield
    finally:
        _limit.reset(token)


def share_of_time() -> float:
    """Share of the time for the present answer that is over: 1 or more = it is late."""
    limit = _limit.get()
    if limit is None:
        return 0.0
    begin, end = limit
    return (time.monotonic() - begin) / (end - begin) if end > begin else 1.0
