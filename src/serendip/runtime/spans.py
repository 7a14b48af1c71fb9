"""How long the parts of one request take: named spans, kept only where somebody asks for them.

Code that answers names its parts with ``span``. Without a log of the running thread or task that
costs a look-up and nothing is kept. Names come from code and settings, never from a request.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import NamedTuple


class Span(NamedTuple):
    """A part of a request that has ended.

    Args:
        name: of the part.
        begin_ns: Unix nanoseconds.
        end_ns: Unix nanoseconds.
        failed: whether an exception ended it.
    """

    name: str
    begin_ns: int
    end_ns: int
    failed: bool = False


class SpanLog:
    """The spans of one request: written by the thread that answers, read once it has answered.

    Attributes:
        begin_ns: Unix nanoseconds at which the request came.
        spans: that have ended, in order of their ends.
    """

    __slots__ = ("begin_ns", "spans")

    def __init__(self) -> None:
        self.begin_ns = time.time_ns()
        self.spans: list[Span] = []


_NOT_KEPT: AbstractContextManager[None] = nullcontext()
_current: ContextVar[SpanLog | None] = ContextVar("serendip_spans", default=None)


def set_span_log(log: SpanLog | None) -> None:
    """Keep the spans of the running thread or task in a log from now on; None = in none."""
    _current.set(log)


def span(name: str) -> AbstractContextManager[None]:
    """Measure the block as one part of the request that is being answered."""
    log = _current.get()
    return _NOT_KEPT if log is None else _Timer(log, name)


class _Timer(AbstractContextManager[None]):
    """Adds one span to a log."""

    __slots__ = ("_begin_ns", "_log", "_name")

    def __init__(self, log: SpanLog, name: str) -> None:
        self._log, self._name = log, name

    def __enter__(self) -> None:
        self._begin_ns = time.time_ns()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        ended = time.time_ns()
        self._log.spans.append(Span(self._name, self._begin_ns, ended, kind is not None))
