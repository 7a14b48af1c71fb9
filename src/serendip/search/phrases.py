"""Phrase extraction: runs of words bounded by a stop-word list, without grammar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serendip.data.text import normalise, words

_LONGEST_PHRASE = 3
_FEWEST_LETTERS = 3

_FUNCTION_WORDS = frozenset(
    "a about after again all also an and another any are as at be because been before being "
    "between both but by can could did do does down during each even every few first for from "
    "get gets had has have having he her here hers him himself his how if in into is it its "
    "itself just last may more most must new no not now of off old on once one only or other "
    "our out over own same she should so some such than that the their them themselves then "
    "there these they this those three through to too two under until up upon very was way we "
    "were what when where which while who whom whose why will with without would you your".split()
)
"""A phrase neither begins nor ends with one of these."""


def phrases_of(text: str) -> Iterator[str]:
    """Runs of up to three words that neither begin nor end with a function word or a number."""
    for sentence in text.replace("!", ".").replace("?", ".").replace(",", ".").split("."):
        tokens = words(normalise(sentence))
        for begin in range(len(tokens)):
            for end in range(begin + 1, min(begin + _LONGEST_PHRASE, len(tokens)) + 1):
                if _is_phrase(tokens[begin:end]):
                    yield " ".join(tokens[begin:end])


def is_grammar(word: str) -> bool:
    """Whether a word is a function word."""
    return word in _FUNCTION_WORDS


def _is_phrase(run: Sequence[str]) -> bool:
    ends = (run[0], run[-1])
    is_long = all(len(word) >= _FEWEST_LETTERS or not word.isascii() for word in ends)
    return is_long and not any(word in _FUNCTION_WORDS or word[0].isdigit() for word in ends)
