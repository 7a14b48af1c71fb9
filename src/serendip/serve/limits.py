"""Every limit on requests, in one place. All of them are always on.

What an item or an event may hold is in ``data.limits``: files meet the same limits.
"""

from __future__ import annotations

MAX_BODY_BYTES = 8 * 1024 * 1024
"""Bytes of one request body, counted while it streams in."""

MAX_DRAIN_BYTES = 64 * 1024 * 1024
"""Bytes of a too large body that are read and dropped so that the client can read the answer."""

MAX_JSON_DEPTH = 32
"""Nested lists and objects in one body."""

MAX_K = 1000
"""Items in one answer."""

MAX_CURSOR_CHARS = 1024
"""Characters of a cursor; cursors come from the service itself."""

MAX_BATCH = 10_000
"""Events or items in one body."""

MAX_WAITING_WRITES = 64
"""Writes that wait for the one being written; more are refused, to be sent again."""

MAX_SOURCE_ITEMS = 100
"""Items that a request may name as its context: a cart, the item looked at."""

MAX_CLOCK_LEAD_S = 24 * 3600.0
"""How far ahead of the server's clock an event may lie."""
