"""The request that the running code answers: its id, and whether its client is still there.

The middleware sets it, as a context variable; threads run in a copy of the context of the request.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field

CLIENT = "serendip.client"
"""Key of the ``state`` of an ASGI scope, with the ``Client`` of the connection."""


class Client:
    """Who waits at the other end of a connection.

    Attributes:
        is_proxy: whether it is a trusted proxy.
        is_gone: whether nobody waits any more; set by the event loop, read by any thread.
    """

    __slots__ = ("is_gone", "is_proxy")

    def __init__(self) -> None:
        self.is_gone = self.is_proxy = False


@dataclass(frozen=True, slots=True)
class CurrentRequest:
    """A request that is being answered.

    Args:
        request_id: as in the header of the answer; empty outside a request.
        client: that waits for the answer.
    """

    request_id: str = ""
    client: Client = field(default_factory=Client)


_NO_REQUEST = CurrentRequest()
current_request: ContextVar[CurrentRequest] = ContextVar("serendip_request", default=_NO_REQUEST)
