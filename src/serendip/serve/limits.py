"""Limits on requests, always enforced.

Limits on items and events are in ``data.limits``, as they apply to files too.
"""

from __future__ import annotations

MAX_BODY_BYTES = 8 * 1024 * 1024
"""Bytes of a request body, counted while it is received."""

MAX_DRAIN_BYTES = 64 * 1024 * 1024
"""Bytes of a too large body that are read and discarded, so that the client can read the error."""

MAX_JSON_DEPTH = 32
"""Nesting depth of lists and objects in a body."""

MAX_K = 1000
"""Items per answer."""

MAX_CURSOR_CHARS = 1024
"""Characters of a cursor; the service itself issues cursors."""

MAX_BATCH = 10_000
"""Events or items per body."""

MAX_VISITOR_EVENTS = 100
"""Events per body from a visitor of the page, who shows no key."""

MAX_WAITING_WRITES = 64
"""Queued writes; further ones are refused with the hint to retry."""

MAX_SOURCE_ITEMS = 100
"""Context items per request: the cart, the current item."""

MAX_CLOCK_LEAD_S = 24 * 3600.0
"""Seconds by which the timestamp of an event may exceed the server's clock."""

DRAIN_S = 10
"""Seconds that running requests get to finish when the service, or one worker of it, ends."""
