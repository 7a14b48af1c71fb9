"""Query expansion by synonyms from a CSV file that people review.

The file has one pair per line: a term, its synonym, the state of review, the confidence of its
source, and the source. Only accepted pairs are searched, in addition to the typed words and with a
lower weight; proposed and rejected ones are kept, so that no pair is proposed twice.

Common abbreviations come with the package (``abbreviations.txt``) and are accepted unless the file
rejects them. A number at the end of a text is the same in Roman numerals.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import permutations, product
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from serendip.data import normalise, words
from serendip.errors import DataError
from serendip.runtime.atomic_files import exclusive_lock, write_text

State = Literal["proposed", "accepted", "rejected"]

COLUMNS = ("term", "also", "state", "confidence", "source")
MOST_WORDS = 3


@dataclass(frozen=True, slots=True)
class Synonym:
    """One line of the file.

    Args:
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


class Expansion(NamedTuple):
    """A term of a text and what may stand in its place.

    Args:
        begin, end: its words, as a slice of those of the text.
    """

    begin: int
    end: int
    also: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Synonyms:
    """Accepted pairs, indexed by term.

    Args:
        also: term -> its synonyms.
    """

    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Synonym]) -> Synonyms:
        """Build from the accepted rows and the abbreviations that none rejects."""
        states = dict.fromkeys(abbreviations(), "accepted") | {row.key: row.state for row in rows}
        by_term: dict[str, list[str]] = defaultdict(list)
        for (term, also), state in states.items():
            if state == "accepted":
                by_term[term].append(also)
        return cls({term: tuple(also) for term, also in by_term.items()})

    def expand(self, normal: str) -> list[Expansion]:
        """The terms of a normalised text that have synonyms, longest first, without overlap."""
        typed = words(normal)
        spans = [
            (begin, begin + size)
            for size in range(min(MOST_WORDS, len(typed)), 0, -1)
            for begin in range(len(typed) - size + 1)
        ]
        expansions: list[Expansion] = []
        for begin, end in spans if self.also else ():
            also = self.also.get(" ".join(typed[begin:end]), ())
            if end == begin + 1 == len(typed) > 1:
                also = (*also, *filter(None, [NUMERALS.get(typed[begin])]))
            if also and all(end <= other.begin or other.end <= begin for other in expansions):
                expansions.append(Expansion(begin, end, tuple(tuple(words(one)) for one in also)))
        return expansions

    def beside(self, normal: str) -> list[str]:
        """Words that expand a normalised text, without its own words, in order."""
        typed = words(normal)
        also = (word for part in self.expand(normal) for one in part.also for word in one)
        return [word for word in dict.fromkeys(also) if word not in typed]


@cache
def abbreviations() -> tuple[tuple[str, str], ...]:
    """Pairs (term, synonym) in normal form that come with the package.

    They are in both directions, unless the short form is more often another word.
    """
    text = (files("serendip.search") / "abbreviations.txt").read_text(encoding="utf-8")
    pairs: list[tuple[str, str]] = []
    for line in text.splitlines():
        short, _, full = line.partition(">")
        forms, others = ([normalise(one) for one in side.split("=")] for side in (short, full))
        if not line.startswith("#"):
            pairs += product(forms, others) if full else permutations(forms, 2)
    return tuple((term, also) for term, also in pairs if len(words(term)) <= MOST_WORDS)


def _numerals() -> dict[str, str]:
    """Numbers from 2 to 20 in the other notation; V and X are letters as often."""
    tens = ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
    roman = [f"{ten}{unit}" for ten in ("", "x") for unit in tens] + ["xx"]
    pairs = [(str(number), name) for number, name in enumerate(roman) if len(name) > 1]
    return dict(pairs) | {name: number for number, name in pairs}


NUMERALS: Mapping[str, str] = _numerals()
"""Number -> the same in Roman numerals, and back."""


def with_other_numeral(normal: str) -> str:
    """A normalised text with the number at its end in the other notation; empty without one."""
    before, _, last = normal.rpartition(" ")
    return f"{before} {NUMERALS[last]}" if before and last in NUMERALS else ""


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


def add_synonyms(path: Path, pairs: Sequence[Synonym]) -> tuple[int, list[Synonym]]:
    """Add pairs to the file; its existing ones are not changed.

    Returns:
        the number of new pairs, and all.

    Raises:
        DataError: a line is malformed.
        StorageError: another process is changing the file.
    """
    with exclusive_lock(path.parent):
        rows = read_synonyms(path)
        keys = {row.key for row in rows}
        new = {pair.key: pair for pair in reversed(pairs) if pair.key not in keys}
        rows += new.values()
        write_synonyms(path, rows)
    return len(new), rows


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
    if (count := len(words(term))) > MOST_WORDS:
        raise DataError(
            f"{place}: the term {term!r} has {count} words, more than {MOST_WORDS}.",
            "Give fewer words: a longer term would never be searched.",
        )
    return Synonym(term, also, state, confidence, source)  # type: ignore[arg-type]
