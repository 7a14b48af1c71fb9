"""Trains the retriever: mixed tasks, early stopping, then export.

Training stops by the validation targets of the dataset. Where it carries none, the newest events
are held back for that, and learned in one last pass.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from serendip.data.arrays import BoolArray, FloatArray
from serendip.data.dataset import Dataset, EventLog, HeldOut, ItemFeatures
from serendip.models.cooccurrence import cooccurrence_vectors
from serendip.models.export import to_onnx
from serendip.models.retriever import RetrieverConfig, TrainedRetriever
from serendip.models.retriever_affinity import DECAY, ContentAffinity
from serendip.models.retriever_batches import Batch, BatchMaker, PackedLog, cut_rows
from serendip.models.retriever_loss import CandidateDraw, RetrieverNetwork
from serendip.models.retriever_network import INPUTS, OPEN_AXES, example_request
from serendip.models.retriever_tower import TowerArrays
from serendip.models.sequence_batches import Sequences
from serendip.models.stopping_gain import ndcg_of_wanted
from serendip.models.training_loop import Stopping, train_epochs
from serendip.scale.options import TrainOptions
from serendip.scale.threads import num_threads

MOST_VALIDATED = 4_000
_WARM_SHARE, _LAST_RATE, _MOST_GRADIENT = 0.05, 0.02, 1.0
_RANKED_AT_ONCE = 512
_ABOUT_AS_WELL = 0.995
_AFFINITY_WEIGHTS = (0.0, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0)


def train_retriever(
    dataset: Dataset, config: RetrieverConfig, options: TrainOptions
) -> TrainedRetriever:
    """Train on everything in ``dataset``; leaves torch's own random state as it was."""
    torch.set_num_threads(num_threads())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        training = RetrieverTraining(dataset, config, options.seed)
        stopping = Stopping(config.epochs, config.patience)
        digest = digest_of(dataset, config, options.seed)
        train_epochs(training, stopping, options, digest, "Training the retriever")
        affinity = training.affinity()
        training.learn_held_back()
        return training.finish(affinity)


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """What is learned from, and what decides when to stop.

    Args:
        log: all events.
        learned: (E,) bool, events that are predicted in training.
        asked: (E,) bool, events that are predicted to know when to stop; nothing learns from them.
        held_back: True where the asked ones are of the dataset itself, to be learned at the end.
    """

    log: EventLog
    learned: BoolArray
    asked: BoolArray
    held_back: bool

    @classmethod
    def of(cls, dataset: Dataset, share: float) -> Examples:
        """From the validation targets of a dataset, or from its newest ``share`` of events."""
        log = dataset.events
        if dataset.validation is not None:
            log = _with_targets(dataset, dataset.validation)
            asked = np.arange(len(log)) >= len(dataset.events)
            return cls(log, ~asked, asked, held_back=False)
        asked = np.arange(len(log)) >= len(log) - int(len(log) * share)
        return cls(log, ~asked, asked, held_back=bool(asked.any()))


