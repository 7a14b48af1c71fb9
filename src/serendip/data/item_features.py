"""What content says about items: vectors, semantic IDs, what is there, words and attributes.

What one encoder says about some inputs: vectors, and which of them were there at all.

Words and attributes of items, and words of queries, as numbers that need no vocabulary.

A token is a word of a text, the same for items and queries, or a value of one attribute
(``brand=acme``), which is told apart from the word by the name before it. Its number is a hash, so
items that come after training have tokens by the same rule and nothing has to be kept.
"""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.item import Item
from serendip.data.text import MAX_CHARACTERS, normalise, tokens


@dataclass(frozen=True, slots=True, eq=False)
class ModalityVectors:
    """Vectors of one modality.

    Args:
        vectors: (N, D) float32, unit rows; filler where nothing was there.
        present: (N,) bool.
    """

    vectors: FloatArray
    present: BoolArray

    def __len__(self) -> int:
        return len(self.vectors)


_STEP = re.compile(" [/>] ")
_MOST_STEPS = 8
"""Of a path; what is longer is no path that anybody groups items by."""


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """The different tokens of N texts or items.

    Args:
        hashes: (T,) int64, those of the first text, then of the next; each once in a text.
        starts: (N + 1,) int64 where each text begins.
    """

    hashes: NDArray[np.int64]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> Self:
        """Words of texts, as they were typed or written."""
        return cls.of(tokens(text) for text in texts)

    @classmethod
    def none(cls, count: int) -> Self:
        """Of texts of which nothing is known."""
        return cls(np.empty(0, np.int64), np.zeros(count + 1, np.int64))

    @classmethod
    def of(cls, texts: Iterable[Iterable[str]]) -> Self:
        """Of texts that are cut into tokens; each counts once in a text."""
        hashes, ends = array("q"), array("q", [0])
        for words in texts:
            hashes.extend(zlib.crc32(word.encode()) for word in dict.fromkeys(words))
            ends.append(len(hashes))
        return cls(np.array(hashes, np.int64), np.array(ends, np.int64))

    @property
    def counts(self) -> NDArray[np.int64]:
        """(N,) tokens of each text."""
        return np.diff(self.starts)

    def rows(self, numbers: NDArray[np.integer]) -> Self:
        """Tokens of some texts, in the order of their numbers given."""
        counts = self.counts[numbers]
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        shifts = np.repeat(self.starts[numbers] - starts[:-1], counts)
        return type(self)(self.hashes[np.arange(starts[-1]) + shifts], starts)

    def joined(self, more: Tokens) -> Self:
        """These texts, then others."""
        hashes = np.concatenate([self.hashes, more.hashes])
        return type(self)(hashes, np.concatenate([self.starts, self.starts[-1] + more.starts[1:]]))

    def with_rows(self, numbers: NDArray[np.integer], new: Tokens) -> Self:
        """A copy in which the texts of these numbers have other tokens."""
        places = np.arange(len(self))
        places[numbers] = len(self) + np.arange(len(new))
        return self.joined(new).rows(places)


@dataclass(frozen=True, slots=True)
class TokenReader:
    """What of an item is read as tokens.

    Args:
        fields: whose words are read, and whose texts are attributes, too.
        attributes: further ones that are no words.
    """

    fields: Sequence[str]
    attributes: Sequence[str] = ()

    def read(self, items: Iterable[Item]) -> Tokens:
        """Tokens of each item."""
        return Tokens.of(self.tokens(item) for item in items)

    def tokens(self, item: Item) -> list[str]:
        """Words of the fields, and a token for each text in an attribute, be it a field or not.

        A path (``Germany / Berlin``, ``Beauty > Nails``) is a token for each of its beginnings, so
        that what holds for a country or a department is learned once for everything below it.
        Numbers are words only.
        """
        found = tokens(item.text(self.fields))
        for name in dict.fromkeys((*self.fields, *self.attributes)):
            value = item.attributes.get(name, ())
            if isinstance(value, float):
                continue
            for text in (value,) if isinstance(value, str) else value:
                found += [f"{name}={path}" for path in _beginnings(text)]
        return found


def _beginnings(path: str) -> list[str]:
    parts = _STEP.split(path[:MAX_CHARACTERS], maxsplit=_MOST_STEPS)
    steps = [step for step in map(normalise, parts) if step]
    return ["/".join(steps[: length + 1]) for length in range(len(steps))]


@dataclass(frozen=True, slots=True, eq=False)
class ItemFeatures:
    """What content says about items, aligned with the catalogue.

    Args:
        content: (N, D) float32 unit vectors.
        codes: (N, L) int32 semantic IDs.
        codebook_size: K, so that tables can be sized without looking at the codes.
        present: (N, M) bool, which of M modalities an item has; None = nothing is missing.
        tokens: words and attributes; None = they are not known.
    """

    content: FloatArray
    codes: IntArray
    codebook_size: int
    present: BoolArray | None = None
    tokens: Tokens | None = None

    def __len__(self) -> int:
        return len(self.content)

    def rows(self, item_nums: IntArray) -> ItemFeatures:
        """Features of some items, in the order of their numbers given."""
        return ItemFeatures(
            self.content[item_nums],
            self.codes[item_nums],
            self.codebook_size,
            None if self.present is None else self.present[item_nums],
            None if self.tokens is None else self.tokens.rows(item_nums),
        )

    def extended(self, new: ItemFeatures) -> ItemFeatures:
        """These items and new ones after them."""
        present = None
        if self.present is not None or new.present is not None:
            present = np.concatenate([_mask(self, new), _mask(new, self)])
        return ItemFeatures(
            np.concatenate([self.content, new.content]),
            np.concatenate([self.codes, new.codes]),
            self.codebook_size,
            present,
            None if self.tokens is None else self.tokens.joined(new.known_tokens),
        )

    def with_rows(self, item_nums: IntArray, new: ItemFeatures) -> ItemFeatures:
        """A copy in which these items have other features."""
        content, codes = self.content.copy(), self.codes.copy()
        content[item_nums], codes[item_nums] = new.content, new.codes
        present = None
        if self.present is not None or new.present is not None:
            present = _mask(self, new).copy()
            present[item_nums] = _mask(new, self)
        tokens = None if self.tokens is None else self.tokens.with_rows(item_nums, new.known_tokens)
        return ItemFeatures(content, codes, self.codebook_size, present, tokens)

    def read_by(self, reader: TokenReader, items: Sequence[Item]) -> ItemFeatures:
        """The same features with the tokens of their items."""
        return replace(self, tokens=reader.read(items))

    @property
    def known_tokens(self) -> Tokens:
        """``tokens``, none of any item where they are not known."""
        return Tokens.none(len(self)) if self.tokens is None else self.tokens


def _mask(features: ItemFeatures, other: ItemFeatures) -> BoolArray:
    """``features.present``, spelt out as wide as the other's where it is None."""
    if features.present is not None:
        return features.present
    assert other.present is not None
    return np.ones((len(features), other.present.shape[1]), dtype=np.bool_)
