"""SQL that reads the cells of a table as the readers of rows do: texts, numbers, times.

Whatever a valid row says, an expression here says the same, or NULL: then ``readers`` reads the row
again with Python, which accepts more spellings and words the errors.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

_WHITESPACE = "".join(sign for sign in map(chr, range(sys.maxunicode + 1)) if sign.isspace())

# Other spellings of a number ("1_000", "1e400") are read with Python.
_NUMBER = r"-?[0-9]{1,15}(\.[0-9]{0,15})?([eE][+-]?[0-9]{1,2})?"


@dataclass(frozen=True, slots=True)
class CellSql:
    """SQL of the cells of one column.

    Args:
        text: VARCHAR; NULL if the cell is empty or a list.
        items: VARCHAR[]; NULL if the cell is not a list. Empty = no cell is.
        number: DOUBLE that is exactly the number which the text spells; empty = see the text.
        seconds: DOUBLE, Unix seconds of a cell that is a time in the file; empty = it is none.
        moment: TIMESTAMP of a cell that is a time without a time zone; empty = it is none.
    """

    text: str
    items: str = ""
    number: str = ""
    seconds: str = ""
    moment: str = ""


MEDIA_FOLDER = "media"
"""Folder of a workspace with the pictures and sounds that a file of items holds as bytes."""

_SIGNATURES = (
    *(("\\xFF\\xD8\\xFF", "jpg"), ("\\x89PNG", "png"), ("GIF8", "gif"), ("OggS", "ogg")),
    *(("fLaC", "flac"), ("ID3", "mp3")),
)
"""First bytes of a file, as SQL writes them, and the ending of its name."""


def media_sql(content: str) -> str:
    """SQL of the path of a file with some content; NULL if it is neither a picture nor a sound."""
    cases = [
        f"WHEN {content}[1:octet_length('{begin}'::BLOB)] = '{begin}'::BLOB THEN '{ending}'"
        for begin, ending in _SIGNATURES
    ]
    cases += [
        f"WHEN {content}[1:4] = 'RIFF'::BLOB AND {content}[9:12] = '{kind}'::BLOB THEN '{ending}'"
        for kind, ending in (("WEBP", "webp"), ("WAVE", "wav"))
    ]
    return f"'{MEDIA_FOLDER}/' || sha256({content}) || '.' || CASE {' '.join(cases)} END"


def text_sql(cell: CellSql) -> str:
    """The cell as one text, never NULL; the texts of a list are joined."""
    joined = ""
    if cell.items:
        joined = f"array_to_string(list_filter({cell.items}, lambda x: x <> ''), ', '), "
    return f"coalesce({cell.text}, {joined}'')"


def strip_sql(text: str) -> str:
    """A text without the white space at both ends, as ``str.strip`` has it."""
    return f"trim({text}, '{_WHITESPACE}')"


def number_sql(cell: CellSql) -> str:
    """DOUBLE; NULL if the cell is empty or spells a number in another way."""
    if cell.number:
        return cell.number
    text = f"trim({text_sql(cell)})"
    return f"CASE WHEN regexp_full_match({text}, '{_NUMBER}') THEN TRY_CAST({text} AS DOUBLE) END"


def micros_sql(micros: str) -> str:
    """Seconds of microseconds; NULL for those that a DOUBLE does not hold exactly."""
    return f"CASE WHEN abs({micros}) < {2**53} THEN {micros} / 1e6 END"


def is_filled_sql(cell: CellSql) -> str:
    """Whether the cell has anything but white space."""
    return f"{strip_sql(text_sql(cell))} <> ''"
