"""How much somebody may send, counted in the memory of one worker.

The generic cell rate algorithm (ITU-T I.371), a token bucket that stores one number per sender: so
much at once as the limit, and so much per period on average. Only the event loop calls it.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable

MINUTE_S, HOUR_S = 60.0, 3600.0
_MAX_SENDERS = 100_000
"""Senders that are counted; of more, the half that may soonest send everything is forgotten."""


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


class RateLimit:
    """A limit for each sender.

    Args:
        limit: for a period, at least 1; None = no limit.
        period_s: seconds of a period.
        clock: seconds of a monotonic clock.
    """

    def __init__(
        self,
        limit: int | None,
        period_s: float = MINUTE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._period_s, self._clock = limit, period_s, clock
        self._busy_until: dict[str, float] = {}

    def take(self, sender: str, count: int = 1) -> float:
        """Count what a sender sends if that is not too much; more than the limit at once always is.

        Returns:
            seconds after which it is not too much any more; 0 = it counts.
        """
        if self._limit is None:
            return 0.0
        now, step_s = self._clock(), count * self._period_s / self._limit
        busy_until = max(self._busy_until.get(sender, now), now) + step_s
        wait_s = busy_until - now - self._period_s
        if wait_s > 1e-6:
            return wait_s
        self._busy_until[sender] = busy_until
        if len(self._busy_until) > _MAX_SENDERS:
            latest = sorted(self._busy_until.items(), key=lambda pair: pair[1])
            self._busy_until = dict(latest[_MAX_SENDERS // 2 :])
        return 0.0
