"""Training of the unified retriever: mixed tasks, early stopping by nDCG@10, ONNX export. Torch.

Early stopping uses the validation targets of the dataset. If it has none, the newest events are
held back for validation and learned in one last pass (``TrainingSplit``). An interrupted training
continues from its checkpoint only if ``training_fingerprint``, a hash of everything that its
numbers depend on, has not changed.

Shapes: N items, U users, Q example queries, R requests, C content size, D embedding size, S words
size, E = D + S; in ``TrainingSplit`` E is the number of events.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from serendip.data.arrays import BoolArray, FloatArray
from serendip.data.dataset import Dataset, EventLog, HeldOut
from serendip.data.item_features import ItemFeatures
from serendip.models.early_stopping import StoppingRule, train_epochs
from serendip.models.onnx import to_onnx
from serendip.models.retriever.artefact import TrainedRetriever
from serendip.models.retriever.batches import BatchBuilder, PackedLog, cut_rows
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.content_scores import ContentScores, TrainedQueries
from serendip.models.retriever.content_weights import (
    ValidationRequests,
    context_cosines,
    tune_content_weights,
)
from serendip.models.retriever.item_encoder import ItemEncoderArrays
from serendip.models.retriever.loss import CandidateDraw, RetrieverNetwork
from serendip.models.retriever.network import COUNTRY, INPUTS, OPEN_AXES, example_request
from serendip.models.retriever.quality import HeldOutRequests, QualityVector, find_weights
from serendip.models.retriever.requests import HOME, NUM_TASKS, SEARCH, TASK_OF
from serendip.models.sequence.cooccurrence import cooccurrence_vectors
from serendip.models.sequence.packing import Sequences
from serendip.runtime.progress import TrainOptions
from serendip.runtime.threads import num_threads


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSplit:
    """Training and validation events, and held-out queries.

    Args:
        log: all events.
        learned: (E,) bool, training targets.
        is_validation: (E,) bool, validation targets: they decide when to stop, without gradients.
        held_back: True if the validation targets are events of the dataset itself, which are
            learned at the end.
        hidden: (Q,) bool, held-out queries, which tune the weight of content in search. They are
            not trained before that: scores of trained queries say little about other queries.
    """

    log: EventLog
    learned: BoolArray
    is_validation: BoolArray
    held_back: bool
    hidden: BoolArray

    @classmethod
    def of(cls, dataset: Dataset, share: float) -> TrainingSplit:
        """Split by the dataset's validation targets, or hold back its newest ``share`` of events.

        The same share of the queries is held out, at least one text; see ``held_out_queries``.
        """
        log, queries = dataset.events, dataset.queries
        hidden = held_out_queries([] if queries is None else queries.texts, share)
        if dataset.validation is not None:
            log = _with_targets(dataset, dataset.validation)
            is_validation = np.arange(len(log)) >= len(dataset.events)
            return cls(log, ~is_validation, is_validation, False, hidden)
        is_validation = np.arange(len(log)) >= len(log) - int(len(log) * share)
        return cls(log, ~is_validation, is_validation, bool(is_validation.any()), hidden)


def held_out_queries(texts: Sequence[str], share: float) -> BoolArray:
    """Mask (Q,) of the held-out queries: all with a text among a ``share`` of the distinct texts.

    Texts are held out, not (query, item) pairs: holding out one of many relevant items of a text
    would train it as a negative. None are held out with a single text or a share of 0.
    """
    if share == 0:
        return np.zeros(len(texts), np.bool_)
    distinct, text = np.unique(np.asarray(texts, dtype=str), return_inverse=True)
    count = max(1, int(share * len(distinct))) if len(distinct) > 1 else 0
    # A fixed seed: the same texts are held out whatever the seed of the training.
    chosen = np.random.default_rng(0).permutation(len(distinct))[:count]
    return np.isin(text, chosen)


def _with_targets(dataset: Dataset, held: HeldOut) -> EventLog:
    """Append each held-out item as its user's next event, a second after the last one.

    Items that are not in the dataset and users without events are left out.
    """
    log = dataset.events
    last = np.full(dataset.num_users, -np.inf)  # (U,)
    np.maximum.at(last, log.users, log.timestamps)
    is_usable = (held.items < dataset.num_items) & np.isfinite(last[held.users])
    users, items = held.users[is_usable], held.items[is_usable]
    return EventLog(
        np.concatenate([log.users, users]),
        np.concatenate([log.items, items]),
        np.concatenate([log.timestamps, last[users] + 1.0]),
        np.concatenate([log.liked, np.zeros(len(users), np.bool_)]),
        np.concatenate([log.values, np.full(len(users), np.nan, np.float32)]),
        None
        if log.strengths is None
        else np.append(log.strengths, np.ones(len(users), np.float32)),
    )


_LAYOUT = 2
"""Version of the network's parameters: checkpoints of another layout cannot be continued."""


