"""Sampled softmax with log-Q correction over mixed tasks. Torch, training only.

Loss of one request: ``-s(target) + log(exp s(target) + sum exp(s(j) - log pi_j))`` over the
candidates j of the step: its targets (in-batch negatives) and uniform negatives. ``pi_j`` is the
probability that j is a candidate, so that the sum estimates the full softmax (Yi et al. 2019,
"Sampling-bias-corrected neural modeling"; here the target itself is not corrected). Small
catalogues are scored whole.

Shapes: N items, B rows, M requests per row, R requests with a target, C candidates, K ID donors, E
vector size; in ``id_donors_of`` C is the content size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from serendip.data.arrays import BoolArray, FloatArray, IntArray, TimeArray
from serendip.data.dataset import AlignedProjection, QueryExamples
from serendip.data.item_features import ItemFeatures, Tokens
from serendip.models.content_neighbours import find_content_neighbours
from serendip.models.retriever.batches import TrainingBatch
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.network import ContextEncoder, ItemTower
from serendip.models.retriever.requests import HOME, NUM_TASKS, SEARCH


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

    Args:
        counts: (N,) events per item.
        queries: examples of the search task; None = no such task.
        num_negatives: uniform negatives per step.
    """

    def __init__(self, counts: IntArray, queries: QueryExamples | None, num_negatives: int) -> None:
        self.num_items, self.num_negatives = len(counts), num_negatives
        self.frequency = _frequency(counts, queries)

    @property
    def takes_all(self) -> bool:
        """True if the catalogue is small enough to be scored whole."""
        return self.num_items <= 2 * self.num_negatives

    def __call__(self, batch: TrainingBatch, random: np.random.Generator) -> LossCandidates:
        """Draw the candidates of a batch; a small catalogue is taken whole, uncorrected."""
        if self.takes_all:
            items = torch.arange(self.num_items)
            return LossCandidates(items, torch.zeros(self.num_items))
        is_candidate = np.zeros(self.num_items, np.bool_)  # (N,)
        targets = batch.target >= 0  # (B, M)
        is_candidate[batch.target[targets]] = True
        is_candidate[random.integers(0, self.num_items, self.num_negatives)] = True
        per_task = np.bincount(batch.task[targets], minlength=NUM_TASKS)  # (tasks,)
        numbers = np.flatnonzero(is_candidate)  # (C,)
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
        searched = np.bincount(queries.items, minlength=len(counts)) / max(1, len(queries))
        searched = (searched + logged) / 2
    return np.stack([logged, logged, searched])


def id_donors_of(content: FloatArray, seen: BoolArray, count: int) -> tuple[Tensor, Tensor]:
    """ID donors of every item: its nearest trained items by content, with weights that sum to 1.

    Args:
        content: (N, C) unit vectors, aligned with behaviour if an alignment was fitted.
        seen: (N,) items with a trained ID, the possible donors.
        count: K, most donors of an item.

    Returns:
        (N, K) item numbers and weights; the weights of an item without neighbours are zeros.
    """
    everything = np.arange(len(content), dtype=np.int32)
    nearest = find_content_neighbours(content, everything, content * seen[:, None], count)  # (N, N)
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


