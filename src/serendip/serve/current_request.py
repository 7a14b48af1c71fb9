"""The request that the running code answers: its id, and whether its client is still there.

The middleware sets it, as a context variable; threads run in a copy of the context of the request.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

IS_GONE = "serendip.is_gone"
"""Key of the ``state`` of an ASGI scope, see ``CurrentRequest``."""


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
