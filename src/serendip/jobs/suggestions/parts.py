"""Deals written queries into two halves, so that nothing that is learned reads its answer.

Items are found by the words of one half (``serendip llm run texts --free``), and the ranker learns
searches from what no text in use has: there a query matches its own words.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

from serendip.data.items.catalogue import Catalogue
from serendip.data.text import normalise
from serendip.search.suggestions.candidates import Candidate


def is_for_texts(query: str) -> bool:
    """Whether items are found by its words: by the query alone, the same in every catalogue."""
    return zlib.crc32(normalise(query).encode()) % 4 >= 2


class Phrases:
    """Finds which queries are contained in some texts, whole words only, after normalisation.

    Args:
        texts: any texts.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        # A line per text: no phrase reaches from one into another.
        normal = filter(None, map(normalise, texts))
        self._lines = "\n".join(f" {text} " for text in normal)

    def __contains__(self, query: object) -> bool:
        return isinstance(query, str) and f" {normalise(query)} " in self._lines


def select_unread(queries: Sequence[Candidate], catalogue: Catalogue) -> list[Candidate]:
    """Leave out queries that the generated text of their item, as it is in use, contains."""
    return [
        query
        for query in queries
        if not (text := catalogue[int(query.items[0])].generated_text)
        or query.text not in Phrases([text])
    ]
