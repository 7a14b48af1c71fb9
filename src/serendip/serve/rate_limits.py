"""How many requests a key or an address may send per minute, and how often one does the same.

The generic cell rate algorithm (ITU-T I.371), a token bucket that stores one number per sender: as
many requests as the limit at once, and as many per minute on average. Each worker counts for
itself. Only the event loop calls it.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable

from serendip.errors import RateLimitError

MINUTE_S, HOUR_S = 60.0, 3600.0
_MAX_SENDERS = 200_000
"""Senders that are counted; of more, the half that was counted first is forgotten."""

_FIRST_SWEEP = 1_024


def name_sender(host: str) -> str:
    """Who sends from an address, as errors name them; of IPv6 a network is one sender's."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return f"address {host[:80]}"
    if isinstance(address, ipaddress.IPv4Address):
        return f"address {address}"
    if address.ipv4_mapped is not None:  # a socket for both versions
        return f"address {address.ipv4_mapped}"
    return f"network {ipaddress.ip_network((address, 64), strict=False)}"


class RateLimits:
    """Counts what senders do, in one worker.

    Args:
        limit: of senders without one of their own, per period; None = no limit.
        what: that is counted, in the words of the error.
        setting: of ``[serve]``, that has the limit.
        period_s: seconds that the limit is for.
        clock: seconds of a monotonic clock.
    """

    def __init__(
        self,
        limit: int | None = None,
        what: str = "requests",
        setting: str = "requests_per_minute",
        period_s: float = MINUTE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._what, self._setting = limit, what, setting
        self._period_s, self._clock = period_s, clock
        self._busy_until: dict[str, float] = {}
        self._sweep_at = _FIRST_SWEEP

    def take(self, sender: str, own_limit: int | None = None, count: int = 1) -> None:
        """Count what a sender does.

        Args:
            sender: as the error names them.
            own_limit: of this sender; None = as for everybody.
            count: how much it is; more than the limit at once is never accepted.

        Raises:
            RateLimitError: it is too much; none of it counts.
        """
        limit = self._limit if own_limit is None else own_limit
        if limit is not None and (wait_s := self._count(sender, count / limit)) > 1e-6:
            raise RateLimitError(
                f"{sender} may send {limit} {self._what} per minute.",
                f"Send fewer, or raise the limit: {self._setting} of [serve], or that of a key.",
                math.ceil(wait_s),
            )

    def allows(self, sender: str) -> bool:
        """Count one more of a sender if that is not too much; whether it counts."""
        return self._limit is None or self._count(sender, 1 / self._limit) <= 1e-6

    def _count(self, sender: str, share: float) -> float:
        """Count a share of the limit; seconds until that is possible, 0 = it counts."""
        now, step_s = self._clock(), share * self._period_s
        busy_until = max(self._busy_until.get(sender, now), now)
        wait_s = busy_until + step_s - now - self._period_s
        if wait_s <= 1e-6:
            self._busy_until[sender] = busy_until + step_s
            if len(self._busy_until) >= self._sweep_at:
                self._sweep(now)
        return wait_s

    def _sweep(self, now: float) -> None:
        """Forget the senders that could send their whole limit at once again."""
        kept = {sender: until for sender, until in self._busy_until.items() if until > now}
        for sender in list(kept)[: max(0, len(kept) - _MAX_SENDERS // 2)]:
            del kept[sender]
        self._busy_until = kept
        self._sweep_at = max(_FIRST_SWEEP, 2 * len(kept))
