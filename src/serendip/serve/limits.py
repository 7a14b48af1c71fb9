"""Limits on requests, always enforced; those on items and events are in ``data.limits``."""

from __future__ import annotations

MAX_BODY_BYTES = 8 * 1024 * 1024
"""Bytes of a body of who shows a key, or while there are no keys."""

MAX_VISITOR_BODY_BYTES = 64 * 1024
"""Bytes of a body of who shows no key, and of a form of the page."""

MAX_HEAD_BYTES = 64 * 1024
"""Bytes of the first line and the headers of a request together."""

MIN_BYTES_PER_S = 16 * 1024
"""A body may take so much longer than ``receive_timeout_s`` as it takes at this speed."""

MAX_UNREAD_S = 60.0
"""Seconds in which a client must read something of an answer."""

KEEP_ALIVE_S = 75
"""Seconds that a connection without a request stays open."""

MAX_JSON_NODES = 200_000
"""Lists and objects in a body, brackets in texts included."""

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

MAX_FILTERS = 20
"""Tests of attributes per request."""

MAX_FACETS = 10
"""Attributes per request whose values are counted."""

MAX_CONNECTIONS = 4_096
"""Open connections of a worker, or fewer where the system allows it fewer open files."""

FILES_BESIDE = 256
"""Open files that a worker needs beside its connections."""

MAX_SILENCE_S = 30.0
"""Seconds in which the event loop of a worker must go round once, or the worker is replaced."""

DRAIN_S = 10
"""Seconds that running requests get to finish when the service, or one worker of it, ends."""
