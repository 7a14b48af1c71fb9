"""Names the parts of a request, for whoever traces them; without that it costs a look-up.

Names come from code and settings, never from a request.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Tracer = Callable[[str], AbstractContextManager[object]]

_tracers = list[Tracer]()
_NOT_TRACED: AbstractContextManager[object] = nullcontext()


def span(name: str) -> AbstractContextManager[object]:
    """Trace the block as one part of the request that is being answered."""
    return _tracers[0](name) if _tracers else _NOT_TRACED


def set_tracer(tracer: Tracer | None) -> None:
    """Begin parts of requests with a function of their name from now on; None = with none."""
    _tracers[:] = [] if tracer is None else [tracer]