class RetrieverTraining:
    """One training run and its state."""

    def __init__(self, dataset: Dataset, config: RetrieverConfig, seed: int) -> None:
        self.config, self.num_items = config, dataset.num_items
        self.random = np.random.default_rng(seed)
        counts = dataset.item_counts()
        queries = dataset.queries if dataset.features is not None else None
        features = dataset.features or _no_features(dataset.num_items)
        knows_content = dataset.features is not None and config.reads("content")
        self.alignment = dataset.alignment if knows_content else None
        self.module = RetrieverNetwork(features, queries, counts > 0, config, self.alignment)
        self.draw = CandidateDraw(counts, queries, config.num_negatives)
        examples = Examples.of(dataset, config.validation_share)
        everything = np.ones(len(examples.log), np.bool_)
        past = examples.log.rows(examples.learned)
        self.held_back = examples.held_back
        if config.reads("id") and config.id_start == "co-occurrence":
            histories = Sequences.of_users(past, dataset.num_users)
            vectors = cooccurrence_vectors(histories, self.num_items, config.embedding_size)
            self.module.tower.start_ids_at(vectors, config.id_scale)
        self.learned, self.asked, self.whole = (
            BatchMaker(PackedLog(log, targets), queries, config)
            for log, targets in (
                (past, everything[: len(past)]),
                (examples.log, examples.asked),
                (examples.log, everything),
            )
        )
        self.optimiser = self._optimiser()

    def epoch(self, number: int) -> None:
        """All events once; the rate depends on how much of the whole training is done."""
        self._pass(self.learned, number)

    def learn_held_back(self) -> None:
        """One pass over everything at the last rate, where training could not see everything."""
        if self.held_back:
            self._pass(self.whole, self.config.epochs)

    def _pass(self, maker: BatchMaker, number: int) -> None:
        self.module.train()
        batches = list(maker.epoch(self.config.batch_size, self.random))
        for place, batch in enumerate(batches):
            self._set_rate((number + place / len(batches)) / self.config.epochs)
            loss = self.module.loss(batch, self.draw(batch, self.random))
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.module.parameters(), _MOST_GRADIENT)
            self.optimiser.step()

    def _set_rate(self, done: float) -> None:
        """Linear warm-up, then half a cosine. ``done``: share of the training; 1 or more = over."""
        falling = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        share = min(1.0, (done + 1e-3) / _WARM_SHARE) * max(_LAST_RATE, falling)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * share * group["relative"]

    def _optimiser(self) -> torch.optim.Optimizer:
        """The groups in this order, as checkpoints know parameters by their place."""
        ids = self.module.tower.ids
        others = [each for each in self.module.parameters() if each is not ids]
        groups = [
            {"params": others, "relative": 1.0},
            {"params": [ids], "relative": self.config.id_learning_rate},
        ]
        return torch.optim.AdamW(
            groups,
            lr=self.config.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=self.config.reg,
            fused=True,
        )

    @torch.no_grad()
    def validate(self) -> float | None:
        """Mean nDCG@10 of some of the asked events among all items outside their histories."""
        if not self.asked.log.is_target.any():
            return None
        self.module.eval()
        everything = torch.arange(self.num_items)
        gain, count = 0.0, 0
        for batch in self._asked_batches():
            encoded, targets, vectors = self.module(batch, everything, self.module.seen)
            gain += _gain((encoded @ vectors.T).numpy(), targets, batch)
            count += len(targets)
        return gain / count

    def _asked_batches(self) -> Iterator[Batch]:
        """Home requests for about ``MOST_VALIDATED`` of the asked events, always the same."""
        log = self.asked.log
        rows = cut_rows(log, self.config.max_len, np.zeros(len(log.starts), np.int64))
        order, count = np.random.default_rng(0).permutation(len(rows.begin)), 0
        for start in range(0, len(order), _RANKED_AT_ONCE):
            batch = self.asked.home_batch(rows.take(order[start : start + _RANKED_AT_ONCE]))
            yield batch
            count += int((batch.target >= 0).sum())
            if count >= MOST_VALIDATED:
                break

    @torch.no_grad()
    def finish(self, affinity: ContentAffinity | None) -> TrainedRetriever:
        """Vectors of all items, the tower's arrays and the exported context encoder."""
        self.module.eval()
        own = self.module.tower
        vectors, projected = own(torch.arange(self.num_items), self.module.seen)
        tower = TowerArrays(
            own.weight.detach().numpy().copy(),
            own.bias.detach().numpy().copy(),
            own.code_tables.detach().numpy().copy(),
            *self._lent(),
            self.config.num_lenders,
            own.reads_content,
            self.alignment,
        )
        example = example_request(self.config.embedding_size)
        context = to_onnx(self.module.encoder, example, INPUTS, ("encoded",), OPEN_AXES)
        bonus = self.config.new_item_bonus * (1 - self.module.seen.numpy()) * tower.knows_new_items
        return TrainedRetriever(
            context,
            vectors.numpy(),
            projected.numpy(),
            tower,
            bonus.astype(np.float32),
            affinity,
        )

    @torch.no_grad()
    def affinity(self) -> ContentAffinity | None:
        """Aligned content with the largest weight that foretells the asked events about as well
        as the best one: what content says also holds for items that nobody has chosen yet.

        To be asked before the held-back events are learned: a network that knows them by heart
        foretells them without the help of content.
        """
        if self.alignment is None:
            return None
        self.module.eval()
        vectors = self.alignment.encode(self.module.tower.content.numpy())
        gains: dict[float, float] = dict.fromkeys(_AFFINITY_WEIGHTS, 0.0)
        everything = torch.arange(self.num_items)
        for batch in self._asked_batches():
            encoded, targets, items = self.module(batch, everything, self.module.seen)
            own, cosines = (encoded @ items.T).numpy(), _cosines(batch, vectors)
            for weight in gains:
                gains[weight] += _gain(own + np.float32(weight) * cosines, targets, batch)
        enough = _ABOUT_AS_WELL * max(gains.values())
        weight = max(weight for weight, gain in gains.items() if gain >= enough)
        return ContentAffinity(self.alignment, vectors, weight if enough > 0 else 0.0)

    def _lent(self) -> tuple[FloatArray, FloatArray]:
        """Ids and likeness of the items that may lend; none where ids are not lent."""
        own, seen = self.module.tower, self.module.seen[:, None].numpy()
        content = own.content.numpy()
        if own.lenders is None:
            return np.zeros((0, own.ids.shape[1]), np.float32), content[:0]
        likeness = self.alignment.encode(content) if self.alignment else content
        return own.ids.detach().numpy() * seen, likeness * seen


