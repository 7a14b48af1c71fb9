"""Size limits of items and events, the same for files, the HTTP API and the store.

With one set of limits, whatever one of them accepts can be read, changed and deleted by the others.
"""

from __future__ import annotations

MAX_ID_BYTES = 512  # UTF-8, of each kind of id and of the name of an attribute
RESERVED_ENDING = "/similar"  # of no item id: ``/v1/items/ID/similar`` returns similar items
MAX_TEXT_CHARS = 64 * 1024  # of a title, description, attribute or value of a list
MAX_ITEM_CHARS = 1024 * 1024  # of all texts of one item together
MAX_ATTRIBUTES = 256  # of one item
MAX_ATTRIBUTE_VALUES = 10_000  # in one list
MAX_QUERY_CHARS = 1024
MAX_POSITION = 2**31 - 1  # in an answer
EARLIEST, LATEST = -62_135_596_800.0, 253_402_300_799.0  # Unix seconds of the years 1 to 9999
MAX_CLOCK_LEAD_S = 24 * 3600.0  # of the timestamp of an event of the API before the server's clock
MAX_ROW_CHARS = 16 * 1024 * 1024  # of a row or cell of a file; a longer one is refused unread
# Of one field that a text encoder reads; further ones drown title and people and cost time.
MAX_ENCODED_FIELD_CHARS = 160
# Of a text that an encoder reads, more than 512 tokens in most languages; the rest is indexed for
# lexical search only.
MAX_ENCODED_CHARS = 4096
