"""What content says about items: vectors, semantic IDs, what is there, words and attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.item import Item
from serendip.data.tokens import TokenReader, Tokens


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
