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
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from serendip.errors import ConfigError
from serendip.models.retriever_config import RetrieverConfig
from serendip.models.retriever_context import NUM_GAPS, NUM_TASKS, SEARCH
from serendip.models.retriever_item_tower import normed_parts, part_sizes

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
