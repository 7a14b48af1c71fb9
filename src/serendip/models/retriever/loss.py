"""Sampled softmax with log-Q correction over mixed tasks. Torch, training only.

Loss of one request: ``-s(target) + log(exp s(target) + sum exp(s(j) - log pi_j))`` over the
candidates j of the step: its targets (in-batch negatives) and uniform negatives. ``pi_j`` is the
probability that j is a candidate, so that the sum estimates the full softmax (Yi et al. 2019,
"Sampling-bias-corrected neural modeling"; here the target itself is not corrected). Small
catalogues are scored whole.

Shapes: N items, B rows, T steps of a row, M requests per row, R requests with a target, C
candidates, U distinct items of a step, K ID donors, E vector size; in ``id_donors_of`` C is the
content size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from serendip.data import BoolArray, FloatArray, IntArray, ItemFeatures, TimeArray, Tokens
from serendip.data.dataset import QueryExamples
from serendip.models.retriever.artefact import CODE_TABLES, IDS, RetrieverStart
from serendip.models.retriever.batches import TrainingBatch
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.item_encoder import NUM_ID_DONORS
from serendip.models.retriever.network import ContextEncoder, ItemContent, ItemTower
from serendip.models.retriever.requests import HOME, NUM_TASKS, SEARCH
from serendip.models.sparse.content_neighbours import find_content_neighbours


@dataclass(frozen=True, slots=True, eq=False)
class LossCandidates:
    """Candidates of a step's softmax.

    Args:
        items: (C,) int64 item numbers, ascending.
        correction: (C,) float32 log of the probability of being a candidate (log-Q).
    """

    items: Tensor
    correction: Tensor


class CandidateDraw:
    """Draws the candidates of a step: its targets and uniform negatives.

    Counts (N,) are events per item; without example queries there is no search task.
    """

    def __init__(self, counts: IntArray, queries: QueryExamples | None, num_negatives: int) -> None:
        self.num_items, self.num_negatives = len(counts), num_negatives
        self.frequency = _frequency(counts, queries)

    def __call__(self, batch: TrainingBatch, random: np.random.Generator) -> LossCandidates:
        """Draw the candidates of a batch; a small catalogue is taken whole, uncorrected."""
        if self.num_items <= 2 * self.num_negatives:
            items = torch.arange(self.num_items)
            return LossCandidates(items, torch.zeros(self.num_items))
        targets = batch.target >= 0  # (B, M)
        negatives = random.integers(0, self.num_items, self.num_negatives)
        numbers = np.unique(np.concatenate([batch.target[targets], negatives]))  # (C,)
        per_task = np.bincount(batch.task[targets], minlength=NUM_TASKS)  # (tasks,)
        # Expected draws m of an item; it is a candidate with probability 1 - exp(-m) (Poisson).
        expected = per_task @ self.frequency[:, numbers] + self.num_negatives / self.num_items
        log_probability = np.log(-np.expm1(-expected)).astype(np.float32)  # (C,)
        return LossCandidates(torch.from_numpy(numbers), torch.from_numpy(log_probability))


def _frequency(counts: IntArray, queries: QueryExamples | None) -> TimeArray:
    """(tasks, N) probability of each item as the target of a task's request.

    Search requests are half example queries, half queries of logged events.
    """
    logged = counts / max(1, counts.sum())  # (N,)
    searched = logged
    if queries is not None:
        drawn = np.bincount(queries.items, minlength=len(counts))
        searched = drawn / (drawn.sum() or 1)
        searched = (searched + logged) / 2
    return np.stack([logged, logged, searched])


def id_donors_of(content: FloatArray, seen: BoolArray, count: int) -> tuple[Tensor, Tensor]:
    """ID donors of every item: its nearest trained items by content, with weights that sum to 1.

    Content (N, C) are unit vectors, aligned with behaviour if an alignment was fitted; ``seen``
    (N,) are the items with a trained ID, the possible donors. Returns (N, K) item numbers and
    weights; the weights of an item without neighbours are zeros.
    """
    everything = np.arange(len(content), dtype=np.int32)
    nearest = find_content_neighbours(content, everything, content, count, allowed=seen)  # (N, N)
    count = min(count, len(content))
    donors = np.zeros((len(content), count), np.int64)
    weights = np.zeros((len(content), count), np.float32)
    # From sparse rows of different lengths to a dense table.
    lengths = np.diff(nearest.indptr)
    row = np.repeat(everything, lengths)
    column = np.arange(len(row)) - np.repeat(nearest.indptr[:-1], lengths)
    donors[row, column], weights[row, column] = nearest.indices, nearest.data
    return torch.from_numpy(donors), torch.from_numpy(weights)


def _softmax_losses(encoded: Tensor, vectors: Tensor, target: Tensor, correction: Tensor) -> Tensor:
    """Corrected softmax loss (R,) of requests (R, E) among candidates (C, E).

    ``target`` (R,) is the index of each request's target among the candidates.
    """
    logits = torch.addmm(-correction, encoded, vectors.T)  # (R, C)
    cell = (torch.arange(len(target)), target)
    # The target is not corrected: add back what was subtracted.
    logits = logits.index_put_(cell, correction[target], accumulate=True)
    return functional.cross_entropy(logits, target, reduction="none")


ID_DROPOUT = 0.3
"""Share of items whose ID is hidden in a training step, so that new items are in distribution.
Higher = more weight on content, less on memorised IDs."""

_OWN_ROWS = {IDS: 1, CODE_TABLES: 2}
"""Parameters whose first dimensions, so many, may differ between trainings: items, codes."""

_ITEMS_AT_ONCE = 8_192
"""Rows of a block of encoded items."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedItems:
    """Vectors (U, E) of some items, and their projected content (U, E); numbers (U,) ascend."""

    items: Tensor
    vectors: Tensor
    projected: Tensor

    def rows(self, numbers: Tensor) -> Tensor:
        """Rows of item numbers, of any shape."""
        return torch.searchsorted(self.items, numbers)


