"""Messages of the service: text or JSON lines, with the id of the request and nothing personal.

What an unexpected exception says may hold what a client sent: an id, a query. So its type and the
places in the code are written, and its own words only where they are about files or settings.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Literal, TextIO, TypeAlias

from serendip.errors import (
    ArtefactError,
    ConfigError,
    ExtraMissing,
    NotTrainedError,
    SerendipError,
    StorageError,
)
from serendip.serve.current_request import get_current_request

LogFormat: TypeAlias = Literal["text", "json"]

ACCESS = "serendip.access"
"""Logger of the answers."""

FIELDS = "fields"
"""Attribute of a record with further values, such as a status: a flat mapping."""

_RARELY_S = 60.0

_IMPERSONAL = (ArtefactError, ConfigError, ExtraMissing, NotTrainedError, StorageError)
_IMPERSONAL_OF_PYTHON = (OSError, ImportError, MemoryError)


def set_up(form: LogFormat, stream: TextIO | None = None) -> logging.Handler:
    """Write messages of Serendip, and warnings of everything else, in this form from now on.

    Of the HTTP server only errors are written.

    Args:
        form: of a message.
        stream: to write to; None = standard error.

    Returns:
        the handler of the root logger.
    """
    root = logging.getLogger()
    for earlier in [one for one in root.handlers if isinstance(one, _Handler)]:
        root.removeHandler(earlier)
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(_JsonLines() if form == "json" else _TextLines())
    root.addHandler(handler)
    logging.getLogger("serendip").setLevel(logging.INFO)
    # Its warnings are about what clients send, with advice that is wrong here: anybody could fill
    # the log.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    return handler


def log_answer(method: str, route: str, status: int, seconds: float) -> None:
    """Write a line about an answer: no address, no parameters, nothing of its content.

    Args:
        method: of the request.
        route: pattern of the route.
        status: of the answer.
        seconds: it took.
    """
    milliseconds = round(seconds * 1000, 2)
    logging.getLogger(ACCESS).info(
        "%s %s %d %.1f ms",
        *(method, route, status, milliseconds),
        extra={
            FIELDS: {"method": method, "route": route, "status": status, "ms": milliseconds},
        },
    )


class FailureLog:
    """Writes failures that answers survive: of each type the first one in a minute.

    Args:
        logger: to write to.
        clock: seconds of a monotonic clock.
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger, self._clock = logger, clock
        self._written: dict[type[Exception], tuple[float, int]] = {}  # when; how many since

    def write(self, message: str, error: Exception) -> None:
        """Write a message about a failure, or count the failure for the next message."""
        now = self._clock()
        at, more = self._written.get(type(error), (-math.inf, 0))
        if now - at < _RARELY_S:
            self._written[type(error)] = (at, more + 1)
            return
        self._written[type(error)] = (now, 0)
        before = f" ({more} more before)" if more else ""
        if isinstance(error, SerendipError):
            self._logger.warning("%s: %s%s", message, error, before)
        else:
            self._logger.error("%s%s", message, before, exc_info=error)


class _Handler(logging.StreamHandler[TextIO]):
    """The one that ``set_up`` adds."""


class _TextLines(logging.Formatter):
    """One line per message, and lines of the places in the code if there was an exception."""

    def format(self, record: logging.LogRecord) -> str:
        request_id = get_current_request().request_id
        words = " ".join(record.getMessage().splitlines())
        line = f"{_time(record)} {record.levelname} {record.name}: {words}"
        line += f" (request {request_id})" if request_id else ""
        error = record.exc_info[1] if record.exc_info else None
        return "\n".join([line, *(f"  {place}" for place in describe_error(error))])


class _JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        request_id = get_current_request().request_id
        document = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **({"request_id": request_id} if request_id else {}),
            **getattr(record, FIELDS, {}),
        }
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            document["error"] = list(describe_error(error))
        return json.dumps(document, ensure_ascii=False, default=str)


def describe_error(error: BaseException | None) -> Iterator[str]:
    """The exception, its causes, and for each the places in the code, innermost last."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        name = type(error).__qualname__
        yield f"{name}: {error}" if _is_impersonal(error) else name
        for frame in traceback.extract_tb(error.__traceback__):
            yield f"at {frame.filename}:{frame.lineno} {frame.name}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _is_impersonal(error: BaseException) -> bool:
    return isinstance(error, _IMPERSONAL) or isinstance(error, _IMPERSONAL_OF_PYTHON)


def _time(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"
