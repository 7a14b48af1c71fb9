"""Query expansion by synonyms from a CSV file that people review.

The file has one pair per line: a term, its synonym, the state of review, the confidence of its
source, and the source. Only accepted pairs are searched, in addition to the typed words and with a
lower weight; proposed and rejected ones are kept, so that no pair is proposed twice.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from serendip.data.text import normalise, words
from serendip.errors import ConfigError, DataError
from serendip.runtime.atomic_files import exclusive_lock, write_text

State = Literal["proposed", "accepted", "rejected"]

COLUMNS = ("term", "also", "state", "confidence", "source")
MOST_WORDS = 3
"""Maximum number of words of a term."""

_SHORTER = "Give fewer words: a longer term would never be searched."


@dataclass(frozen=True, slots=True)
class Synonym:
    """One line of the file.

    Args:
        term: the typed term, in normal form.
        also: its synonym, in normal form.
        state: only accepted ones are searched.
        confidence: of its source, in [0, 1].
        source: ``log``, ``vectors``, ``llm:<model>``, or the name of the author.
    """

    term: str
    also: str
    state: State
    confidence: float
    source: str

    @property
    def key(self) -> tuple[str, str]:
        """The identity of a pair: term and synonym."""
        return self.term, self.also


@dataclass(frozen=True, slots=True, eq=False)
class Synonyms:
    """Accepted pairs, indexed by term.

    Args:
        also: term -> its synonyms.
    """

    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Synonym]) -> Synonyms:
        """Build from the accepted rows."""
        by_term: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            if row.state == "accepted":
                by_term[row.term].append(row.also)
        return cls({term: tuple(also) for term, also in by_term.items()})

    def beside(self, normal: str) -> list[str]:
        """Words that expand a normalised text, without its own words, in order."""
        typed = words(normal)
        expansion: dict[str, None] = {}
        for size in range(1, MOST_WORDS + 1 if self.also else 1):
            for begin in range(len(typed) - size + 1):
                term = " ".join(typed[begin : begin + size])
                for also in self.also.get(term, ()):
                    expansion.update(dict.fromkeys(words(also)))
        return [word for word in expansion if word not in typed]


def read_synonyms(path: Path) -> list[Synonym]:
    """Read the rows of a file; empty if it does not exist.

    Raises:
        DataError: a line is malformed; the message has its number.
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
            raise DataError(
                f"{path} has the columns {rows.fieldnames}.", f"The header must be {COLUMNS}."
            )
        return [_row(row, f"{path}:{rows.line_num}") for row in rows]
    except csv.Error as error:
        raise DataError(f"{path}:{rows.line_num + 1}: {error}.", "Correct that line.") from None


def write_synonyms(path: Path, rows: Sequence[Synonym]) -> None:
    """Replace the file in one step; sorted by state, then confidence, then term."""
    ordered = sorted(rows, key=lambda row: (row.state, -row.confidence, row.key))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in ordered:
        table.writerow([row.term, row.also, row.state, f"{row.confidence:.3f}", row.source])
    write_text(path, text.getvalue())


def change_synonyms(
    path: Path, change: Callable[[list[Synonym]], list[Synonym]]
) -> tuple[list[Synonym], list[Synonym]]:
    """Read, change and replace the file under an exclusive lock.

    Args:
        path: of the file.
        change: maps the old rows to the new ones.

    Returns:
        the rows before and after.

    Raises:
        DataError: a line is malformed.
        StorageError: another process is changing the file.
    """
    with exclusive_lock(path.parent):
        before = read_synonyms(path)
        after = change(before)
        write_synonyms(path, after)
    return before, after


def set_state(
    rows: Sequence[Synonym], term: str, also: str, state: State, by: str = "people"
) -> list[Synonym]:
    """Set the state of one pair, or of all proposed pairs of a term.

    Args:
        rows: of the file.
        term: as people type it.
        also: the synonym; empty = all proposed pairs of the term.
        state: the new state.
        by: source of a pair that is not in the file yet and is added.

    Raises:
        ConfigError: the term has no proposed pair, a part has no words, or the term has too many.
    """
    first, second = normalise(term), normalise(also)
    if not first or (also and not second):
        raise ConfigError(
            f"{term!r} or {also!r} has no letter or digit.", "Give one word or more for each."
        )
    if problem := _length_problem(first):
        raise ConfigError(problem, _SHORTER)
    if second:
        existing = [row for row in rows if row.key == (first, second)]
        new = [] if existing else [Synonym(first, second, state, 1.0, by)]
        return [replace(row, state=state) if row in existing else row for row in rows] + new
    if not any(row.term == first and row.state == "proposed" for row in rows):
        raise ConfigError(
            f"no synonym is proposed for {first!r}.", "See the list: `serendip synonyms show`."
        )
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
            f"{place}: {', '.join(str(value) for value in row.values())} is not a synonym row.",
            f"Give two terms, a state of {get_args(State)}, a confidence in [0, 1], a source.",
        )
    if problem := _length_problem(term):
        raise DataError(f"{place}: {problem}", _SHORTER)
    return Synonym(term, also, state, confidence, source)  # type: ignore[arg-type]


def _length_problem(term: str) -> str:
    """Error message for a normalised term with too many words; empty for others."""
    if (count := len(words(term))) <= MOST_WORDS:
        return ""
    return f"the term {term!r} has {count} words, more than {MOST_WORDS}."
