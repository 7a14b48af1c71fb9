"""The loss of the retriever: sampled softmax over mixed tasks. Torch, training only.

Loss of one request: ``-s(target) + log(exp s(target) + sum exp(s(j) - log pi_j))`` over the
candidates j of the step (its targets, uniform and hard negatives), ``pi_j`` the chance that j is
among them, so that the sum estimates the full softmax (log-Q correction; the target itself is not
corrected). Small catalogues are scored whole.

Shapes: R requests with a target, C candidates, E size of their vectors.

Negatives that are hard to tell apart from what was chosen: its nearest items, as learned so far.

Uniform negatives soon teach little: nearly all of them are far away. A hard negative is drawn for a
random target of the step, from the items that lie nearest to it. Like all candidates it is shared
by the requests of the step, and the loss corrects for the chance to be drawn.

That chance is taken over all steps, so for the request whose own target drew it, it counts for a
little more than its share: there it is meant to be hard.

Shapes: N items, R targets of a step, E vector size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from serendip.data.arrays import BoolArray, FloatArray, IntArray, TimeArray
from serendip.data.dataset import AlignedProjection, QueryExamples
from serendip.data.item_features import ItemFeatures, Tokens
from serendip.data.numeric import unit
from serendip.models.linalg import Sparse, content_neighbours
from serendip.models.retriever.batches import TrainingBatch
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.network import ContextEncoder, ItemTower
from serendip.models.retriever.requests import HOME, NUM_TASKS, SEARCH

NUM_NEAREST = 20


@dataclass(frozen=True, slots=True, eq=False)
class HardNegatives:
    """Draws hard negatives.

    Args:
        nearest: (N, N) chance to be drawn for an item; rows sum to 1, or 0 where nothing is near.
        sums: (entries + 1,) running sums of all entries of ``nearest``.
        frequency: (tasks, N) chance that a draw for a random target of a task is this item.
        count: draws of a step.
    """

    nearest: Sparse
    sums: TimeArray
    frequency: TimeArray
    count: int

    @classmethod
    def of(cls, vectors: FloatArray, frequency: TimeArray, count: int) -> HardNegatives:
        """The ``NUM_NEAREST`` items of largest cosine, in proportion to its fourth power.

        Args:
            vectors: (N, E) of the items, of any length.
            frequency: (tasks, N) how often an item is the target of a task.
            count: draws of a step.
        """
        units = unit(vectors, shortest=1e-12)
        everything = np.arange(len(units), dtype=np.int32)
        nearest = content_neighbours(units, everything, units, NUM_NEAREST)
        sums = np.concatenate(([0.0], np.cumsum(nearest.data, dtype=np.float64)))
        return cls(nearest, sums, np.asarray((nearest.T @ frequency.T).T), count)

    def draw(self, targets: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Up to ``count`` items, for as many of the targets (R,), drawn with replacement."""
        begins, ends = self.nearest.indptr[:-1], self.nearest.indptr[1:]
        drawn = targets[random.integers(0, len(targets), self.count)]
        drawn = drawn[ends[drawn] > begins[drawn]]
        low, high = self.sums[begins[drawn]], self.sums[ends[drawn]]
        point = low + random.random(len(drawn)) * (high - low)
        place = np.searchsorted(self.sums, point, side="right") - 1
        place = np.clip(place, begins[drawn], ends[drawn] - 1)
        return np.asarray(self.nearest.indices[place], np.int64)

    def expected(self, per_task: NDArray[np.int64]) -> TimeArray:
        """(N,) how often an item is drawn in a step with so many targets (tasks,)."""
        share = per_task / max(1, per_task.sum())
        return np.asarray(self.count * (share @ self.frequency), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class LossCandidates:
    """What a step's targets are told apart from.

    Args:
        items: (C,) int64 item numbers, ascending.
        correction: (C,) float32 log of the chance to be a candidate.
    """

    items: Tensor
    correction: Tensor


class CandidateDraw:
    """Draws the candidates of a step: its targets, uniform negatives and, once set, hard ones."""

    def __init__(self, counts: IntArray, queries: QueryExamples | None, num_negatives: int) -> None:
        self.num_items, self.num_negatives = len(counts), num_negatives
        self.frequency = _frequency(counts, queries)
        self.hard: HardNegatives | None = None

    @property
    def takes_all(self) -> bool:
        """Whether the catalogue is small enough to be scored whole."""
        return self.num_items <= 2 * self.num_negatives

    def __call__(self, batch: TrainingBatch, random: np.random.Generator) -> LossCandidates:
        """Candidates of a batch; the whole catalogue where it is small."""
        if self.takes_all:
            items = torch.arange(self.num_items)
            return LossCandidates(items, torch.zeros(self.num_items))
        chosen = np.zeros(self.num_items, np.bool_)
        targets = batch.target >= 0
        chosen[batch.target[targets]] = True
        chosen[random.integers(0, self.num_items, self.num_negatives)] = True
        per_task = np.bincount(batch.task[targets], minlength=NUM_TASKS)
        if self.hard is not None:
            chosen[self.hard.draw(batch.target[targets], random)] = True
        numbers = np.flatnonzero(chosen)
        expected = per_task @ self.frequency[:, numbers] + self.num_negatives / self.num_items
        if self.hard is not None:
            expected = expected + self.hard.expected(per_task)[numbers]
        chance = np.log(-np.expm1(-expected)).astype(np.float32)
        return LossCandidates(torch.from_numpy(numbers), torch.from_numpy(chance))


def _frequency(counts: IntArray, queries: QueryExamples | None) -> TimeArray:
    """(tasks, N) how often an item is the target of a task's request."""
    logged = counts / max(1, counts.sum())
    searched = logged
    if queries is not None:
        searched = np.bincount(queries.items, minlength=len(counts)) / max(1, len(queries))
        searched = (searched + logged) / 2
    return np.stack([logged, logged, searched])


def lenders_of(content: FloatArray, seen: BoolArray, count: int) -> tuple[Tensor, Tensor]:
    """Nearest seen items of every item, and their shares, which sum to 1.

    Args:
        content: (N, C) unit vectors, aligned with behaviour where that is known.
        seen: (N,) who may lend.
        count: K, how many to an item at most.

    Returns:
        (N, K) numbers and shares; shares of an item without neighbours are zeros.
    """
    everything = np.arange(len(content), dtype=np.int32)
    nearest = content_neighbours(content, everything, content * seen[:, None], count)
    count = min(count, len(content))
    numbers = np.zeros((len(content), count), np.int64)
    shares = np.zeros((len(content), count), np.float32)
    lengths = np.diff(nearest.indptr)
    row = np.repeat(everything, lengths)
    place = np.arange(len(row)) - np.repeat(nearest.indptr[:-1], lengths)
    numbers[row, place], shares[row, place] = nearest.indices, nearest.data
    return torch.from_numpy(numbers), torch.from_numpy(shares)


def _losses(encoded: Tensor, vectors: Tensor, own: Tensor, correction: Tensor) -> Tensor:
    """(R,) of requests whose targets are the candidates ``own``."""
    logits = torch.addmm(-correction, encoded, vectors.T)
    place = (torch.arange(len(own)), own)
    logits = logits.index_put_(place, correction[own], accumulate=True)
    return functional.cross_entropy(logits, own, reduction="none")


class RetrieverNetwork(nn.Module):
    """Item tower and context encoder, joined by the requests of a step."""

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
        learns_both = {"search"} < set(config.tasks) and config.slots > 0
        words_size = config.words_size if learns_both and len(queries or ()) else 0
        self.id_dropout = config.id_dropout if config.item_mode != "id" else 0.0
        self.seen = torch.from_numpy(seen.astype(np.float32))
        self.tower = ItemTower(
            torch.from_numpy(features.content.astype(np.float32)),
            torch.from_numpy(features.codes.astype(np.int64)),
            features.codebook_size,
            config,
            words_size,
            features.tokens,
        )
        has_content = config.reads("content") and features.content.shape[1] > 0
        if config.num_lenders and len(self.tower.ids) and has_content:
            aligned = alignment.encode(features.content) if alignment else features.content
            self.tower.lenders = lenders_of(aligned, seen, config.num_lenders)
        self.encoder = ContextEncoder(config, num_countries, words_size)
        self.reads_sources = "source-text" in config.imputation
        self.query_vectors = torch.from_numpy(
            np.zeros((0, features.content.shape[1]), np.float32)
            if queries is None
            else queries.vectors.astype(np.float32)
        )
        reads_words = len(self.tower.token_table) > 0 and queries is not None
        typed = Tokens.of_texts(queries.texts if reads_words and queries is not None else ())
        self.query_bags = self.tower.bags_of(typed)

    def loss(self, batch: TrainingBatch, candidates: LossCandidates) -> Tensor:
        """Mean loss of a batch's requests, weighed where the batch has weights."""
        keep = torch.rand(len(self.seen)) >= self.id_dropout
        encoded, targets, vectors = self(batch, candidates.items, self.seen * keep)
        own = torch.searchsorted(candidates.items, targets)
        tasks = torch.from_numpy(batch.task[batch.target >= 0])
        weight = torch.ones(len(own))
        if batch.weight is not None:
            weight = torch.from_numpy(batch.weight[batch.target >= 0])
        losses, weights = [], []
        for rows, answering in self._answered(tasks, vectors):
            asked = encoded[rows, : answering.shape[1]]
            losses.append(_losses(asked, answering, own[rows], candidates.correction))
            weights.append(weight[rows])
        return (torch.cat(losses) * torch.cat(weights)).sum() / weight.sum()

    def _answered(self, tasks: Tensor, vectors: Tensor) -> Iterator[tuple[Tensor | slice, Tensor]]:
        """Requests (of R), and what of the candidate vectors (C, E) answers them.

        The requests of all other tasks are zeros in the second part, so leaving it out saves work
        and changes no score. Search is answered by the first part, too: what somebody chooses next
        helps to tell what is meant. It does not move that part of any item, compared or in a
        history; what queries share with items (projection, table of words) it does.
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
        """Request vectors (R, E), targets (R,) and candidate vectors (C, E)."""
        source = torch.from_numpy(np.maximum(batch.source, 0))
        history = torch.from_numpy(batch.items)
        wanted = torch.zeros(len(self.seen), dtype=torch.bool)
        for items in (source, history, candidates):
            wanted[items] = True
        items = wanted.nonzero()[:, 0]
        place = torch.zeros(len(self.seen), dtype=torch.int64)
        place[items] = torch.arange(len(items))
        vectors, projected = self.tower(items, gate[items])
        has_source = torch.from_numpy(batch.source >= 0)
        text, has_text = self._texts(batch, projected[place[source]], has_source)
        encoded = self.encoder(
            vectors[place[history]],
            *map(torch.from_numpy, (batch.liked, batch.gaps, batch.places)),
            *map(torch.from_numpy, (batch.prefix, batch.task)),
            text,
            has_text,
            vectors[place[source]],
            has_source.float(),
            None if batch.country is None else torch.from_numpy(batch.country),
            batch.num_searches,
        )
        target = torch.from_numpy(batch.target)
        return encoded[target >= 0], target[target >= 0], vectors[place[candidates]]

    def _texts(
        self, batch: TrainingBatch, source_text: Tensor, has_source: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Projected texts (B, M, E): the query's, else the source's own outside of home."""
        query = torch.from_numpy(batch.query)
        task = torch.from_numpy(batch.task)
        imputed = has_source & (task != HOME) & self.reads_sources
        text = source_text * imputed[..., None]
        asked = query >= 0
        if bool(asked.any()):
            text = text.clone()
            text[asked] = self.tower.read(self.query_vectors, self.query_bags, query[asked])
        return text, (imputed | asked).float()
