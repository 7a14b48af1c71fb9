"""Trains the retriever: sampled softmax over mixed tasks, early stopping, then export.

Loss of one request: ``-s(target) + log(exp s(target) + sum exp(s(j) - log pi_j))`` over the
candidates j of the step (its targets and uniform negatives), ``pi_j`` the chance that j is among
them, so that the sum estimates the full softmax (log-Q correction; the target itself is not
corrected). Small catalogues are scored whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from serendip.data.arrays import IntArray, TimeArray
from serendip.data.dataset import Dataset, ItemFeatures
from serendip.models.export import to_onnx
from serendip.models.retriever import RetrieverConfig, TowerArrays, TrainedRetriever
from serendip.models.retriever_batches import Batch, BatchMaker, PackedLog, cut_rows
from serendip.models.retriever_context import HOME, NUM_TASKS
from serendip.models.retriever_network import (
    INPUTS,
    OPEN_AXES,
    ContextEncoder,
    ItemTower,
    example_request,
)
from serendip.scale.options import TrainOptions
from serendip.scale.threads import num_threads

MOST_VALIDATED = 1_000


def train_retriever(
    dataset: Dataset, config: RetrieverConfig, options: TrainOptions
) -> TrainedRetriever:
    """Train on everything in ``dataset``; leaves torch's own random state as it was."""
    torch.set_num_threads(num_threads())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        training = RetrieverTraining(dataset, config, options.seed)
        training.run(options)
        return training.finish()


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What a step's targets are told apart from.

    Args:
        items: (C,) int64 item numbers, ascending.
        correction: (C,) float32 log of the chance to be a candidate.
    """

    items: Tensor
    correction: Tensor


class RetrieverTraining:
    """One training run and its state."""

    def __init__(self, dataset: Dataset, config: RetrieverConfig, seed: int) -> None:
        self.config, self.num_items = config, dataset.num_items
        self.random = np.random.default_rng(seed)
        counts = dataset.item_counts()
        self.seen = torch.from_numpy((counts > 0).astype(np.float32))
        features = dataset.features or _no_features(dataset.num_items)
        self.tower = ItemTower(
            torch.from_numpy(features.content.astype(np.float32)),
            torch.from_numpy(features.codes.astype(np.int64)),
            features.codebook_size,
            config,
        )
        self.encoder = ContextEncoder(config)
        queries = dataset.queries if dataset.features is not None else None
        self.query_vectors = torch.from_numpy(
            np.zeros((0, features.content.shape[1]), np.float32)
            if queries is None
            else queries.vectors.astype(np.float32)
        )
        log = dataset.events
        newest = np.arange(len(log)) >= len(log) - int(len(log) * config.validation_share)
        everything = np.ones(len(log), np.bool_)
        self.early, self.newest, self.whole = (
            BatchMaker(PackedLog(log.rows(rows), targets[rows]), queries, config)
            for rows, targets in (
                (~newest, everything),
                (everything, newest),
                (everything, everything),
            )
        )
        self.frequency = self._frequency(counts, queries.items if queries else None)
        self.optimiser = self._optimiser()

    def run(self, options: TrainOptions) -> None:
        """Learn all but the newest events until they stop being predicted better, then all.

        Where there are too few events to hold any back, all are learned for all epochs.
        """
        stops_early = bool(self.newest.log.is_target.any())
        best, state, waited = -np.inf, self._state(), 0
        epochs = range(self.config.epochs)
        for epoch in options.progress.track(epochs, "Training the retriever", len(epochs)):
            self._rate(epoch)
            self._epoch(self.early if stops_early else self.whole)
            if not stops_early:
                continue
            score, waited = self.validate(), waited + 1
            if score > best:
                best, state, waited = score, self._state(), 0
            if waited >= self.config.patience:
                break
        if stops_early:
            self.tower.load_state_dict(state[0])
            self.encoder.load_state_dict(state[1])
            self._rate(self.config.epochs)
            self._epoch(self.whole)

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        first, second = (
            {name: value.clone() for name, value in module.state_dict().items()}
            for module in (self.tower, self.encoder)
        )
        return first, second

    def _rate(self, epoch: int) -> None:
        share = 0.1 + 0.9 * max(0.0, 1 - epoch / self.config.epochs)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * share

    def _epoch(self, maker: BatchMaker) -> None:
        self.tower.train()
        self.encoder.train()
        for batch in maker.epoch(self.config.batch_size, self.random):
            loss = self.loss(batch)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss of a batch's requests."""
        candidates = self._candidates(batch)
        keep = torch.rand(self.num_items) >= self.config.id_dropout
        encoded, targets, vectors = self._forward(batch, candidates.items, self.seen * keep)
        own = torch.searchsorted(candidates.items, targets)
        logits = torch.addmm(-candidates.correction, encoded, vectors.T)
        place = (torch.arange(len(own)), own)
        logits = logits.index_put_(place, candidates.correction[own], accumulate=True)
        return functional.cross_entropy(logits, own)

    def _forward(
        self, batch: Batch, candidates: Tensor, gate: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Request vectors (R, D), targets (R,) and candidate vectors (C, D)."""
        source = torch.from_numpy(np.maximum(batch.source, 0))
        history = torch.from_numpy(batch.items)
        wanted = torch.zeros(self.num_items, dtype=torch.bool)
        for items in (source, history, candidates):
            wanted[items] = True
        items = wanted.nonzero()[:, 0]
        place = torch.zeros(self.num_items, dtype=torch.int64)
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
        )
        target = torch.from_numpy(batch.target)
        return encoded[target >= 0], target[target >= 0], vectors[place[candidates]]

    def _texts(
        self, batch: Batch, source_text: Tensor, has_source: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Projected texts (B, M, D): the query's, else the source's own outside of home."""
        query = torch.from_numpy(batch.query)
        task = torch.from_numpy(batch.task)
        imputed = has_source & (task != HOME)
        text = source_text * imputed[..., None]
        asked = query >= 0
        if bool(asked.any()):
            text = text.clone()
            text[asked] = self.tower.project(self.query_vectors[query[asked]])
        return text, (imputed | asked).float()

    def _candidates(self, batch: Batch) -> Candidates:
        negatives = self.config.num_negatives
        if self.num_items <= 2 * negatives:
            items = torch.arange(self.num_items)
            return Candidates(items, torch.zeros(self.num_items))
        chosen = np.zeros(self.num_items, np.bool_)
        targets = batch.target >= 0
        chosen[batch.target[targets]] = True
        chosen[self.random.integers(0, self.num_items, negatives)] = True
        numbers = np.flatnonzero(chosen)
        per_task = np.bincount(batch.task[targets], minlength=NUM_TASKS)
        expected = per_task @ self.frequency[:, numbers] + negatives / self.num_items
        chance = np.log(-np.expm1(-expected)).astype(np.float32)
        return Candidates(torch.from_numpy(numbers), torch.from_numpy(chance))

    def _frequency(self, counts: IntArray, asked: IntArray | None) -> TimeArray:
        """(tasks, N) how often an item is the target of a task's request."""
        logged = counts / max(1, counts.sum())
        searched = logged
        if asked is not None:
            searched = np.bincount(asked, minlength=self.num_items) / max(1, len(asked))
            searched = (searched + logged) / 2
        return np.stack([logged, logged, searched])

    def _optimiser(self) -> torch.optim.Optimizer:
        parameters = [*self.tower.parameters(), *self.encoder.parameters()]
        return torch.optim.AdamW(
            parameters, lr=self.config.learning_rate, weight_decay=self.config.reg, fused=True
        )

    def _batches(self, maker: BatchMaker) -> Iterator[Batch]:
        """Home requests for the newest events, cut the same way every time."""
        rows = cut_rows(maker.log, self.config.max_len, np.zeros(len(maker.log.starts), np.int64))
        order = np.random.default_rng(0).permutation(len(rows.begin))
        for start in range(0, len(order), self.config.batch_size):
            yield maker.home_batch(rows.take(order[start : start + self.config.batch_size]))

    @torch.no_grad()
    def validate(self) -> float:
        """Mean nDCG@10 of up to 1,000 of the newest events among all items."""
        self.tower.eval()
        self.encoder.eval()
        everything = torch.arange(self.num_items)
        gains: list[Tensor] = []
        for batch in self._batches(self.newest):
            encoded, targets, vectors = self._forward(batch, everything, self.seen)
            scores = encoded @ vectors.T
            own = scores.gather(1, targets[:, None])
            rank = (scores > own).sum(1) + ((scores == own).sum(1) - 1) / 2
            gains.append(torch.where(rank < 10, 1 / torch.log2(rank + 2), torch.zeros(())))
            if sum(map(len, gains)) >= MOST_VALIDATED:
                break
        return float(torch.cat(gains).mean()) if gains else 0.0

    @torch.no_grad()
    def finish(self) -> TrainedRetriever:
        """Vectors of all items, the tower's arrays and the exported context encoder."""
        self.tower.eval()
        vectors, projected = self.tower(torch.arange(self.num_items), self.seen)
        tower = TowerArrays(
            self.tower.weight.detach().numpy().copy(),
            self.tower.bias.detach().numpy().copy(),
            self.tower.code_tables.detach().numpy().copy(),
        )
        example = example_request(self.config.embedding_size)
        context = to_onnx(self.encoder, example, INPUTS, ("encoded",), OPEN_AXES)
        return TrainedRetriever(context, vectors.numpy(), projected.numpy(), tower)


def _no_features(num_items: int) -> ItemFeatures:
    return ItemFeatures(np.zeros((num_items, 0), np.float32), np.zeros((num_items, 0), np.int32), 1)
