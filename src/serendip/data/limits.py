"""What an item or an event may hold, wherever it comes from: files, the HTTP API, the store.

One set for all doors: what one of them takes can be read, changed and deleted by the others.
"""

from __future__ import annotations

MAX_ID_BYTES = 512
"""UTF-8 bytes of an item, user, request, session or event id, and of the name of an attribute."""

RESERVED_ENDING = "/similar"
"""No item id ends so: ``/v1/items/ID/similar`` asks for what is like ID."""

MAX_TEXT_CHARS = 64 * 1024
"""Characters of one text of an item: its title, its description, an attribute, a word of a list."""

MAX_ITEM_CHARS = 1024 * 1024
"""Characters of all texts of one item together."""

MAX_ATTRIBUTES = 256
"""Attributes of one item."""

MAX_ATTRIBUTE_VALUES = 10_000
"""Words in one attribute that is a list."""

MAX_QUERY_CHARS = 1024
"""Characters of a typed query."""

MAX_POSITION = 2**31 - 1
"""The last place in an answer."""

EARLIEST, LATEST = -62_135_596_800.0, 253_402_300_799.0
"""Unix seconds of the years 1 to 9999: beyond them no calendar can print the time."""

MAX_ROW_CHARS = 16 * 1024 * 1024
"""Characters of one row or cell of a file; more of it is not even looked at."""

MAX_ENCODED_CHARS = 4096
"""Characters that a text encoder reads of a text, more than 512 tokens of most languages; what
comes later is searched by its words, and says nothing of what the item is about."""
