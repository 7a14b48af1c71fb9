"""Sums of token embeddings: one table that items and queries share. Torch, training only.

Shapes: N texts, T tokens, U texts that are asked for, V rows of the table, E size of a vector.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from serendip.data.item_features import Tokens


class TokenBags:
    """The tokens of N texts, ready to be summed."""

    def __init__(self, tokens: Tokens, buckets: int) -> None:
        self.numbers = torch.from_numpy(tokens.hashes % buckets)
        self.starts = torch.from_numpy(tokens.starts[:-1])
        self.counts = torch.from_numpy(tokens.counts)
        shares = np.repeat(tokens.counts, tokens.counts).astype(np.float32) ** -0.5
        self.shares = torch.from_numpy(shares)

    def sums(self, table: Tensor, texts: Tensor) -> Tensor:
        """(U, E) of texts (U,): their rows of the table (V, E), over the root of their number.

        Long texts are so no louder than short ones; a text without tokens gives zeros.
        """
        counts = self.counts[texts]
        offsets = counts.cumsum(0) - counts
        shifts = torch.repeat_interleave(self.starts[texts] - offsets, counts)
        places = torch.arange(len(shifts)) + shifts
        summed: Tensor = functional.embedding_bag(
            self.numbers[places],
            table,
            offsets,
            mode="sum",
            per_sample_weights=self.shares[places],
        )
        return summed
