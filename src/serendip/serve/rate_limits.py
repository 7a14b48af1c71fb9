"""How many requests a key or an address may send per minute.

The generic cell rate algorithm (ITU-T I.371), a token bucket that stores one number per sender: as
many requests as the limit at once, and as many per minute on average. Each worker counts for
itself. Only the event loop calls it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from serendip.errors import RateLimitError

_MINUTE_S = 60.0
_MAX_SENDERS = 200_000
"""Senders that are counted; of more, the half that was counted first is forgotten."""

_FIRST_SWEEP = 1_024


class RateLimits:
    """Counts the requests of one worker.

    Args:
        requests_per_minute: limit of senders without one of their own; None = no limit.
        clock: seconds of a monotonic clock.
    """

    def __init__(
        self,
        requests_per_minute: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._clock = requests_per_minute, clock
        self._busy_until: dict[str, float] = {}
        self._sweep_at = _FIRST_SWEEP

    def take(self, sender: str, own_limit: int | None = None) -> None:
        """Count a request.

        Args:
            sender: of the request, as the error names them.
            own_limit: requests per minute; None = as for everybody.

        Raises:
            RateLimitError: it is one too many; it does not count.
        """
        limit = self._limit if own_limit is None else own_limit
        if limit is None:
            return
        now, step_s = self._clock(), _MINUTE_S / limit
        busy_until = max(self._busy_until.get(sender, now), now)
        wait_s = busy_until + step_s - now - _MINUTE_S
        if wait_s > 1e-6:
            raise RateLimitError(
                f"{sender} may send {limit} requests per minute.",
                "Send fewer, or raise the limit: requests_per_minute of [serve], or that of a key.",
                math.ceil(wait_s),
            )
        self._busy_until[sender] = busy_until + step_s
        if len(self._busy_until) >= self._sweep_at:
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        """Forget the senders that could send their whole limit at once again."""
        kept = {sender: until for sender, until in self._busy_until.items() if until > now}
        for sender in list(kept)[: max(0, len(kept) - _MAX_SENDERS // 2)]:
            del kept[sender]
        self._busy_until = kept
        self._sweep_at = max(_FIRST_SWEEP, 2 * len(kept))
