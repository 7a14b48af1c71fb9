"""Size limits of items and events, the same for files, the HTTP API and the store.

With one set of limits, whatever one of them accepts can be read, changed and deleted by the others.
"""

from __future__ import annotations

MAX_ID_BYTES = 512
"""UTF-8 bytes of an item, user, request, session or event id, and of the name of an attribute."""

RESERVED_ENDING = "/similar"
"""Suffix that no item id may have: ``/v1/items/ID/similar`` returns similar items."""

MAX_TEXT_CHARS = 64 * 1024
"""Characters of one text of an item: title, description, attribute, value of a list."""

MAX_ITEM_CHARS = 1024 * 1024
"""Characters of all texts of one item together."""

MAX_ATTRIBUTES = 256
"""Attributes of one item."""

MAX_ATTRIBUTE_VALUES = 10_000
"""Values in one list attribute."""

MAX_QUERY_CHARS = 1024
"""Characters of a search query."""

MAX_POSITION = 2**31 - 1
"""Largest position in an answer."""

EARLIEST, LATEST = -62_135_596_800.0, 253_402_300_799.0
"""Unix seconds of the years 1 to 9999, the range of calendar dates."""

MAX_CLOCK_LEAD_S = 24 * 3600.0
"""Seconds by which the timestamp of an event of the API may exceed the server's clock."""

MAX_ROW_CHARS = 16 * 1024 * 1024
"""Characters of one row or cell of a file; a longer one is refused unread."""

MAX_ENCODED_FIELD_CHARS = 160
"""Characters of one field of an item that a text encoder reads; further ones drown title and people
and cost time."""

MAX_ENCODED_CHARS = 4096
"""Characters of a text that a text encoder reads, more than 512 tokens in most languages; the rest
is indexed for lexical search only."""