def training_fingerprint(dataset: Dataset, config: RetrieverConfig, seed: int) -> str:
    """Hash (SHA-256) everything that the result of a training depends on."""
    digest = hashlib.sha256(f"{_LAYOUT} {config.model_dump_json()} {seed}".encode())
    for text in _texts(dataset, config):
        digest.update(text.encode())
    for array in _arrays(dataset, config):
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _texts(dataset: Dataset, config: RetrieverConfig) -> Iterator[str]:
    if dataset.countries is not None:
        yield repr(dataset.countries.names)
    if config.token_buckets and dataset.queries is not None:
        yield repr(list(dataset.queries.texts))


def _arrays(dataset: Dataset, config: RetrieverConfig) -> Iterator[NDArray[Any] | None]:
    log = dataset.events
    yield from (log.users, log.items, log.timestamps, log.liked, log.strengths)
    yield dataset.quality
    if (features := dataset.features) is not None:
        yield from (features.content, features.codes)
        if config.token_buckets:
            yield from (features.known_tokens.hashes, features.known_tokens.starts)
    if (alignment := dataset.alignment) is not None:
        yield from (alignment.down, alignment.up)
    if (queries := dataset.queries) is not None:
        yield from (queries.vectors, queries.items)
    if (validation := dataset.validation) is not None:
        yield from (validation.users, validation.items)
    if (countries := dataset.countries) is not None:
        yield countries.of_users


MOST_VALIDATED = 4_000
"""Validation requests per task, about."""

_WARM_SHARE, _LAST_RATE, _MOST_GRADIENT = 0.05, 0.02, 1.0
"""Warm-up share of the training, final learning rate over the highest, gradient norm clip."""

_RANKED_AT_ONCE = 512
"""Rows of a validation batch; it scores the whole catalogue."""


def train_retriever(
    dataset: Dataset, config: RetrieverConfig, options: TrainOptions
) -> TrainedRetriever:
    """Train a retriever on ``dataset``, without changing torch's global random state."""
    torch.set_num_threads(num_threads())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        training = RetrieverTraining(dataset, config, options.seed)
        stopping = StoppingRule(config.epochs, config.patience)
        digest = training_fingerprint(dataset, config, options.seed)
        train_epochs(training, stopping, options, digest, "Training the retriever")
        affinity = training.affinity()
        quality = training.quality(affinity)
        training.learn_held_back()
        return replace(training.finish(affinity), quality=quality)


