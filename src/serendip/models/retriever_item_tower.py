"""The item tower of the unified retriever, for training only. Torch.

Item ``z = LN(W x + b + sum_t V_t / sqrt(T) + sum_l E_l[c_l] + g E_id)``: projected content, the
embeddings of its T words and attributes, codes, and the gated id. The same W and V read items and
queries, so a query starts out beside the items whose content it resembles, and what is learned of
a word where it is typed is known where it is written.

Shapes: U items or queries, N all items, C content size, L levels, D embedding size, S words size,
E = D + S.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from serendip.data.arrays import FloatArray
from serendip.data.item_features import Tokens
from serendip.models.linalg import procrustes
from serendip.models.retriever_config import RetrieverConfig
from serendip.models.token_tables import TokenBags

_UNKNOWN_ID = 0.02


class ItemTower(nn.Module):
    """Vectors of items from content, codes and the gated id."""

    def __init__(
        self,
        content: Tensor,
        codes: Tensor,
        codebook_size: int,
        config: RetrieverConfig,
        words_size: int = 0,
        tokens: Tokens | None = None,
    ) -> None:
        super().__init__()
        self.sizes = part_sizes(config.embedding_size, words_size)
        size = sum(self.sizes)
        self.content, self.codes = content, codes
        self.has_content = (content != 0).any(-1, keepdim=True)
        self.reads_content = config.reads("content")
        levels = codes.shape[1] if config.reads("codes") else 0
        self.code_tables = nn.Parameter(
            torch.randn(levels, codebook_size, size) * config.code_scale
        )
        ids = len(content) if config.reads("id") else 0
        self.ids = nn.Parameter(torch.randn(ids, size) * _id_spread(config))
        self.lenders: tuple[Tensor, Tensor] | None = None
        axes, centre = axes_of_parts(content, self.sizes)
        self.weight = nn.Parameter(axes * config.content_scale)
        self.bias = nn.Parameter(-config.content_scale * axes @ centre)
        # Zeros, so that a word says nothing until something is learned of it.
        buckets = config.token_buckets if content.shape[1] else 0
        self.token_table = nn.Parameter(torch.zeros(buckets, size))
        self.bags = self.bags_of(Tokens.none(len(content)) if tokens is None else tokens)

    def bags_of(self, tokens: Tokens) -> TokenBags | None:
        """Tokens as rows of the table; None where there is no table."""
        return TokenBags(tokens, len(self.token_table)) if len(self.token_table) else None

    @torch.no_grad()
    def start_ids_at(self, vectors: FloatArray, scale: float) -> None:
        """Begin at unit id vectors (N, P), made ``scale`` large; rows of zeros stay as they are.

        P is the width of the wider part; the other one begins at the first numbers of them. Their
        axes are arbitrary (signs and order of eigenvectors), so each part is turned onto what is
        known of the items by their content: both say the same in the same places from the start,
        and trainings on more events start at nearly the same place.
        """
        known = torch.from_numpy(np.abs(vectors).max(1) > 0)
        own = torch.from_numpy(vectors)[known]
        content = normed_parts(self.project(self.content[known]), self.sizes)
        parts = []
        for size, target in zip(
            self.sizes, torch.split(content, list(self.sizes), -1), strict=True
        ):
            part = own if size == own.shape[1] else functional.normalize(own[:, :size])
            if self.reads_content:
                part = part @ torch.from_numpy(procrustes(part.numpy(), target.numpy()))
            parts.append(part * (scale * size**0.5))
        self.ids[known] = torch.cat(parts, 1)

    def project(self, content: Tensor) -> Tensor:
        """Vectors of texts (U, C) -> (U, E), as content; zeros, which say nothing, stay zeros."""
        known = (content != 0).any(-1, keepdim=True)
        return functional.linear(content, self.weight, self.bias) * known

    def read(self, vectors: Tensor, bags: TokenBags | None, texts: Tensor) -> Tensor:
        """Queries (U,) -> (U, E), by their vectors (Q, C) and their words, as items are read."""
        projected = self.project(vectors[texts])
        return projected if bags is None else projected + bags.sums(self.token_table, texts)

    def forward(self, items: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        """Items (U,) and id gates (U,) -> (vectors (U, E), projected content (U, E))."""
        projected = functional.linear(self.content[items], self.weight, self.bias)
        projected = projected * self.has_content[items]
        if self.bags is not None:
            projected = projected + self.bags.sums(self.token_table, items)
        mixed = projected if self.reads_content else torch.zeros_like(projected)
        if len(self.ids):
            mixed = mixed + gate[:, None] * functional.embedding(items, self.ids)
            if self.lenders is not None:
                mixed = self._borrow(mixed, items, gate)
        for level, table in enumerate(self.code_tables):
            mixed = mixed + functional.embedding(self.codes[items, level], table)
        return normed_parts(mixed, self.sizes), projected

    def _borrow(self, mixed: Tensor, items: Tensor, gate: Tensor) -> Tensor:
        """Where the gate is shut, the ids of the nearest items by content stand in."""
        assert self.lenders is not None
        numbers, shares = self.lenders
        rows = (gate == 0).nonzero()[:, 0]
        who = items[rows]
        lent = functional.embedding_bag(
            numbers[who], self.ids, per_sample_weights=shares[who], mode="sum"
        )
        return mixed.index_add(0, rows, lent)


def _id_spread(config: RetrieverConfig) -> float:
    """Standard deviation of random ids: small beside other parts unless it is where they start."""
    if config.item_mode == "id":
        return 1.0
    return config.id_scale if config.id_start == "random" else _UNKNOWN_ID


def part_sizes(size: int, words_size: int) -> tuple[int, ...]:
    """Widths of the parts of a vector, in order."""
    return (size, words_size) if words_size else (size,)


def normed_parts(vectors: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Layer norm of each part of vectors (..., E)."""
    parts = torch.split(vectors, list(sizes), -1)
    return torch.cat([functional.layer_norm(part, part.shape[-1:]) for part in parts], -1)


def axes_of_parts(content: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """``principal_axes`` for each of the parts, one below the other (E, C); and the mean (C,)."""
    found = [principal_axes(content, size) for size in sizes]
    return torch.cat([axes for axes, _ in found]), found[0][1]


def principal_axes(content: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Axes (size, C) of most variance and the mean (C,) of content (N, C).

    Scaled so that projected items have a mean square near 1; rows beyond the rank of the content
    are small random directions, so that nothing is dead.
    """
    width = content.shape[1]
    axes = torch.randn(size, width) * 1e-3
    if not content.numel():
        return axes, torch.zeros(width)
    sample = content[:: max(1, len(content) // 20_000)]
    centre = sample.mean(0)
    # Doubles: with few items nearly all eigenvalues are equal, and singles may not converge.
    sample = (sample - centre).double()
    values, vectors = torch.linalg.eigh(sample.T @ sample / len(sample))
    values, vectors = values.float(), vectors.float()
    rank = min(size, int((values > 1e-6).sum()))
    if rank:
        axes[:rank] = vectors.flip(1)[:, :rank].T * (size / values.sum()) ** 0.5
    return axes, centre
