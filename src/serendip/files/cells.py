"""SQL of the cells of a table: texts, numbers, pictures and sounds."""

from __future__ import annotations

from dataclasses import dataclass

_WHITESPACE = "".join(sign for sign in map(chr, range(0x3001)) if sign.isspace())
"""All white space of Unicode, whose last is U+3000. To look further took 0.05 s of every start."""

MEDIA_FOLDER = "media"
"""Folder of a workspace with the pictures and sounds that a file of items holds as bytes."""

_SIGNATURES = (
    *(("\\xFF\\xD8\\xFF", "jpg"), ("\\x89PNG", "png"), ("GIF8", "gif"), ("OggS", "ogg")),
    *(("fLaC", "flac"), ("ID3", "mp3")),
)
"""First bytes of a file, as SQL writes them, and the ending of its name."""


@dataclass(frozen=True, slots=True)
class CellSql:
    """SQL of the cells of one column.

    Args:
        text: VARCHAR; NULL if the cell is empty or a list.
        items: VARCHAR[]; NULL if the cell is not a list. Empty = no cell is.
        number: DOUBLE of a cell that is a number in the file; empty = it is none.
        media: BLOB of the file whose path is the text; empty = the cells are no files.
    """

    text: str
    items: str = ""
    number: str = ""
    media: str = ""


def text_sql(cell: CellSql) -> str:
    """The cell as one text, never NULL; the texts of a list are joined."""
    joined = ""
    if cell.items:
        joined = f"array_to_string(list_filter({cell.items}, lambda x: x <> ''), ', '), "
    return f"coalesce({cell.text}, {joined}'')"


def strip_sql(text: str) -> str:
    """A text without the white space at both ends, as ``str.strip`` has it."""
    return f"trim({text}, '{_WHITESPACE}')"


def number_sql(text: str) -> str:
    """DOUBLE of a text; NULL if it is no finite number."""
    number = f"TRY_CAST({text} AS DOUBLE)"
    return f"CASE WHEN isfinite({number}) THEN {number} END"


def quote(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


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