class RetrieverTraining:
    """One training run and its state: network, optimiser, sampler and batch builders."""

    def __init__(self, dataset: Dataset, config: RetrieverConfig, seed: int) -> None:
        self.config, self.num_items = config, dataset.num_items
        self.random, self.seed, self.values = np.random.default_rng(seed), seed, dataset.quality
        counts = dataset.item_counts()
        queries = dataset.queries if dataset.features is not None else None
        features = dataset.features or _no_features(dataset.num_items)
        knows_content = dataset.features is not None and config.reads("content")
        self.alignment = dataset.alignment if knows_content else None
        countries = dataset.countries
        self.countries = () if countries is None else countries.names
        user_countries = None if countries is None else countries.of_users
        self.module = RetrieverNetwork(
            features, queries, counts > 0, config, self.alignment, len(self.countries)
        )
        self.draw = CandidateDraw(counts, queries, config.num_negatives)
        examples = TrainingSplit.of(dataset, config.validation_share)
        everything = np.ones(len(examples.log), np.bool_)
        past = examples.log.rows(examples.learned)
        self.held_back = examples.held_back
        if config.reads("id") and config.id_start == "co-occurrence":
            histories = Sequences.of_users(past, dataset.num_users)
            widest = max(self.module.tower.sizes)
            vectors = cooccurrence_vectors(histories, self.num_items, widest)
            self.module.tower.start_ids_at(vectors, config.id_scale)
        hidden = examples.hidden  # (Q,)
        all_queries = np.ones_like(hidden)
        self.read_texts = [] if queries is None else list(compress(queries.texts, ~hidden))
        # Training; validation with all, with trained and with held-out queries; the last pass.
        self.learned, self.validation, self.read, self.unread, self.whole = (
            BatchBuilder(PackedLog(log, targets), queries, config, drawn, user_countries)
            for log, targets, drawn in (
                (past, everything[: len(past)], ~hidden),
                (examples.log, examples.is_validation, all_queries),
                (examples.log, examples.is_validation, ~hidden),
                (examples.log, examples.is_validation, hidden if hidden.any() else all_queries),
                (examples.log, everything, all_queries),
            )
        )
        self.optimiser = self._optimiser()

    def epoch(self, number: int) -> None:
        """Train one epoch over the training events."""
        self._run_epoch(self.learned, number)

    def learn_held_back(self) -> None:
        """Train an epoch on all events, at the final learning rate, if some were held back."""
        if self.held_back:
            self._run_epoch(self.whole, self.config.epochs)

    def _run_epoch(self, maker: BatchBuilder, number: int) -> None:
        """One pass over all rows."""
        self.module.train()
        batches = list(maker.epoch(self.config.batch_size, self.random))
        for step, batch in enumerate(batches):
            self._set_rate((number + step / len(batches)) / self.config.epochs)
            loss = self.module.loss(batch, self.draw(batch, self.random))
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.module.parameters(), _MOST_GRADIENT)
            self.optimiser.step()

    def _set_rate(self, done: float) -> None:
        """Set the learning rate: linear warm-up, then cosine decay. ``done``: share of training."""
        falling = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        share = min(1.0, (done + 1e-3) / _WARM_SHARE) * max(_LAST_RATE, falling)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * share * group["relative"]

    def _optimiser(self) -> torch.optim.Optimizer:
        """AdamW with a learning rate of its own for ID embeddings.

        The order of the groups is fixed: checkpoints identify parameters by position.
        """
        ids = self.module.tower.ids
        others = [parameter for parameter in self.module.parameters() if parameter is not ids]
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

    def validate(self) -> float | None:
        """Validation score: mean over tasks of mean nDCG@10; None without validation targets.

        Full ranking among all items that the request does not show. Searches use trained queries
        too: on held-out queries the network gets worse with every epoch, and stopping by them would
        stop the other tasks too early. With aligned content, ``affinity`` later tunes the weight of
        plain content against the network on held-out queries.
        """
        means = []
        for task in self.validation.tasks:
            sums = [
                (block.gain(), len(block.targets))
                for block in self._validation_requests(TASK_OF[task], self.validation)
            ]
            if sums:
                gain, count = np.sum(sums, axis=0)
                means.append(gain / count)
        return float(np.mean(means)) if means else None

    @torch.no_grad()
    def _validation_requests(self, task: int, maker: BatchBuilder) -> Iterator[ValidationRequests]:
        """Yield scored blocks of about ``MOST_VALIDATED`` requests of a task, always the same."""
        self.module.eval()
        log, everything = maker.log, torch.arange(self.num_items)
        rows = cut_rows(log, self.config.max_len, np.zeros(len(log.starts), np.int64))
        order, count = np.random.default_rng(0).permutation(len(rows.begin)), 0
        for start in range(0, len(order), _RANKED_AT_ONCE):
            part = rows.take(order[start : start + _RANKED_AT_ONCE])
            batch = maker.asked_batch(part, task)
            if not (batch.target >= 0).any():
                continue
            # (R, E), (R,), (N, E)
            encoded, targets, vectors = self.module(batch, everything, self.module.seen)
            yield ValidationRequests(batch, targets, (encoded @ vectors.T).numpy())
            count += len(targets)
            if count >= MOST_VALIDATED:
                break

    @torch.no_grad()
    def finish(self, affinity: ContentScores | None) -> TrainedRetriever:
        """Export the trained network: item vectors, item tower arrays and ONNX context encoder."""
        self.module.eval()
        network = self.module.tower
        vectors, projected = network(torch.arange(self.num_items), self.module.seen)  # (N, E) each
        tower = ItemEncoderArrays(
            network.weight.detach().numpy().copy(),
            network.bias.detach().numpy().copy(),
            network.code_tables.detach().numpy().copy(),
            *self._donors(),
            self.config.num_id_donors,
            network.reads_content,
            self.alignment,
            sum(network.sizes[1:]),
            network.token_table.detach().numpy().copy() if len(network.token_table) else None,
        )
        context = self._export_context()
        # (N,) for items without training events only.
        bonus = self.config.new_item_bonus * (1 - self.module.seen.numpy()) * tower.knows_new_items
        return TrainedRetriever(
            context,
            vectors.numpy(),
            projected.numpy(),
            tower,
            bonus.astype(np.float32),
            affinity,
            sum(parameter.numel() for parameter in self.module.parameters()),
            countries=self.countries,
        )

    def _export_context(self) -> bytes:
        """Export the context encoder to ONNX, with a country input if it was trained with one."""
        example = example_request(sum(self.module.tower.sizes), bool(self.countries))
        inputs, axes = list(INPUTS), OPEN_AXES
        if self.countries:
            inputs, axes = [*inputs, COUNTRY], [*axes, axes[-1]]
        return to_onnx(self.module.encoder, example, inputs, ("encoded",), axes)

    def affinity(self) -> ContentScores | None:
        """Content scores with weights tuned on validation requests; None without an alignment.

        Call it before ``learn_held_back``: a network that has memorised the validation targets
        predicts them without content (see ``tune_content_weights``). For the same reason searches
        are weighted on held-out queries. Trained queries get weights of their own: other relevant
        items of theirs may have been learned, as they will have been when they are served.
        """
        if self.alignment is None:
            return None
        # (N, C), (Q, C)
        content, query_vectors = (
            self.module.tower.content.numpy(),
            self.module.query_vectors.numpy(),
        )
        aligned = self.alignment.encode(content)
        weights = np.zeros((NUM_TASKS, 2), np.float32)
        for task in map(TASK_OF.__getitem__, self.validation.tasks):
            texts = query_vectors if task == SEARCH else query_vectors[:0]
            requests = partial(self._validation_requests, task, self.unread)
            weights[task] = tune_content_weights(requests, aligned, content, texts)
        plain = content if len(query_vectors) else None
        trained = None
        if SEARCH in map(TASK_OF.__getitem__, self.read.tasks):
            requests = partial(self._validation_requests, SEARCH, self.read)
            trained = TrainedQueries.of(
                self.read_texts, tune_content_weights(requests, aligned, content, query_vectors)
            )
        return ContentScores(self.alignment, aligned, weights, plain, trained)

    def quality(self, affinity: ContentScores | None) -> QualityVector | None:
        """Quality vector with weights tuned on home validation requests; None = not configured."""
        values, loss = self.values, self.config.quality_loss
        if values is None or loss == 0 or "home" not in self.validation.tasks:
            return None
        held_out = []
        for block in self._validation_requests(HOME, self.validation):
            scores = block.scores  # (R, N)
            if affinity is not None:
                cosines = context_cosines(block.batch, affinity.aligned)
                scores = scores + affinity.weights[HOME, 0] * cosines
            scores[block.excluded] = -np.inf
            held_out.append(HeldOutRequests.of(scores, block.targets.numpy()))
        weights = np.zeros(values.shape[1], np.float32)
        if held_out:
            weights = find_weights(held_out, values, loss, self.seed)
        return QualityVector(values, weights)

    def _donors(self) -> tuple[FloatArray, FloatArray]:
        """IDs (N, E) and content (N, C) of the ID donors, zeros for others; empty if off."""
        tower, seen = self.module.tower, self.module.seen[:, None].numpy()
        content = tower.content.numpy()
        if tower.id_donors is None:
            return np.zeros((0, tower.ids.shape[1]), np.float32), content[:0]
        aligned = self.alignment.encode(content) if self.alignment else content
        return tower.ids.detach().numpy() * seen, aligned * seen


def _no_features(num_items: int) -> ItemFeatures:
    return ItemFeatures(np.zeros((num_items, 0), np.float32), np.zeros((num_items, 0), np.int32), 1)
