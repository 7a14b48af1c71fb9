"""Messages of the service: text or JSON lines, with the id of the request and nothing personal.

An unexpected exception may tell what a client sent: an id, a query. So its type and the places in
the code are written, and its own words only where they are about files or settings.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TextIO

from serendip.errors import (
    ArtefactError,
    ConfigError,
    ExtraMissing,
    NotTrainedError,
    SerendipError,
    StorageError,
)

IS_GONE = "serendip.is_gone"  # key of the ``state`` of an ASGI scope, see ``CurrentRequest``


@dataclass(frozen=True, slots=True)
class CurrentRequest:
    """A request that is being answered."""

    request_id: str = ""  # as in the header of the answer; empty outside a request
    is_gone: Callable[[], bool] = lambda: False  # nobody waits any more; called by any thread


_NO_REQUEST = CurrentRequest()
current_request: ContextVar[CurrentRequest] = ContextVar("serendip_request", default=_NO_REQUEST)

_ACCESS = logging.getLogger("serendip.access")
_FIELDS = "fields"  # attribute of a record with further values, such as a status
_RARELY_S = 60.0
_handler = logging.StreamHandler()

# Errors about files or settings, whose own words are written.
_IMPERSONAL = (
    *(ArtefactError, ConfigError, ExtraMissing, NotTrainedError, StorageError),
    *(OSError, ImportError, MemoryError),
)


def set_up(form: Literal["text", "json"], stream: TextIO | None = None) -> logging.Handler:
    """Write messages of Serendip, and warnings of everything else, to a stream or standard error.

    Returns the handler of the root logger.
    """
    _handler.stream = stream or sys.stderr
    _handler.setFormatter(_JsonLines() if form == "json" else _TextLines())
    logging.getLogger().addHandler(_handler)
    logging.getLogger("serendip").setLevel(logging.INFO)
    # Its warnings are about what clients send: anybody could fill the log.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    return _handler


def log_answer(method: str, route: str, status: int, seconds: float) -> None:
    """Write a line about an answer: no address, no parameters, nothing of its content."""
    fields = {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 2)}
    _ACCESS.info("%s %s %d %.1f ms", *fields.values(), extra={_FIELDS: fields})


class FailureLog:
    """Writes failures that recur: of each kind the first one in a minute."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger, self._clock = logger, clock
        # When one of a kind was written, and how many came since.
        self._written: dict[tuple[str, type[Exception]], tuple[float, int]] = {}

    def write(self, message: str, error: Exception) -> None:
        """Write a message, always the same, about a failure, or count it for the next message."""
        now, kind = self._clock(), (message, type(error))
        at, more = self._written.get(kind, (-math.inf, 0))
        if now - at < _RARELY_S:
            self._written[kind] = (at, more + 1)
            return
        self._written[kind] = (now, 0)
        before = f" ({more} more before)" if more else ""
        if isinstance(error, SerendipError):
            self._logger.warning("%s: %s%s", message, error, before)
        else:
            self._logger.error("%s%s", message, before, exc_info=error)


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        words = " ".join(record.getMessage().splitlines())
        line = f"{_moment(record)} {record.levelname} {record.name}: {words}"
        if request_id := current_request.get().request_id:
            line += f" (request {request_id})"
        return "\n".join([line, *(f"  {place}" for place in _describe(record))])


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": current_request.get().request_id,
            **getattr(record, _FIELDS, {}),
            "error": list(_describe(record)),
        }
        told = {name: value for name, value in document.items() if value not in ("", [])}
        return json.dumps(told, ensure_ascii=False, default=str)


def _moment(record: logging.LogRecord) -> str:
    return f"{datetime.fromtimestamp(record.created, UTC):%FT%T}.{int(record.msecs):03d}Z"


def _describe(record: logging.LogRecord) -> Iterator[str]:
    # The exception, its causes, and for each the places in the code, innermost last.
    error, seen = record.exc_info[1] if record.exc_info else None, set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        name = type(error).__qualname__
        yield f"{name}: {error}" if isinstance(error, _IMPERSONAL) else name
        for frame in traceback.extract_tb(error.__traceback__):
            yield f"at {frame.filename}:{frame.lineno} {frame.name}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
