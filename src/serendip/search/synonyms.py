"""Other words for what was typed, from a file that people review.

The file is a table of one pair a line: a term, what else to look for, whether that was accepted,
how sure its source was, and the source. Only accepted pairs are searched, beside the words that
were typed and for less than they; proposed and rejected ones are kept, so that nothing is proposed
a second time.
"""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from serendip.data.text import normalise, words
from serendip.errors import ConfigError, DataError
from serendip.runtime.atomic_files import exclusive_lock, flush_folder, write_synced

State = Literal["proposed", "accepted", "rejected"]

COLUMNS = ("term", "also", "state", "confidence", "source")
MOST_WORDS = 3
"""Words of the longest term that is looked for in a text."""

_SHORTER = "Give fewer words: a longer term would never be searched."


@dataclass(frozen=True, slots=True)
class Synonym:
    """One line of the file.

    Args:
        term: what is typed, in normal form.
        also: what to look for beside it, in normal form.
        state: only accepted ones are searched.
        confidence: of its source, in [0, 1].
        source: where it comes from: ``log``, ``vectors``, ``llm:<model>``, or the name of who wrote
            it.
    """

    term: str
    also: str
    state: State
    confidence: float
    source: str

    @property
    def key(self) -> tuple[str, str]:
        """What makes it one: term and other words."""
        return self.term, self.also


@dataclass(frozen=True, slots=True, eq=False)
class Synonyms:
    """Accepted pairs, ready for look-ups.

    Args:
        also: term -> what to look for beside it.
    """

    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Synonym]) -> Synonyms:
        """Of the accepted ones among some rows."""
        found: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            if row.state == "accepted":
                found[row.term].append(row.also)
        return cls({term: tuple(also) for term, also in found.items()})

    def beside(self, normal: str) -> list[str]:
        """Words to look for beside those of a normalised text, without these, in order."""
        typed = words(normal)
        found: dict[str, None] = {}
        for size in range(1, MOST_WORDS + 1 if self.also else 1):
            for begin in range(len(typed) - size + 1):
                term = " ".join(typed[begin : begin + size])
                for also in self.also.get(term, ()):
                    found.update(dict.fromkeys(words(also)))
        return [word for word in found if word not in typed]


def read_synonyms(path: Path) -> list[Synonym]:
    """The lines of a file; none where there is no file.

    Raises:
        DataError: a line is not as it should be; the message has its number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.", "Save it as UTF-8.") from None
    rows = csv.DictReader(io.StringIO(text))
    try:
        if list(rows.fieldnames or ()) != list(COLUMNS):
            raise DataError(f"{path} has the columns {rows.fieldnames}.", f"It has {COLUMNS}.")
        return [_row(row, f"{path}:{rows.line_num}") for row in rows]
    except csv.Error as error:
        raise DataError(f"{path}:{rows.line_num + 1}: {error}.", "Mend that line.") from None


def write_synonyms(path: Path, rows: Sequence[Synonym]) -> None:
    """Replace the file in one step; sorted by state, then confidence, then term."""
    ordered = sorted(rows, key=lambda row: (row.state, -row.confidence, row.key))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in ordered:
        table.writerow([row.term, row.also, row.state, f"{row.confidence:.3f}", row.source])
    part = path.with_name(path.name + ".part")
    write_synced(part, text.getvalue())
    os.replace(part, path)
    flush_folder(path.parent)


def changed_synonyms(
    path: Path, change: Callable[[list[Synonym]], list[Synonym]]
) -> tuple[list[Synonym], list[Synonym]]:
    """Read, change and replace the file while nobody else does.

    Args:
        path: of the file.
        change: gets the rows and gives those that are to be there.

    Returns:
        the rows before and after.

    Raises:
        DataError: a line is not as it should be.
        StorageError: another process is changing the file.
    """
    with exclusive_lock(path.parent):
        before = read_synonyms(path)
        after = change(before)
        write_synonyms(path, after)
    return before, after


def judged(
    rows: Sequence[Synonym], term: str, also: str, state: State, by: str = "people"
) -> list[Synonym]:
    """The rows with one pair, or all pairs of a term, in another state.

    Args:
        rows: of the file.
        term: as people type it.
        also: the other words; empty = all proposed pairs of the term.
        state: the new one.
        by: the source of a pair that is not in the file yet, which is added.

    Raises:
        ConfigError: nothing of the kind is proposed, a part has no words, or the term too many.
    """
    first, second = normalise(term), normalise(also)
    if not first or (also and not second):
        raise ConfigError(f"{term!r} and {also!r} are not both words.", "Give words.")
    if told := _too_long(first):
        raise ConfigError(told, _SHORTER)
    if second:
        known = [row for row in rows if row.key == (first, second)]
        new = [] if known else [Synonym(first, second, state, 1.0, by)]
        return [replace(row, state=state) if row in known else row for row in rows] + new
    if not any(row.term == first and row.state == "proposed" for row in rows):
        raise ConfigError(f"nothing is proposed for {first!r}.", "`serendip synonyms show`.")
    return [
        replace(row, state=state) if row.term == first and row.state == "proposed" else row
        for row in rows
    ]


def _row(row: Mapping[str, str | None], place: str) -> Synonym:
    term, also = normalise(row["term"] or ""), normalise(row["also"] or "")
    state, source = row["state"] or "", row["source"] or ""
    try:
        confidence = float(row["confidence"] or "nan")
    except ValueError:
        confidence = -1.0
    if not (term and also) or state not in get_args(State) or not 0 <= confidence <= 1:
        raise DataError(
            f"{place}: {', '.join(str(value) for value in row.values())} is no synonym.",
            f"Two terms, a state of {get_args(State)}, a confidence in [0, 1], a source.",
        )
    if told := _too_long(term):
        raise DataError(f"{place}: {told}", _SHORTER)
    return Synonym(term, also, state, confidence, source)  # type: ignore[arg-type]


def _too_long(term: str) -> str:
    """What is wrong with a normalised term that has too many words; empty for others."""
    if (count := len(words(term))) <= MOST_WORDS:
        return ""
    return f"the term {term!r} has {count} words, more than {MOST_WORDS}."
