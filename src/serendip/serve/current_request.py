"""The request that the running code answers: its id, and whether its client is still there.

The middleware sets it. It is a context variable, so that code between the middleware and the engine
need not pass it on; threads that compute an answer set it for themselves.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field

from serendip.runtime.spans import SpanLog, set_span_log

CLIENT = "serendip.client"
"""Key of the ``state`` of an ASGI scope, with the ``Client`` of the connection."""


class Client:
    """Who waits at the other end of a connection.

    Attributes:
        address: of the connection, a proxy's where there is one; empty = not known.
        is_gone: whether nobody waits any more; set by the event loop, read by any thread.
    """

    __slots__ = ("address", "is_gone")

    def __init__(self) -> None:
        self.address, self.is_gone = "", False


@dataclass(frozen=True, slots=True)
class CurrentRequest:
    """A request that is being answered.

    Args:
        request_id: as in the header of the answer; empty outside a request.
        client: that waits for the answer.
        spans: how long its parts take; None = nobody asks.
    """

    request_id: str = ""
    client: Client = field(default_factory=Client)
    spans: SpanLog | None = None


_NO_REQUEST = CurrentRequest()
_current: ContextVar[CurrentRequest] = ContextVar("serendip_request", default=_NO_REQUEST)


def get_current_request() -> CurrentRequest:
    """The request that the running code answers; one without an id outside a request."""
    return _current.get()


def set_current_request(request: CurrentRequest) -> None:
    """Say which request the running task or thread answers from now on."""
    _current.set(request)
    set_span_log(request.spans)
