"""Every limit on what a request may carry, in one place. All of them are always on."""

from __future__ import annotations

MAX_BODY_BYTES = 8 * 1024 * 1024
"""Bytes of one request body, counted while it streams in."""

MAX_DRAIN_BYTES = 64 * 1024 * 1024
"""Bytes of a too large body that are read and dropped so that the client can read the answer."""

MAX_JSON_DEPTH = 32
"""Nested lists and objects in one body."""

MAX_K = 1000
"""Items in one answer."""

MAX_QUERY_CHARS = 1024
"""Characters of a typed query."""

MAX_ID_BYTES = 256
"""UTF-8 bytes of an item, user, request, session or event id."""

MAX_CURSOR_CHARS = 1024
"""Characters of a cursor; cursors come from the service itself."""

MAX_TEXT_CHARS = 64 * 1024
"""Characters of one text field of an item."""

MAX_BATCH = 10_000
"""Events or items in one body."""

MAX_WAITING_WRITES = 64
"""Writes that wait for the one being written; more are refused, to be sent again."""

MAX_ATTRIBUTES = 64
"""Attributes of one item."""

MAX_ATTRIBUTE_VALUES = 10_000
"""Words in one attribute that is a list."""

MAX_SOURCE_ITEMS = 100
"""Items that a request may name as its context: a cart, the item looked at."""

LATEST_TIMESTAMP = 253_402_300_800.0
"""Unix seconds of the year 10000: what lies after it is no time."""

MAX_CLOCK_LEAD_S = 24 * 3600.0
"""How far ahead of the server's clock an event may lie."""