def _gain(scores: FloatArray, targets: Tensor, batch: Batch) -> float:
    """Summed nDCG@10 of a batch's targets by scores (R, N), which change."""
    request, place = np.nonzero(_shown(batch))
    row = np.nonzero(batch.target >= 0)[0][request]
    excluded = request, batch.items[row, place]
    return float(ndcg_of_wanted(scores, targets.numpy(), excluded).sum())


def _shown(batch: Batch) -> BoolArray:
    """(R, T) which steps of its row a request with a target sees."""
    shown: BoolArray = (batch.places[:, None, :] < batch.prefix[:, :, None])[batch.target >= 0]
    return shown


def _cosines(batch: Batch, vectors: FloatArray) -> FloatArray:
    """(R, N) of the context's mean aligned content, as ``ContentAffinity`` weighs it, to items."""
    row, request = np.nonzero(batch.target >= 0)
    age = batch.prefix[row, request][:, None] - 1 - batch.places[row]
    weights = np.where(_shown(batch), DECAY ** np.maximum(age, 0), 0.0)
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-12)
    means = np.einsum("rt,rtc->rc", weights.astype(np.float32), vectors[batch.items[row]])
    return np.asarray(means @ vectors.T, np.float32)


def _with_targets(dataset: Dataset, held: HeldOut) -> EventLog:
    """The log with each held-out item as its user's next event, a second after the last one."""
    log = dataset.events
    last = np.full(dataset.num_users, -np.inf)
    np.maximum.at(last, log.users, log.timestamps)
    known = (held.items < dataset.num_items) & np.isfinite(last[held.users])
    users, items = held.users[known], held.items[known]
    return EventLog(
        np.concatenate([log.users, users]),
        np.concatenate([log.items, items]),
        np.concatenate([log.timestamps, last[users] + 1.0]),
        np.concatenate([log.liked, np.zeros(len(users), np.bool_)]),
        np.concatenate([log.values, np.full(len(users), np.nan, np.float32)]),
    )


def digest_of(dataset: Dataset, config: RetrieverConfig, seed: int) -> str:
    """SHA-256 of everything that a training's numbers depend on."""
    digest = hashlib.sha256(f"{config.model_dump_json()} {seed}".encode())
    arrays = [dataset.events.users, dataset.events.items, dataset.events.timestamps]
    if dataset.features is not None:
        arrays += [dataset.features.content, dataset.features.codes]
    if dataset.alignment is not None:
        arrays += [dataset.alignment.down, dataset.alignment.up]
    if dataset.queries is not None:
        arrays += [dataset.queries.vectors, dataset.queries.items]
    if dataset.validation is not None:
        arrays += [dataset.validation.users, dataset.validation.items]
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _no_features(num_items: int) -> ItemFeatures:
    return ItemFeatures(np.zeros((num_items, 0), np.float32), np.zeros((num_items, 0), np.int32), 1)
