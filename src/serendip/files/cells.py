"""Queries of DuckDB over users' files, and SQL of their cells: texts, numbers, media."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serendip.errors import DataError
from serendip.runtime.threads import num_threads

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

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


def connect() -> DuckDBPyConnection:
    """Open a connection to DuckDB with temporary tables of its own; it downloads no extensions."""
    return _database(num_threads()).cursor()


@cache
def _database(threads: int) -> DuckDBPyConnection:
    """The database of this process; opening one takes longer than reading a small file."""
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": threads,
        "autoinstall_known_extensions": False,
    }
    return duckdb.connect(":memory:", config=settings)


def run(connection: DuckDBPyConnection, query: str, path: Path) -> DuckDBPyConnection:
    """Run a query over a file.

    Args:
        connection: of DuckDB.
        query: SQL with one placeholder for the path.
        path: the file.

    Raises:
        DataError: the file cannot be read.
    """
    import duckdb

    try:
        return connection.execute(query, [pattern_of(path)])
    except (duckdb.Error, MemoryError) as error:
        raise unreadable(path, error) from None


def pattern_of(path: Path) -> str:
    """The path as a glob pattern, which DuckDB reads; a bracketed wildcard matches itself."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(path))


def unreadable(path: Path, error: BaseException) -> DataError:
    """The error of a file that DuckDB could not read."""
    too_large = ("Out of Memory", "maximum total string size")
    if isinstance(error, MemoryError) or any(words in str(error) for words in too_large):
        return DataError(
            f"{path.name} does not fit into memory.",
            "Leave columns and rows out of it, or give this process more memory.",
        )
    reason = str(error).strip().splitlines()[0].rstrip(".")
    return DataError(
        f"{path.name} cannot be read: {reason}.", "Does its format match its file extension?"
    )


def evaluate(cells: Sequence[str], make_sql: Callable[[str], str]) -> list[Any]:
    """Values of SQL over some cells, in their order.

    Args:
        cells: texts.
        make_sql: SQL of a text -> SQL of the value.
    """
    import pyarrow as pa

    connection = connect()
    connection.register("cells", pa.table({"cell": pa.array(cells, "string")}))
    found = connection.sql(f"SELECT {make_sql('cell')} FROM cells").fetchall()
    return [value for (value,) in found]
