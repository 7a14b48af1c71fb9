"""Content features of items: vectors, semantic IDs, modality masks and hashed tokens.

``Tokens`` are the words and attribute values of items, and the words of queries, by feature
hashing. A token is a word, the same for items and queries, or an attribute value with the
attribute's name (``brand=acme``), which sets it apart from the word. Its number is a hash, so that
items that arrive after training are tokenised by the same rule without a stored vocabulary; and it
says which kind of token it is, so that a text can be told from a brand.
"""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray, take_ranges
from serendip.data.artefact import Artefact
from serendip.data.items.catalogue import Attribute, Item
from serendip.data.rows.row_array import PackedRows, put_rows
from serendip.data.text import MAX_CHARACTERS, normalise, tokens


@dataclass(frozen=True, slots=True, eq=False)
class ModalityVectors:
    """Vectors of one modality.

    Args:
        vectors: (N, D) float32, unit rows; filler where the input is missing.
        present: (N,) bool, False where the input is missing.
    """

    vectors: FloatArray
    present: BoolArray

    def __len__(self) -> int:
        return len(self.vectors)

    def rows(self, rows: slice) -> ModalityVectors:
        """A view of some rows."""
        return ModalityVectors(self.vectors[rows], self.present[rows])


_STEP = re.compile(" [/>] ")
_MOST_STEPS = 8  # depth of an attribute path; longer texts are not used to group items
_LONGEST_STEP = 8  # words of a step; with more, an attribute is a text, which no two items share
TEXT = 0  # words of titles, descriptions and other texts
WORD_OF_VALUE = 1  # words that an item has in attribute values only
_KIND_BITS = 32


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """Distinct hashed tokens of N texts or items, in CSR layout.

    Args:
        hashes: (T,) int64, text after text, each token once per text: the kind above 32 bits of
            hash. The kind of an attribute value is a hash of the attribute's name.
        starts: (N + 1,) int64 offsets of the texts.
    """

    hashes: NDArray[np.int64]
    starts: NDArray[np.int64]

    @property
    def kinds(self) -> NDArray[np.int64]:
        """(T,) ``TEXT``, ``WORD_OF_VALUE``, or a larger number for each attribute."""
        return self.hashes >> _KIND_BITS

    def buckets(self, count: int) -> NDArray[np.int64]:
        """(T,) rows in a table of ``count`` tokens; a word has the same, whatever its kind."""
        return (self.hashes & ((1 << _KIND_BITS) - 1)) % count

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> Self:
        """Tokens of raw texts: their words."""
        return cls.of(dict.fromkeys(tokens(text), TEXT) for text in texts)

    @classmethod
    def none(cls, count: int) -> Self:
        """``count`` texts without tokens."""
        return cls(np.empty(0, np.int64), np.zeros(count + 1, np.int64))

    @classmethod
    def of(cls, texts: Iterable[Mapping[str, int]]) -> Self:
        """Build from the tokens of each text and their kinds."""
        hashes, ends = array("q"), array("q", [0])
        for kinds in texts:
            hashes.extend(_hash(token) | kind << _KIND_BITS for token, kind in kinds.items())
            ends.append(len(hashes))
        return cls(np.array(hashes, np.int64), np.array(ends, np.int64))

    @property
    def counts(self) -> NDArray[np.int64]:
        """(N,) number of tokens of each text."""
        return np.diff(self.starts)

    def rows(self, numbers: NDArray[np.integer]) -> Self:
        """Select texts, in the order of ``numbers``."""
        starts, entries = take_ranges(self.starts, numbers)
        return type(self)(self.hashes[entries], starts)

    def joined(self, more: Tokens) -> Self:
        """Concatenate: these texts, then others."""
        hashes = np.concatenate([self.hashes, more.hashes])
        return type(self)(hashes, np.concatenate([self.starts, self.starts[-1] + more.starts[1:]]))

    def put(self, numbers: NDArray[np.integer], new: Tokens) -> Self:
        """A copy in which the texts of these numbers have new tokens; see ``LateRows.put``."""
        rows = np.arange(max(len(self), int(numbers.max(initial=-1)) + 1))
        rows[numbers] = len(self) + np.arange(len(new))
        return self.joined(new).rows(rows)


