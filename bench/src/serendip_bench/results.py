"""Files of a benchmark, its text vectors, and what it prints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from typer import echo

from serendip.errors import ConfigError
from serendip.runtime.atomic_files import exclusive_lock

if TYPE_CHECKING:  # `serendip --help` reads this file
    from serendip.data.arrays import FloatArray
    from serendip.runtime.progress import Progress

Row: TypeAlias = Mapping[str, Any]


@contextmanager
def open_work_folder(file: Path) -> Iterator[Path]:
    """Create and lock the folder beside the results ``file``, which resumed runs read.

    Raises:
        ConfigError: the folder cannot be written.
        StorageError: another process uses the same file.
    """
    folder = file.with_name(f"{file.name}.work")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{folder} cannot be written: {error}."
        raise ConfigError(message, "Choose a writable folder for --json.") from None
    with exclusive_lock(folder):
        yield folder


def find_cache(file: Path, cache: Path | None) -> Path:
    """Folder of text vectors: a given one, or beside the results ``file``."""
    return cache or file.with_name(f"{file.name}.work") / "cache"


@dataclass(frozen=True, slots=True)
class TextVectors:
    """Vectors of texts, each encoded once."""

    encoder: str
    cache: Path
    progress: Progress

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """(n, C) unit vectors of n texts."""
        from serendip.content.cache import VectorCache
        from serendip.content.encoders.text import TextEncoderConfig, open_encoder

        encoder = open_encoder(TextEncoderConfig(name=self.encoder))
        return VectorCache(self.cache).encode(encoder, texts, self.progress)


def require_seeds(seeds: int) -> None:
    """Check the number of seeds.

    Raises:
        ConfigError: seeds < 1.
    """
    if seeds < 1:
        raise ConfigError(f"--seeds {seeds}.", "Give 1 or more.")


def print_table(
    rows: Iterable[Row], columns: Sequence[str], say: Callable[[str], None] = echo
) -> None:
    """Print a table, if it has rows; intervals, in ``ci95``, stand behind their values."""
    lines = [[column.replace("_", " ") for column in columns]]
    lines += [[_format_cell(row, column) for column in columns] for row in rows]
    if len(lines) == 1:
        return
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        say("  ".join(cells).rstrip())


def say_row(say: Callable[[str], None], columns: Sequence[str]) -> Callable[[Row], None]:
    """A function that prints a finished row."""

    def say_values(row: Row) -> None:
        names = [name for name in (*columns, "reason") if name in row]
        say("  " + "  ".join(f"{name} {_format_cell(row, name)}" for name in names))

    return say_values


def _format_cell(row: Row, column: str) -> str:
    text, intervals = format_number(column, row.get(column)), row.get("ci95")
    ends = intervals.get(column) if isinstance(intervals, Mapping) else None
    if not ends or row.get(column) is None:
        return text
    return f"{text} ({' to '.join(format_number(column, end) for end in ends)})"


def format_number(name: str, value: Any) -> str:
    """A value for people: a share with four decimals and without the leading zero."""
    if value is None:
        return "-"
    if isinstance(value, float):
        if name.endswith(("_s", "_mb", "_200", "_ms")):
            return f"{value:.1f}" if value < 10 else f"{value:,.0f}"
        return f"{value:.4f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.4f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(format_number(name, one) for one in value)
    return str(value)
