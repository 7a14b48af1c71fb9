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
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TextIO, TypeAlias

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
    """A request that is being answered.

    Args:
        request_id: as in the header of the answer; empty outside a request.
        is_gone: whether nobody waits for the answer any more; called by any thread.
    """

    request_id: str = ""
    is_gone: Callable[[], bool] = lambda: False


_NO_REQUEST = CurrentRequest()
current_request: ContextVar[CurrentRequest] = ContextVar("serendip_request", default=_NO_REQUEST)

LogFormat: TypeAlias = Literal["text", "json"]

_ACCESS = logging.getLogger("serendip.access")
_FIELDS = "fields"  # attribute of a record with further values, such as a status
_RARELY_S = 60.0
_handler = logging.StreamHandler()

# Errors about files or settings, whose own words are written.
_IMPERSONAL = (
    *(ArtefactError, ConfigError, ExtraMissing, NotTrainedError, StorageError),
    *(OSError, ImportError, MemoryError),
)


def set_up(form: LogFormat, stream: TextIO | None = None) -> logging.Handler:
    """Write messages of Serendip, and warnings of everything else, in this form from now on.

    Returns:
        the handler of the root logger, which writes to the stream or to standard error.
    """
    _handler.stream = stream or sys.stderr
    _handler.setFormatter(_Lines(form))
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
    """Writes failures that recur: of each type the first one in a minute."""

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


class _Lines(logging.Formatter):
    def __init__(self, form: LogFormat) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        moment = f"{datetime.fromtimestamp(record.created, UTC):%FT%T}.{int(record.msecs):03d}Z"
        request_id = current_request.get().request_id
        places = list(_describe(record.exc_info[1] if record.exc_info else None))
        if self._form == "text":
            words = " ".join(record.getMessage().splitlines())
            line = f"{moment} {record.levelname} {record.name}: {words}"
            line += f" (request {request_id})" if request_id else ""
            return "\n".join([line, *(f"  {place}" for place in places)])
        document = {
            "time": moment,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **({"request_id": request_id} if request_id else {}),
            **getattr(record, _FIELDS, {}),
            **({"error": places} if places else {}),
        }
        return json.dumps(document, ensure_ascii=False, default=str)


def _describe(error: BaseException | None) -> Iterator[str]:
    """The exception, its causes, and for each the places in the code, innermost last."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        name = type(error).__qualname__
        yield f"{name}: {error}" if isinstance(error, _IMPERSONAL) else name
        for frame in traceback.extract_tb(error.__traceback__):
            yield f"at {frame.filename}:{frame.lineno} {frame.name}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