@dataclass(frozen=True, slots=True)
class TokenReader:
    """Tokeniser of items.

    Args:
        fields: read as words and, if they are attributes, as attribute values too.
        attributes: further ones, read as attribute values only.
    """

    fields: Sequence[str]
    attributes: Sequence[str] = ()

    def read(self, items: Iterable[Item]) -> Tokens:
        """Tokens of each item."""
        return Tokens.of(self.tokens(item) for item in items)

    def tokens(self, item: Item) -> dict[str, int]:
        """Words of the fields, then the text values of fields and attributes; with their kinds.

        A path (``Germany / Berlin``, ``Beauty > Nails``) gives one token per prefix, so that a
        model learns what holds for a country or department once for everything below it. Numbers
        are words only, and so are long texts.
        """
        paths = {
            name: _read_paths(item.attributes.get(name, ()))
            for name in dict.fromkeys((*self.fields, *self.attributes))
        }
        texts = [name for name in self.fields if not paths[name]]
        kinds = dict.fromkeys(tokens(item.text(texts)), TEXT)
        for word in tokens(item.text([name for name in self.fields if paths[name]])):
            kinds.setdefault(word, WORD_OF_VALUE)
        for name, values in paths.items():
            kind = _hash(name) >> 1 | WORD_OF_VALUE + 1
            kinds |= {f"{name}={path}": kind for path in values}
        return kinds


def _hash(token: str) -> int:
    return zlib.crc32(token.encode())


def _read_paths(value: Attribute) -> list[str]:
    if isinstance(value, float):
        return []
    parts = (value,) if isinstance(value, str) else value
    return [prefix for part in parts for prefix in _path_prefixes(part)]


def _path_prefixes(path: str) -> list[str]:
    parts = _STEP.split(path[:MAX_CHARACTERS], maxsplit=_MOST_STEPS)
    steps = [step for step in map(normalise, parts) if step]
    if len(parts) <= _MOST_STEPS and any(step.count(" ") >= _LONGEST_STEP for step in steps):
        return []
    return ["/".join(steps[: length + 1]) for length in range(len(steps))]


@dataclass(frozen=True, slots=True, eq=False)
class ItemFeatures(Artefact):
    """Content features, one row per item of the catalogue.

    Args:
        content: (N, D) float32 unit vectors.
        codes: (N, L) int32 semantic IDs.
        codebook_size: K, the size of embedding tables per level.
        present: (N, M) bool, which of M modalities an item has; None = none is missing.
        tokens: words and attributes; None = not computed.
        near: (N, M) int32 items of the generation that new items are compared with, padded with
            -1; None = they are compared with all.
    """

    content: FloatArray
    codes: IntArray
    codebook_size: int
    present: BoolArray | None = None
    tokens: Tokens | None = None
    near: IntArray | None = None

    def stored(self) -> dict[str, Any]:
        """Content, packed, and codes; no tokens."""
        return {
            "content": PackedRows.of(self.content),
            "codes": self.codes,
            "codebook_size": self.codebook_size,
            "present": self.present,
        }

    def __len__(self) -> int:
        return len(self.content)

    def rows(self, item_nums: IntArray) -> ItemFeatures:
        """Select items, in the order of ``item_nums``."""
        return ItemFeatures(
            self.content[item_nums],
            self.codes[item_nums],
            self.codebook_size,
            None if self.present is None else self.present[item_nums],
            None if self.tokens is None else self.tokens.rows(item_nums),
            None if self.near is None else self.near[item_nums],
        )

    def put(self, item_nums: IntArray, new: ItemFeatures) -> ItemFeatures:
        """A copy with other features of these items, see ``LateRows.put``."""
        present = None
        if self.present is not None or new.present is not None:
            present = put_rows(_mask(self, new), item_nums, _mask(new, self))
        return ItemFeatures(
            put_rows(self.content, item_nums, new.content),
            put_rows(self.codes, item_nums, new.codes),
            self.codebook_size,
            present,
            None if self.tokens is None else self.tokens.put(item_nums, new.known_tokens),
        )

    def read_by(self, reader: TokenReader, items: Sequence[Item]) -> ItemFeatures:
        """The same features with the tokens of their items."""
        return replace(self, tokens=reader.read(items))

    @property
    def known_tokens(self) -> Tokens:
        """``tokens``, or empty ones if they were not computed."""
        return Tokens.none(len(self)) if self.tokens is None else self.tokens


def _mask(features: ItemFeatures, other: ItemFeatures) -> BoolArray:
    if features.present is not None:
        return features.present
    assert other.present is not None
    return np.ones((len(features), other.present.shape[1]), dtype=np.bool_)