class RetrieverNetwork(nn.Module):
    """Two-tower network: item tower and context encoder, and the loss of a training step.

    Args:
        queries: Q example queries of the search task; None = no such task.
        seen: (N,) items with training events, whose ID embeddings are trained.
        config: sizes and tasks.
        aligned: (N, C) content by which ID donors are chosen, aligned with behaviour if an
            alignment was fitted; None = the content itself.
        num_countries: countries of users; 0 = countries are not read.
    """

    def __init__(
        self,
        features: ItemFeatures,
        queries: QueryExamples | None,
        seen: BoolArray,
        config: RetrieverConfig,
        aligned: FloatArray | None = None,
        num_countries: int = 0,
    ) -> None:
        super().__init__()
        # A search part is useful only next to another task, and if there are queries to learn.
        learns_both = {"search"} < set(config.tasks) and config.slots > 0
        search_size = config.search_size if learns_both and len(queries or ()) else 0
        self.id_dropout = ID_DROPOUT if config.item_mode != "id" else 0.0
        self.seen = torch.from_numpy(seen.astype(np.float32))
        self.tower = ItemTower(
            ItemContent(features.content),
            torch.from_numpy(features.codes.astype(np.int64)),
            features.codebook_size,
            config,
            search_size,
            features.tokens,
        )
        has_content = config.reads("content") and features.content.shape[1] > 0
        if len(self.tower.ids) and has_content:
            content = features.content if aligned is None else aligned
            self.tower.id_donors = id_donors_of(content, seen, NUM_ID_DONORS)
        self.encoder = ContextEncoder(config, num_countries, search_size)
        self.query_vectors = torch.from_numpy(
            np.zeros((0, features.content.shape[1]), np.float32)
            if queries is None
            else np.asarray(queries.vectors, np.float32)
        )

        self.query_tokens = Tokens.of_texts(() if queries is None else queries.texts)

    @torch.no_grad()
    def continue_from(self, start: RetrieverStart) -> bool:
        """Set all parameters to those of an earlier training; False = other sizes, nothing is set.

        A new item starts with the mean ID embedding of its donors, which is what it had while it
        was unknown. A code starts with the mean embedding of what its items had before.
        """
        own, earlier = dict(self.named_parameters()), start.parameters
        if own.keys() != earlier.keys() or any(
            parameter.shape[own_rows:] != earlier[name].shape[own_rows:]
            for name, parameter in own.items()
            for own_rows in [_OWN_ROWS.get(name, 0)]
        ):
            return False
        levels = len(self.tower.code_tables)
        if len(earlier[CODE_TABLES]) != levels or start.codes.shape[1] < levels:
            return False
        for name, parameter in own.items():
            if name not in _OWN_ROWS:
                parameter.copy_(torch.from_numpy(earlier[name]))
        self.tower.continue_codes(torch.from_numpy(earlier[CODE_TABLES]), start)
        if len(self.tower.ids):
            self.tower.continue_ids(torch.from_numpy(earlier[IDS]), start)
        return True

    def loss(self, batch: TrainingBatch, candidates: LossCandidates) -> Tensor:
        """Weighted mean loss of a batch's requests."""
        encoded, targets, vectors = self(batch, candidates.items, self.id_dropout)
        column = torch.searchsorted(candidates.items, targets)  # (R,) index among the candidates
        tasks = torch.from_numpy(batch.task[batch.target >= 0])  # (R,)
        weight = torch.from_numpy(batch.weight[batch.target >= 0])  # (R,)
        losses, weights = [], []
        for rows, used in self._split_by_task(tasks, vectors):
            requests = encoded[rows, : used.shape[1]]
            losses.append(_softmax_losses(requests, used, column[rows], candidates.correction))
            weights.append(weight[rows])
        return (torch.cat(losses) * torch.cat(weights)).sum() / weight.sum()

    def _split_by_task(
        self, tasks: Tensor, vectors: Tensor
    ) -> Iterator[tuple[Tensor | slice, Tensor]]:
        """Masks of requests (R,), each with the dimensions of candidates (C, E) that they use.

        Requests of other tasks are zeros in the search part, so leaving it out saves work and
        changes no score. Search also uses the shared part: next-item behaviour helps to interpret
        a query. Its gradients do not reach that part of item vectors, neither of candidates nor of
        histories (``detach``); they do reach what queries and items share, the projection and the
        token table.
        """
        sizes = self.tower.sizes
        if len(sizes) == 1:
            yield slice(None), vectors
            return
        searches = tasks == SEARCH
        first, second = torch.split(vectors, list(sizes), 1)
        yield ~searches, first
        yield searches, torch.cat([first.detach(), second], 1)

    def forward(
        self, batch: TrainingBatch, candidates: Tensor, id_dropout: float = 0.0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encode a batch: request vectors (R, E), targets (R,) and vectors of candidates (C,), (C,
        E).

        ``id_dropout`` is the share of the items whose ID is hidden: such an item looks new, so new
        items are in distribution.
        """
        used = (batch.used_items, candidates)
        # Each item of the step passes the tower once.
        items = torch.unique(torch.cat([torch.from_numpy(used[0]), used[1]]))  # (U,)
        gate = self.seen[items]
        if id_dropout:
            gate = gate * (torch.rand(len(items)) >= id_dropout)
        encoded_items = EncodedItems(items, *self.tower(items, gate))
        encoded, targets = self.encode_requests(batch, encoded_items)
        return encoded, targets, encoded_items.vectors[encoded_items.rows(candidates)]

    def encode_requests(self, batch: TrainingBatch, items: EncodedItems) -> tuple[Tensor, Tensor]:
        """Encode a batch with encoded items: request vectors (R, E) and targets (R,)."""
        source = items.rows(torch.from_numpy(np.maximum(batch.source, 0)))  # (B, M)
        history = items.rows(torch.from_numpy(batch.items))  # (B, T)
        has_source = torch.from_numpy(batch.source >= 0)  # (B, M)
        text, has_text = self._texts(batch, items.projected[source], has_source)
        encoded = self.encoder(
            items.vectors[history],  # (B, T, E)
            *map(torch.from_numpy, (batch.liked, batch.gaps, batch.places)),
            *map(torch.from_numpy, (batch.prefix, batch.task)),
            text,
            has_text,
            items.vectors[source],  # (B, M, E)
            has_source.float(),
            None if batch.country is None else torch.from_numpy(batch.country),
            batch.num_searches,
        )
        target = torch.from_numpy(batch.target)  # (B, M)
        return encoded[target >= 0], target[target >= 0]

    @torch.no_grad()
    def encode_items(self, items: Tensor) -> EncodedItems:
        """Encode distinct items (U,), ascending, as they are served, block by block."""
        size = sum(self.tower.sizes)
        vectors, projected = torch.empty(len(items), size), torch.empty(len(items), size)
        for begin in range(0, len(items), _ITEMS_AT_ONCE):
            block = slice(begin, begin + _ITEMS_AT_ONCE)
            vectors[block], projected[block] = self.tower(items[block], self.seen[items[block]])
        return EncodedItems(items, vectors, projected)

    def _texts(
        self, batch: TrainingBatch, source_text: Tensor, has_source: Tensor
    ) -> tuple[Tensor, Tensor]:
        query = torch.from_numpy(batch.query)  # (B, M)
        task = torch.from_numpy(batch.task)
        is_imputed = has_source & (task != HOME)
        text = source_text * is_imputed[..., None]  # (B, M, E)
        has_query = query >= 0
        if bool(has_query.any()):
            text = text.clone()
            asked = query[has_query]
            projected = self.tower.project(self.query_vectors[asked])
            text[has_query] = self.tower.add_tokens(projected, self.query_tokens, asked)
        return text, (is_imputed | has_query).float()
