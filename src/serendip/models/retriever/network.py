"""Two-tower network of the unified retriever: item tower and causal context encoder. Torch.

Used in training only; serving reads the exported ONNX graph and ``item_encoder``.

Item tower: ``z = LN(W x + b + sum_t V_t / sqrt(T) + sum_l E_l[c_l] + g E_id)`` is the layer norm of
the projected content x, the embeddings V_t of the item's T words and attribute values, one code
embedding per level l of its semantic ID, and the ID embedding behind a gate g in [0, 1]. Queries
and items share W and V: a query starts near items with similar content, and what training learns
about a word in queries also applies to that word in item texts.

Context encoder: a causal sequence of history tokens closed by one request token, through gated
transformer blocks (LiGR, Borisyuk et al. 2025, arXiv:2502.03417: a sigmoid gate on each residual
branch). Each token attends to the history strictly before its position and to itself, so the
requests after every prefix of a history are encoded in one pass and share its keys and values.

A vector may have a second part of S dimensions that only search uses, next to the D shared ones.
Search then has transformer blocks of its own, and its gradients do not reach the history vectors:
query understanding and taste need different attention. This is a mixture of experts (MMoE, Ma et
al. 2018) with one expert per side and the task as a fixed router.

Shapes: B rows, T history steps, M requests per row, U looked-up items or queries, N all items, C
content size, L code levels, V rows of the token table, D embedding size, S words size, E = D + S, H
attention heads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from serendip.data import FloatArray, PackedRows, Tokens
from serendip.models.linalg import fit_procrustes
from serendip.models.retriever.artefact import RetrieverStart
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.requests import NUM_GAPS, NUM_TASKS, SEARCH


def sum_tokens(tokens: Tokens, table: Tensor, texts: Tensor) -> Tensor:
    """Sum of the table rows (V, E) of each text (U,), over the root of its token count: (U, E).

    The root keeps the expected norm independent of text length. No tokens: zeros.
    """
    chosen = tokens.rows(texts.numpy())
    shares = np.repeat(chosen.counts, chosen.counts).astype(np.float32) ** -0.5
    summed: Tensor = functional.embedding_bag(
        torch.from_numpy(chosen.buckets(len(table))),
        table,
        torch.from_numpy(chosen.starts[:-1]),
        mode="sum",
        per_sample_weights=torch.from_numpy(shares),
    )  # (U, E)
    return summed


NUM_HEADS = 2
"""Attention heads; they divide the sizes of a vector."""

TEMPERATURE = 0.1
"""Of the softmax: scores start at about cosine / temperature; lower = sharper."""

_ROWS_AT_ONCE = 8_192

_UNKNOWN_ID = 0.02
"""Standard deviation of initial ID embeddings of items without a co-occurrence vector."""


class ItemContent:
    """Content vectors (N, C) that are read by item and not trained; packed ones stay packed.

    A row of zeros = the item has none.
    """

    def __init__(self, rows: FloatArray) -> None:
        self.size = rows.shape[1]
        self._values: Tensor  # (N, C)
        self._scales: Tensor | None = None  # (N, 1)
        if isinstance(rows, PackedRows):
            self._values = torch.from_numpy(np.require(rows.values, requirements="W"))
            self._scales = torch.from_numpy(np.require(rows.scales, requirements="W"))[:, None]
        else:
            self._values = torch.from_numpy(np.asarray(rows, np.float32))

    def __len__(self) -> int:
        return len(self._values)

    def rows(self, items: Tensor) -> Tensor:
        """Content (U, C) of items (U,)."""
        values = self._values.index_select(0, items)
        if self._scales is None:
            return values
        return values.float().mul_(self._scales.index_select(0, items))

    def is_filled(self) -> Tensor:
        """Mask (N, 1) of the items that have content."""
        if self._scales is not None:
            return self._scales != 0
        blocks = torch.split(self._values, _ROWS_AT_ONCE)
        return torch.cat([(block != 0).any(-1, keepdim=True) for block in blocks])

    def sample(self) -> Tensor:
        """Content of 20,000 to 40,000 evenly spaced items, or of all."""
        return self.rows(torch.arange(0, len(self), max(1, len(self) // 20_000)))


class ItemTower(nn.Module):
    """Item tower: item vectors from content, tokens, codes and the gated ID embedding.

    Args:
        codes: (N, L) int64 semantic IDs.
        codebook_size: K, codes per level.
        search_size: S, dimensions that only search uses; 0 = none.
        tokens: words and attribute values of the items; None = none.
    """

    def __init__(
        self,
        content: ItemContent,
        codes: Tensor,
        codebook_size: int,
        config: RetrieverConfig,
        search_size: int = 0,
        tokens: Tokens | None = None,
    ) -> None:
        super().__init__()
        self.sizes = part_sizes(config.embedding_size, search_size)
        size = sum(self.sizes)
        self.content, self.codes = content, codes
        self.has_content = content.is_filled()  # (N, 1)
        self.reads_content = config.reads("content")
        levels = codes.shape[1] if config.reads("codes") else 0
        self.code_tables = nn.Parameter(
            torch.randn(levels, codebook_size, size) * config.code_scale
        )  # (L, K, E)
        ids = len(content) if config.reads("id") else 0
        self.ids = nn.Parameter(
            torch.randn(ids, size) * (1.0 if config.item_mode == "id" else _UNKNOWN_ID)
        )  # (N, E)
        # ID donors of every item and their weights, both (N, K); None = no imputation.
        self.id_donors: tuple[Tensor, Tensor] | None = None
        # Reads ID embeddings (R, E) of distinct items (R,) in training; see ``RowAdamW``.
        self.read_ids: Callable[[Tensor], Tensor] | None = None
        # The projection starts as PCA: x -> axes @ (x - centre).
        axes, centre = axes_of_parts(content.sample(), self.sizes)  # (E, C), (C,)
        self.weight = nn.Parameter(axes)
        self.bias = nn.Parameter(-axes @ centre)
        # Zeros, so that a word without gradients leaves the vector unchanged.
        buckets = config.token_buckets if content.size else 0
        self.token_table = nn.Parameter(torch.zeros(buckets, size))  # (V, E)
        self.tokens = Tokens.none(len(content)) if tokens is None else tokens

    @torch.no_grad()
    def start_ids_at(self, vectors: FloatArray) -> None:
        """Initialise ID embeddings with unit vectors (N, P), scaled to root mean square 1.

        P is the width of the wider part; the other part starts with the first dimensions of the
        same vectors. Axes of co-occurrence vectors are arbitrary (signs and order of eigenvectors),
        so each part is rotated onto the projected content of its items (orthogonal Procrustes):
        IDs and content agree from the start, and retraining with more events starts at nearly the
        same point. Items with a row of zeros keep their small random ID.
        """
        has_vector = torch.from_numpy(np.abs(vectors).max(1) > 0)  # (N,)
        starts = torch.from_numpy(vectors)[has_vector]  # (U, P)
        blocks = torch.split(has_vector.nonzero()[:, 0], _ROWS_AT_ONCE)
        projected = torch.cat([self.project(self.content.rows(block)) for block in blocks])
        content = normed_parts(projected, self.sizes)  # (U, E)
        parts = []
        for size, target in zip(
            self.sizes, torch.split(content, list(self.sizes), -1), strict=True
        ):
            part = starts if size == starts.shape[1] else functional.normalize(starts[:, :size])
            if self.reads_content:
                part = part @ torch.from_numpy(fit_procrustes(part.numpy(), target.numpy()))
            # A unit vector of `size` numbers has root mean square 1 / sqrt(size).
            parts.append(part * size**0.5)
        self.ids[has_vector] = torch.cat(parts, 1)

    @torch.no_grad()
    def continue_codes(self, tables: Tensor, start: RetrieverStart) -> None:
        """Set each code to the mean earlier embedding (in ``tables``) of the items that have it."""
        known = torch.from_numpy(np.flatnonzero(start.rows >= 0))
        before = torch.from_numpy(start.codes[start.rows[known.numpy()]].astype(np.int64))
        for level, table in enumerate(self.code_tables):
            codes = self.codes[known, level]
            sums = torch.zeros_like(table).index_add(0, codes, tables[level][before[:, level]])
            counts = torch.bincount(codes, minlength=len(table))  # (K,)
            has_items = counts > 0
            table[has_items] = sums[has_items] / counts[has_items, None]

    @torch.no_grad()
    def continue_ids(self, ids: Tensor, start: RetrieverStart) -> None:
        """Set the IDs of trained items to earlier ones (N', E), and others to those of donors."""
        rows = np.maximum(start.rows, 0)
        is_known = torch.from_numpy((start.rows >= 0) & start.seen[rows])  # (N,)
        known = is_known.nonzero()[:, 0]
        self.ids[known] = ids[torch.from_numpy(rows)[known]]
        if self.id_donors is None:
            return
        unknown = (~is_known).nonzero()[:, 0]
        donors, weights = (part[unknown] for part in self.id_donors)  # (unknown, K) each
        weights = weights * is_known[donors]
        totals = weights.sum(1, keepdim=True)
        has_donor = totals[:, 0] > 0
        means = functional.embedding_bag(
            donors, self.ids, per_sample_weights=weights / totals.clamp(min=1e-9), mode="sum"
        )
        self.ids[unknown[has_donor]] = means[has_donor]

    def project(self, content: Tensor) -> Tensor:
        """Project content or text vectors (U, C) -> (U, E); rows of zeros (no content) stay 0."""
        has_content = (content != 0).any(-1, keepdim=True)  # (U, 1)
        return functional.linear(content, self.weight, self.bias) * has_content

    def add_tokens(self, projected: Tensor, tokens: Tokens, texts: Tensor) -> Tensor:
        """Add the tokens of texts (U,), or items, to their projected vectors (U, E)."""
        if not len(self.token_table):
            return projected
        return projected + sum_tokens(tokens, self.token_table, texts)

    def forward(self, items: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        """Encode items (U,) with ID gates (U,) -> vectors (U, E) and projected content (U, E)."""
        content = self.content.rows(items)  # (U, C)
        projected = functional.linear(content, self.weight, self.bias) * self.has_content[items]
        projected = self.add_tokens(projected, self.tokens, items)
        mixed = projected if self.reads_content else torch.zeros_like(projected)
        if len(self.ids):
            mixed = self._add_ids(mixed, items, gate)
        for level, table in enumerate(self.code_tables):
            mixed = mixed + functional.embedding(self.codes[items, level], table)
        return normed_parts(mixed, self.sizes), projected

    def _add_ids(self, mixed: Tensor, items: Tensor, gate: Tensor) -> Tensor:
        """Add ID embeddings to (U, E): the item's own one, behind its gate (U,).

        Where the gate is 0, it is the weighted mean of the item's ID donors instead.
        """
        known, hidden = gate.nonzero()[:, 0], (gate == 0).nonzero()[:, 0]
        used = items[known]
        if self.id_donors is not None:
            donors, weights = (part[items[hidden]] for part in self.id_donors)  # (hidden, K) each
            used = torch.cat([used, donors.flatten()])
        numbers, index = torch.unique(used, return_inverse=True)
        if self.training and self.read_ids is not None:
            ids = self.read_ids(numbers)  # (R, E)
        else:
            ids = functional.embedding(numbers, self.ids)
        own = functional.embedding(index[: len(known)], ids) * gate[known, None]
        mixed = mixed.index_add(0, known, own)
        if self.id_donors is None:
            return mixed
        imputed = functional.embedding_bag(
            index[len(known) :].view_as(donors), ids, per_sample_weights=weights, mode="sum"
        )  # (hidden, E)
        return mixed.index_add(0, hidden, imputed)


def part_sizes(size: int, search_size: int) -> tuple[int, ...]:
    """Widths of the parts of a vector: (D, S), or (D,) without a search part."""
    return (size, search_size) if search_size else (size,)


def normed_parts(vectors: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Layer norm of each part of vectors (..., E), without learned scale and shift."""
    parts = torch.split(vectors, list(sizes), -1)  # (..., D), (..., S)
    normed = [functional.layer_norm(part, (size,)) for part, size in zip(parts, sizes, strict=True)]
    return torch.cat(normed, -1)


def axes_of_parts(content: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Stacked ``principal_axes`` of the parts (E, C), and the mean content (C,)."""
    bases = [principal_axes(content, size) for size in sizes]
    return torch.cat([axes for axes, _ in bases]), bases[0][1]


def principal_axes(content: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """PCA of content (N, C), from about 20,000 items: axes (size, C) of most variance, mean (C,).

    Scaled so that projected items have a mean square near 1. Axes beyond the rank of the content
    are small random directions, so that every dimension receives gradients.
    """
    width = content.shape[1]
    axes = torch.randn(size, width) * 1e-3
    if not content.numel():
        return axes, torch.zeros(width)
    sample = content[:: max(1, len(content) // 20_000)]
    centre = sample.mean(0)  # (C,)
    # float64: with few items nearly all eigenvalues are equal, and float32 may not converge.
    sample = (sample - centre).double()
    values, vectors = torch.linalg.eigh(sample.T @ sample / len(sample))  # (C,), (C, C)
    values, vectors = values.float(), vectors.float()
    rank = min(size, int((values > 1e-6).sum()))
    if rank:
        # eigh sorts ascending: flipped, the columns of largest variance come first.
        axes[:rank] = vectors.flip(1)[:, :rank].T * (size / values.sum()) ** 0.5
    return axes, centre


INPUTS = (
    "history",
    "liked",
    "gaps",
    "places",
    "prefix",
    "task",
    "text",
    "has_text",
    "source",
    "has_source",
)
"""Inputs of the exported context encoder, in the order of ``ContextEncoder.forward``."""

COUNTRY = "country"
"""A further input if the countries of users are known."""

OPEN_AXES = [{0: "rows", 1: "steps"}] * 4 + [{0: "rows"}] * 6
"""Dynamic axes of ``INPUTS``: four per history step, six per request."""


class GatedBlock(nn.Module):
    """Gated transformer block (LiGR): tokens attend to a shared history and to themselves.

    Pre-norm attention and a SwiGLU feed-forward layer, each scaled by a sigmoid gate of its input.
    A learned bias per distance and head (``recency``) replaces position embeddings.
    """

    def __init__(self, config: RetrieverConfig, size: int) -> None:
        super().__init__()
        self.attention_norm, self.forward_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.query, self.out = nn.Linear(size, size), nn.Linear(size, size)
        self.key_value = nn.Linear(size, 2 * size)
        self.up = nn.Linear(size, 4 * size, bias=False)
        self.down = nn.Linear(2 * size, size, bias=False)
        self.attention_gate, self.forward_gate = nn.Linear(size, size), nn.Linear(size, size)
        # (max_len + 1, H) added to attention logits, by distance to the history step.
        self.recency = nn.Parameter(torch.zeros(config.max_len + 1, NUM_HEADS))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, history: Tensor, steps: Tensor) -> Tensor:
        """Update tokens (B, M, E) by attention over history (B, T, E) and themselves.

        ``steps`` (B, M, T): distance from the token back to a history step; 0 = not visible.
        """
        normed = self.attention_norm(tokens)  # (B, M, E)
        attended = self.out(self._attend(normed, self.attention_norm(history), steps))
        gate = torch.sigmoid(self.attention_gate(normed))  # (B, M, E)
        tokens = tokens + self.dropout(gate * attended)
        normed = self.forward_norm(tokens)
        hidden, linear = self.up(normed).chunk(2, -1)  # (B, M, 2 E) each
        branch = self.down(functional.silu(hidden) * linear)  # SwiGLU, (B, M, E)
        gate = torch.sigmoid(self.forward_gate(normed))
        updated: Tensor = tokens + self.dropout(gate * branch)
        return updated

    def _attend(self, tokens: Tensor, history: Tensor, steps: Tensor) -> Tensor:
        """Multi-head attention of tokens (B, M, E) over history (B, T, E) and themselves.

        Keys and values of a token itself are used by this token only, so the requests of a row
        do not see one another.
        """
        query = self._split_heads(self.query(tokens))  # (B, H, M, E / H)
        key, value = (
            self._split_heads(part) for part in self.key_value(history).chunk(2, -1)
        )  # (B, H, T, E / H)
        self_key, self_value = (
            self._split_heads(part) for part in self.key_value(tokens).chunk(2, -1)
        )  # (B, H, M, E / H)
        scale = query.shape[-1] ** -0.5
        history_logits = query @ key.transpose(-1, -2) * scale + functional.embedding(
            steps, self.recency
        ).permute(0, 3, 1, 2)  # (B, H, M, T)
        history_logits = history_logits.masked_fill(steps[:, None] == 0, -1e9)
        self_logits = (query * self_key).sum(-1, keepdim=True) * scale  # (B, H, M, 1)
        weights = torch.softmax(torch.cat([history_logits, self_logits], -1), -1)  # (.., T + 1)
        mixed = weights[..., :-1] @ value + weights[..., -1:] * self_value  # (B, H, M, E / H)
        joined: Tensor = mixed.transpose(1, 2).flatten(2)  # (B, M, E)
        return joined

    def _split_heads(self, tokens: Tensor) -> Tensor:
        """(B, M, E) -> (B, H, M, E / H)."""
        rows, count, size = tokens.shape
        heads = tokens.reshape(rows, count, NUM_HEADS, size // NUM_HEADS)
        return heads.transpose(1, 2)


class ContextEncoder(nn.Module):
    """Context encoder: request vectors u from histories and requests, scored as ``u . z(item)``."""

    def __init__(
        self, config: RetrieverConfig, num_countries: int = 0, search_size: int = 0
    ) -> None:
        super().__init__()
        self.sizes = part_sizes(config.embedding_size, search_size)
        size = sum(self.sizes)
        self.max_len = config.max_len
        # Zeros, so that a country without gradients leaves the request unchanged.
        self.countries = nn.Parameter(torch.zeros(num_countries, size)) if num_countries else None
        self.liked = nn.Parameter(torch.randn(2, size) * 0.02)
        self.gaps = nn.Parameter(torch.randn(NUM_GAPS, size) * 0.02)
        self.tasks = nn.Parameter(torch.randn(NUM_TASKS, size) * 0.02)
        self.text, self.source = nn.Linear(size, size, False), nn.Linear(size, size, False)
        for layer in (self.text, self.source):
            # Identity: before training a request scores items by similarity to its text and source.
            nn.init.eye_(layer.weight)
        self.dropout = nn.Dropout(config.dropout)
        self.block = GatedBlock(config, size)
        self.search_block = GatedBlock(config, size) if search_size else None
        self.final_norm = nn.LayerNorm(size)
        # Layer-normed vectors have length sqrt(E), so scores are about cosine / temperature.
        self.scale = 1.0 / (TEMPERATURE * size)
        self.answers: Tensor | None
        self.register_buffer("answers", answered_by(self.sizes), persistent=False)

    def forward(
        self,
        history: Tensor,
        liked: Tensor,
        gaps: Tensor,
        places: Tensor,
        prefix: Tensor,
        task: Tensor,
        text: Tensor,
        has_text: Tensor,
        source: Tensor,
        has_source: Tensor,
        country: Tensor | None = None,
        num_searches: int | None = None,
    ) -> Tensor:
        """Encode requests -> vectors u (B, M, E), zeros in the dimensions their task does not use.

        Args:
            history: (B, T, E) item vectors.
            liked: (B, T) int64, 0 or 1.
            gaps: (B, T) int64 bucket of the time since the step before.
            places: (B, T) int64 position in the history, ``max_len`` or more for padding.
            prefix: (B, M) int64 number of history steps visible to a request.
            task: (B, M) int64.
            text: (B, M, E) projected text.
            has_text: (B, M) float, 0 or 1.
            source: (B, M, E) vector of the source item.
            has_source: (B, M) float, 0 or 1.
            country: (B, M) int64, 1 + index of the country, 0 = unknown; None = all unknown.
            num_searches: the last ``num_searches`` requests of each row are the searches; None =
                any request may be a search, as in the exported graph, which runs the blocks of both
                sides and selects by task.
        """
        marks = functional.embedding(liked, self.liked) + functional.embedding(gaps, self.gaps)
        steps = self.dropout(history + marks)  # (B, T, E)
        normed_text = normed_parts(text, self.sizes) * has_text[..., None]  # (B, M, E)
        requests = (
            self.tasks[task] + self.text(normed_text) + self.source(source * has_source[..., None])
        )  # (B, M, E)
        if self.countries is not None and country is not None:
            unknown = torch.zeros_like(self.countries[:1])
            requests = requests + functional.embedding(
                country, torch.cat([unknown, self.countries])
            )
        requests = self.dropout(requests)
        requests = self._route(requests, steps, prefix, places, task, num_searches)
        encoded: Tensor = self.final_norm(requests) * self.scale  # (B, M, E)
        if self.answers is None:
            return encoded
        return encoded * functional.embedding(task, self.answers)

    def _route(
        self,
        requests: Tensor,
        steps: Tensor,
        prefix: Tensor,
        places: Tensor,
        task: Tensor,
        num_searches: int | None,
    ) -> Tensor:
        """Pass requests (B, M, E) through the block of their task: search's or the others'."""
        distance = self._distance(prefix, places)  # (B, M, T)
        if self.search_block is None:
            return cast("Tensor", self.block(requests, steps, distance))
        if num_searches is None:
            others = self.block(requests, steps, distance)
            searches = self.search_block(requests, steps, distance)
            return torch.where((task == SEARCH)[..., None], searches, others)
        parts = []
        sizes = [requests.shape[1] - num_searches, num_searches]
        others, searches = torch.split(requests, sizes, 1)
        other_distance, search_distance = torch.split(distance, sizes, 1)
        if sizes[0]:
            parts.append(self.block(others, steps, other_distance))
        if num_searches:
            # Search reads histories without moving them: no gradient into the history vectors.
            parts.append(self.search_block(searches, steps.detach(), search_distance))
        return torch.cat(parts, 1)

    def _distance(self, prefix: Tensor, places: Tensor) -> Tensor:
        """(B, M, T) steps back from each token; 0 = not before the token, or padding."""
        back = (prefix[:, :, None] - places[:, None, :]).clamp(0, self.max_len)
        return torch.where(places[:, None, :] < self.max_len, back, torch.zeros_like(back))


def example_request(size: int, has_countries: bool = False) -> tuple[Tensor, ...]:
    """Example inputs of the context encoder for the export: 2 rows, 3 steps, 1 request each.

    All are different tensors: the exporter treats the same object as one input.
    """
    marks = (torch.zeros(2, 3, dtype=torch.int64) for _ in range(3))
    numbers = (torch.zeros(2, 1, dtype=torch.int64) for _ in range(2))
    text, has_text = torch.zeros(2, 1, size), torch.zeros(2, 1)
    country = (torch.zeros(2, 1, dtype=torch.int64),) if has_countries else ()
    return (
        torch.zeros(2, 3, size),
        *marks,
        *numbers,
        text,
        has_text,
        text.clone(),
        has_text.clone(),
        *country,
    )


def answered_by(sizes: tuple[int, ...]) -> Tensor | None:
    """Mask (tasks, E) of the dimensions a task uses: search all E, the other tasks the first D.

    Scaled by E over the number of dimensions used, so that scores are equally large in every task.
    None for vectors of one part.
    """
    if len(sizes) == 1:
        return None
    is_shared = torch.arange(sum(sizes)) < sizes[0]  # (E,)
    is_search = torch.arange(NUM_TASKS) == SEARCH  # (tasks,)
    used = (is_search[:, None] | is_shared).float()  # (tasks, E)
    return used * (sum(sizes) / used.sum(1, keepdim=True))
