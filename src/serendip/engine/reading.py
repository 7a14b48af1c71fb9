"""What is told about a text that was searched: corrections, words that no item has, rewrites."""

from __future__ import annotations

from serendip.data.text import normalise, words
from serendip.engine.answer import Understood
from serendip.engine.selection import Result
from serendip.engine.state import EngineState

_WORDS = "words"


def understood_of(result: Result, state: EngineState) -> Understood | None:
    """How the words of a request were read; None where its surface searches none."""
    query, trace = result.query, result.trace
    if not query.text.strip() or f"from {_WORDS}" not in trace:
        return None
    searcher = state.searcher
    reading = searcher.read(query.text, query.is_literal)
    # Without hits items with the words may still be there, which a filter leaves out.
    is_known = len(reading.unknown) < len(set(words(normalise(query.searched))))
    is_found = is_known or trace[f"from {_WORDS}"] > 0
    return Understood(
        searcher.written(reading.corrected_key) if query.meant else query.text,
        bool(query.meant),
        searcher.written(reading.told_key) if reading.told_key else "",
        reading.unknown,
        by_meaning=not is_found and len(result.items) > 0,
        rewrites=searcher.instead_of(query.text, query.is_literal),
    )
