"""Words that a retriever has learned, and what content counts beside its network for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray
from serendip.data.text import normalise

_KEYS, _WEIGHTS = "known_words", "known_weights"


@dataclass(frozen=True, slots=True, eq=False)
class KnownWords:
    """Of words that were learned the network knows what is meant; of others content knows more.

    Args:
        keys: (W,) int64, ascending, one for each text that was learned; see ``text_keys``.
        weights: (2,) float32 factors of the cosines of the context and of such words.
    """

    keys: NDArray[np.int64]
    weights: FloatArray

    @classmethod
    def of(cls, texts: Iterable[str], weights: FloatArray) -> Self:
        """From the texts that were learned; one without any letter or digit is no words."""
        return cls(np.setdiff1d(text_keys(texts), text_keys([""])), weights)

    def know(self, texts: Sequence[str]) -> BoolArray:
        """(B,) which texts were learned, however they are written."""
        return np.isin(text_keys(texts), self.keys)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What is stored, by name."""
        return {_KEYS: self.keys, _WEIGHTS: self.weights}

    @classmethod
    def of_arrays(cls, stored: Mapping[str, NDArray[np.generic]]) -> Self | None:
        """What ``arrays`` gave; None in artefacts without it."""
        if _KEYS not in stored:
            return None
        return cls(stored[_KEYS].astype(np.int64), stored[_WEIGHTS].astype(np.float32))


def text_keys(texts: Iterable[str]) -> NDArray[np.int64]:
    """(n,) a number for each text: the same for those that ``normalise`` writes the same."""
    hashes = (
        hashlib.blake2b(normalise(text).encode(), digest_size=8, usedforsecurity=False).digest()
        for text in texts
    )
    return np.frombuffer(b"".join(hashes), "<i8").astype(np.int64)
