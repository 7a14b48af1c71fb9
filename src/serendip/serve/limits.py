"""Limits on requests, always enforced; those on items and events are in ``data.limits``."""

from __future__ import annotations

MAX_BODY_BYTES = 8 * 1024 * 1024  # of who shows a key, or while there are no keys
MAX_VISITOR_BODY_BYTES = 64 * 1024  # of who shows no key, and of a form of the page
MAX_HEAD_BYTES = 64 * 1024  # the first line and the headers of a request together
MIN_BYTES_PER_S = 16 * 1024  # a body may take so much longer than ``receive_timeout``
MAX_UNREAD_S = 60.0  # in which a client must read something of an answer
KEEP_ALIVE_S = 75  # that a connection without a request stays open
MAX_JSON_NODES = 200_000  # lists and objects in a body, brackets in texts included
MAX_K = 1000  # items per answer
MAX_CURSOR_CHARS = 54_000  # of 10,000 items that were shown before
MAX_BATCH = 10_000  # events or items per body
MAX_VISITOR_EVENTS = 100  # per body from a visitor of the page, who shows no key
MAX_WAITING_WRITES = 64  # besides the running one; further ones are refused with the hint to retry
MAX_SOURCE_ITEMS = 100  # context items per request: the cart, the current item
MAX_FILTERS = 20  # tests of attributes per request
MAX_FACETS = 10  # attributes per request whose values are counted
MAX_FIELDS = 50  # attributes per request that items carry
MAX_CONNECTIONS = 4_096  # of a worker, or fewer where the system allows it fewer open files
FILES_BESIDE = 256  # open files that a worker needs beside its connections
MAX_SILENCE_S = 30.0  # in which the event loop of a worker must go round once, or it is replaced
DRAIN_S = 10  # that running requests get to finish when the service, or one worker of it, ends
