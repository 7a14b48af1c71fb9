"""Texts that mean nothing, in the letters of a catalogue: what search must not answer.

An encoder gives any text a vector, and every vector has a nearest item. How near nonsense comes to
its nearest item is measured, and an item that is found by its meaning alone has to be nearer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from serendip.data import Artefact, FloatArray

NUM_TEXTS: Final = 400
MAX_ANSWERED: Final = 0.01
"""Share of nonsense that may have an item above the floor."""

MAX_BELOW: Final = 0.1
"""Share of nonsense whose nearest item is below what is near enough to words."""

_SHORTEST, _SINGLE = 4, 0.75


def make_nonsense(known: Sequence[str]) -> list[str]:
    """Texts of one or two words of random letters, each as long as a known word.

    There are none without a known word of four letters.
    """
    usable = [word for word in known if len(word) >= _SHORTEST and word.isalpha()]
    draw, words = random.Random(0), set(known)
    letters = sorted({letter for word in usable for letter in word})
    alphabets = {
        plain: [one for one in letters if one.isascii() == plain] for plain in (True, False)
    }
    texts: list[str] = []
    while usable and len(texts) < NUM_TEXTS:
        size = 1 if draw.random() < _SINGLE else 2
        models = [draw.choice(usable) for _ in range(size)]
        drawn = [
            "".join(draw.choice(alphabets[letter.isascii()]) for letter in word) for word in models
        ]
        if words.isdisjoint(drawn):
            texts.append(" ".join(drawn))
    return texts


@dataclass(frozen=True, slots=True)
class MeaningFloor(Artefact):
    """Cosines of an item with a text from which on it is found by its meaning alone.

    Args:
        beside_words: where other items have words of the text.
        of_nonsense: of a text without a word that the catalogue, or English, has.
    """

    beside_words: float = -1.0
    of_nonsense: float = -1.0

    @classmethod
    def of(cls, best: FloatArray) -> MeaningFloor:
        """By the cosines (Q,) of texts of nonsense with the item that is nearest to each."""
        if not len(best):
            return cls()
        return cls(float(np.quantile(best, MAX_BELOW)), float(np.quantile(best, 1 - MAX_ANSWERED)))
