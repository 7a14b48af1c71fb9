"""Deals written queries into parts, so that nothing that is learned or measured reads its answer.

========= ========================================================================================
texts     half of the queries: words by which their items are found (``serendip llm run texts
          --free``); the retriever learns from those that no text in use has
retriever a quarter: examples for the retriever
ranker    a quarter: searches for the ranker, whose candidates come from the word index, the text
          encoder and the retriever
========= ========================================================================================

A query whose item has it in a text in use is learned by neither: there it matches its own words.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from serendip.data.items.catalogue import Catalogue
from serendip.data.text import normalise
from serendip.search.suggestions.candidates import Candidate

Part: TypeAlias = Literal["texts", "retriever", "ranker"]

_DEALT: tuple[Part, ...] = ("ranker", "retriever", "texts", "texts")


def part_of(query: str) -> Part:
    """The part of a query: by its normalised text, so that it is the same in every catalogue."""
    return _DEALT[zlib.crc32(normalise(query).encode()) % len(_DEALT)]


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
