"""The context encoder of the unified retriever, for training only. Torch.

Context is a causal sequence of history tokens closed by one request token, through gated
transformer blocks (LiGR: a sigmoid gate on each residual branch). Each token attends to the history
strictly before its place and to itself, so requests after every prefix of a history are answered
in one pass and share its keys and values.

A vector may have a second part, which answers search, beside the first, and nothing else. Search
then has blocks of its own, which read histories without moving them: what words need of attention
is not what taste needs. (Ideas: the experts of multi-task networks, one for each side here, as the
task already says whose turn it is.)

Shapes: B rows, T history steps, M requests per row, D embedding size, S words size, E = D + S, H
heads.

The item tower of the unified retriever, for training only. Torch.

Item ``z = LN(W x + b + sum_t V_t / sqrt(T) + sum_l E_l[c_l] + g E_id)``: projected content, the
embeddings of its T words and attributes, codes, and the gated id. The same W and V read items and
queries, so a query starts out beside the items whose content it resembles, and what is learned of
a word where it is typed is known where it is written.

Shapes: U items or queries, N all items, C content size, L levels, D embedding size, S words size,
E = D + S.

Sums of token embeddings: one table that items and queries share. Torch, training only.

Shapes: N texts, T tokens, U texts that are asked for, V rows of the table, E size of a vector.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from serendip.data.arrays import FloatArray
from serendip.data.item_features import Tokens
from serendip.errors import ConfigError
from serendip.models.linalg import procrustes
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.requests import NUM_GAPS, NUM_TASKS, SEARCH


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
COUNTRY = "country"
"""One more input where the countries of users are known."""

OPEN_AXES = [{0: "rows", 1: "steps"}] * 4 + [{0: "rows"}] * 6


class GatedBlock(nn.Module):
    """One causal block in which tokens read a shared history."""

    def __init__(self, config: RetrieverConfig, size: int) -> None:
        super().__init__()
        if size % config.num_heads:
            raise ConfigError(
                f"num_heads = {config.num_heads} does not divide embedding_size + words_size = "
                f"{size}.",
                "Choose another words_size, or 0.",
            )
        self.num_heads = config.num_heads
        self.attention_norm, self.forward_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.query, self.out = nn.Linear(size, size), nn.Linear(size, size)
        self.key_value = nn.Linear(size, 2 * size)
        self.up = nn.Linear(size, 4 * size, bias=False)
        self.down = nn.Linear(2 * size, size, bias=False)
        self.attention_gate, self.forward_gate = nn.Linear(size, size), nn.Linear(size, size)
        self.recency = nn.Parameter(torch.zeros(config.max_len + 1, config.num_heads))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, history: Tensor, steps: Tensor) -> Tensor:
        """Update tokens (B, M, E) from history (B, T, E) and themselves.

        ``steps`` (B, M, T): how many places before the token a history step lies; 0 = not visible.
        """
        normed = self.attention_norm(tokens)
        attended = self.out(self._attend(normed, self.attention_norm(history), steps))
        gate = torch.sigmoid(self.attention_gate(normed))
        tokens = tokens + self.dropout(gate * attended)
        normed = self.forward_norm(tokens)
        passed, opened = self.up(normed).chunk(2, -1)
        branch = self.down(functional.silu(passed) * opened)
        gate = torch.sigmoid(self.forward_gate(normed))
        updated: Tensor = tokens + self.dropout(gate * branch)
        return updated

    def _attend(self, tokens: Tensor, history: Tensor, steps: Tensor) -> Tensor:
        query = self._split(self.query(tokens))
        key, value = (self._split(part) for part in self.key_value(history).chunk(2, -1))
        own_key, own_value = (self._split(part) for part in self.key_value(tokens).chunk(2, -1))
        scale = query.shape[-1] ** -0.5
        far = query @ key.transpose(-1, -2) * scale + functional.embedding(
            steps, self.recency
        ).permute(0, 3, 1, 2)
        far = far.masked_fill(steps[:, None] == 0, -1e9)
        own = (query * own_key).sum(-1, keepdim=True) * scale
        weights = torch.softmax(torch.cat([far, own], -1), -1)
        mixed = weights[..., :-1] @ value + weights[..., -1:] * own_value
        joined: Tensor = mixed.transpose(1, 2).flatten(2)
        return joined

    def _split(self, tokens: Tensor) -> Tensor:
        """(B, M, E) -> (B, H, M, E / H)."""
        rows, count, size = tokens.shape
        heads = tokens.reshape(rows, count, self.num_heads, size // self.num_heads)
        return heads.transpose(1, 2)


class ContextEncoder(nn.Module):
    """From a history and requests to vectors ``u`` that are compared with item vectors."""

    def __init__(
        self, config: RetrieverConfig, num_countries: int = 0, words_size: int = 0
    ) -> None:
        super().__init__()
        self.sizes = part_sizes(config.embedding_size, words_size)
        size = sum(self.sizes)
        self.max_len = config.max_len
        # Zeros, so that a country says nothing until something is learned of it.
        self.countries = nn.Parameter(torch.zeros(num_countries, size)) if num_countries else None
        self.liked = nn.Parameter(torch.randn(2, size) * 0.02)
        self.gaps = nn.Parameter(torch.randn(NUM_GAPS, size) * 0.02)
        self.tasks = nn.Parameter(torch.randn(NUM_TASKS, size) * 0.02)
        self.text, self.source = nn.Linear(size, size, False), nn.Linear(size, size, False)
        for layer in (self.text, self.source):
            nn.init.eye_(layer.weight)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = _blocks(config, size)
        self.search_blocks = _blocks(config, size) if words_size else None
        self.final_norm = nn.LayerNorm(size)
        self.scale = 1.0 / (config.temperature * size)
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
        """Vectors u (B, M, E), zeros in the part that a request is not answered by.

        Args:
            history: (B, T, E) item vectors.
            liked: (B, T) int64, 0 or 1.
            gaps: (B, T) int64 bucket of the time since the step before.
            places: (B, T) int64 place in the history, ``max_len`` or more for padding.
            prefix: (B, M) int64 number of steps that a request may see.
            task: (B, M) int64.
            text: (B, M, E) projected text.
            has_text: (B, M) float, 0 or 1.
            source: (B, M, E) vector of the source item.
            has_source: (B, M) float, 0 or 1.
            country: (B, M) int64, 1 + number of the country, 0 = not known; None = nobody's is.
            num_searches: so many requests of each row are searches, the last ones; None = any may
                be, as in a served graph, which asks both ways and keeps what belongs to each.
        """
        marks = functional.embedding(liked, self.liked) + functional.embedding(gaps, self.gaps)
        steps = self.dropout(history + marks)
        known_text = normed_parts(text, self.sizes) * has_text[..., None]
        requests = (
            self.tasks[task] + self.text(known_text) + self.source(source * has_source[..., None])
        )
        if self.countries is not None and country is not None:
            unknown = torch.zeros_like(self.countries[:1])
            requests = requests + functional.embedding(
                country, torch.cat([unknown, self.countries])
            )
        requests = self.dropout(requests)
        requests = self._passed(requests, steps, prefix, places, task, num_searches)
        encoded: Tensor = self.final_norm(requests) * self.scale
        if self.answers is None:
            return encoded
        return encoded * functional.embedding(task, self.answers)

    def _passed(
        self,
        requests: Tensor,
        steps: Tensor,
        prefix: Tensor,
        places: Tensor,
        task: Tensor,
        num_searches: int | None,
    ) -> Tensor:
        """Requests (B, M, E) after the blocks that answer them."""
        if self.search_blocks is None:
            return self._through(self.blocks, requests, steps, prefix, places)
        if num_searches is None:
            others = self._through(self.blocks, requests, steps, prefix, places)
            searches = self._through(self.search_blocks, requests, steps, prefix, places)
            return torch.where((task == SEARCH)[..., None], searches, others)
        parts = []
        sizes = [requests.shape[1] - num_searches, num_searches]
        others, searches = torch.split(requests, sizes, 1)
        seen, searched = torch.split(prefix, sizes, 1)
        if sizes[0]:
            parts.append(self._through(self.blocks, others, steps, seen, places))
        if num_searches:
            still = steps.detach()
            parts.append(self._through(self.search_blocks, searches, still, searched, places))
        return torch.cat(parts, 1)

    def _through(
        self, blocks: nn.ModuleList, requests: Tensor, steps: Tensor, prefix: Tensor, places: Tensor
    ) -> Tensor:
        """Requests (B, M, E) after all of some blocks."""
        far = self._distance(prefix, places)
        for number, block in enumerate(blocks):
            before = steps
            requests = block(requests, before, far)
            if number + 1 < len(blocks):
                steps = block(before, before, self._distance(places, places))
        return requests

    def _distance(self, prefix: Tensor, places: Tensor) -> Tensor:
        """(B, M, T) steps back from each token; 0 where the step is not before it or is padding."""
        back = (prefix[:, :, None] - places[:, None, :]).clamp(0, self.max_len)
        return torch.where(places[:, None, :] < self.max_len, back, torch.zeros_like(back))


def _blocks(config: RetrieverConfig, size: int) -> nn.ModuleList:
    return nn.ModuleList(GatedBlock(config, size) for _ in range(config.num_layers))


def example_request(size: int, has_countries: bool = False) -> tuple[Tensor, ...]:
    """Inputs of the context encoder for an export: two rows, three steps, one request each.

    All of them are different tensors: the exporter takes equal objects for one input.
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
    """(tasks, E) what answers: search the whole vector, all other tasks its first part.

    Made larger where fewer numbers answer, so that scores are as large in every task. None where
    there is one part.
    """
    if len(sizes) == 1:
        return None
    is_first = torch.arange(sum(sizes)) < sizes[0]
    searches = torch.arange(NUM_TASKS) == SEARCH
    own = (searches[:, None] | is_first).float()
    return own * (sum(sizes) / own.sum(1, keepdim=True))