class RetrieverNetwork(nn.Module):
    """Two-tower network: item tower and context encoder, and the loss of a training step.

    Args:
        features: content, codes and tokens of the items.
        queries: Q example queries of the search task; None = no such task.
        seen: (N,) items with training events, whose ID embeddings are trained.
        config: sizes and tasks.
        alignment: maps content towards behaviour before ID donors are chosen; None = no alignment.
        num_countries: countries of users; 0 = countries are not read.
    """

    def __init__(
        self,
        features: ItemFeatures,
        queries: QueryExamples | None,
        seen: BoolArray,
        config: RetrieverConfig,
        alignment: AlignedProjection | None = None,
        num_countries: int = 0,
    ) -> None:
        super().__init__()
        # A search part is useful only next to another task, and if there are queries to learn.
        learns_both = {"search"} < set(config.tasks) and config.slots > 0
        search_size = config.search_size if learns_both and len(queries or ()) else 0
        self.id_dropout = config.id_dropout if config.item_mode != "id" else 0.0
        self.seen = torch.from_numpy(seen.astype(np.float32))
        self.tower = ItemTower(
            torch.from_numpy(features.content.astype(np.float32)),
            torch.from_numpy(features.codes.astype(np.int64)),
            features.codebook_size,
            config,
            search_size,
            features.tokens,
        )
        has_content = config.reads("content") and features.content.shape[1] > 0
        if config.num_id_donors and len(self.tower.ids) and has_content:
            aligned = alignment.encode(features.content) if alignment else features.content
            self.tower.id_donors = id_donors_of(aligned, seen, config.num_id_donors)
        self.encoder = ContextEncoder(config, num_countries, search_size)
        self.reads_sources = "source-text" in config.imputation
        self.query_vectors = torch.from_numpy(
            np.zeros((0, features.content.shape[1]), np.float32)
            if queries is None
            else queries.vectors.astype(np.float32)
        )
        reads_words = len(self.tower.token_table) > 0 and queries is not None
        query_tokens = Tokens.of_texts(queries.texts if reads_words and queries is not None else ())
        self.query_bags = self.tower.bags_of(query_tokens)

    def loss(self, batch: TrainingBatch, candidates: LossCandidates) -> Tensor:
        """Mean loss of a batch's requests, weighted if the batch has weights."""
        # ID dropout: with its ID hidden an item looks new, so new items are in distribution.
        keep = torch.rand(len(self.seen)) >= self.id_dropout  # (N,)
        encoded, targets, vectors = self(batch, candidates.items, self.seen * keep)
        column = torch.searchsorted(candidates.items, targets)  # (R,) index among the candidates
        tasks = torch.from_numpy(batch.task[batch.target >= 0])  # (R,)
        weight = torch.ones(len(column))
        if batch.weight is not None:
            weight = torch.from_numpy(batch.weight[batch.target >= 0])
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
        self, batch: TrainingBatch, candidates: Tensor, gate: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encode a batch: request vectors (R, E), targets (R,) and candidate vectors (C, E).

        ``candidates`` (C,) are item numbers, ``gate`` (N,) the ID gates of all items.
        """
        source = torch.from_numpy(np.maximum(batch.source, 0))  # (B, M)
        history = torch.from_numpy(batch.items)  # (B, T)
        # Each item of the step passes the tower once.
        is_used = torch.zeros(len(self.seen), dtype=torch.bool)  # (N,)
        for items in (source, history, candidates):
            is_used[items] = True
        items = is_used.nonzero()[:, 0]  # (U,)
        index = torch.zeros(len(self.seen), dtype=torch.int64)  # (N,) item -> row of ``items``
        index[items] = torch.arange(len(items))
        vectors, projected = self.tower(items, gate[items])  # (U, E) each
        has_source = torch.from_numpy(batch.source >= 0)  # (B, M)
        text, has_text = self._texts(batch, projected[index[source]], has_source)
        encoded = self.encoder(
            vectors[index[history]],  # (B, T, E)
            *map(torch.from_numpy, (batch.liked, batch.gaps, batch.places)),
            *map(torch.from_numpy, (batch.prefix, batch.task)),
            text,
            has_text,
            vectors[index[source]],  # (B, M, E)
            has_source.float(),
            None if batch.country is None else torch.from_numpy(batch.country),
            batch.num_searches,
        )
        target = torch.from_numpy(batch.target)  # (B, M)
        return encoded[target >= 0], target[target >= 0], vectors[index[candidates]]

    def _texts(
        self, batch: TrainingBatch, source_text: Tensor, has_source: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Projected texts (B, M, E) and their mask: of the query, else (not home) of the source."""
        query = torch.from_numpy(batch.query)  # (B, M)
        task = torch.from_numpy(batch.task)
        is_imputed = has_source & (task != HOME) & self.reads_sources
        text = source_text * is_imputed[..., None]  # (B, M, E)
        has_query = query >= 0
        if bool(has_query.any()):
            text = text.clone()
            text[has_query] = self.tower.read(self.query_vectors, self.query_bags, query[has_query])
        return text, (is_imputed | has_query).float()
