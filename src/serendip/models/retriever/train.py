"""Training of the unified retriever: mixed tasks, early stopping by nDCG@10, ONNX export. Torch.

Early stopping uses the validation targets of the dataset. If it has none, the newest events are
held back for validation and learned in one last pass (``TrainingSplit``).

A training that continues from an earlier one (``RetrieverStart``) learns all events in
``continued_epochs`` passes, without validation: weights that were tuned on validation requests are
those of the earlier training.

The cost of a step does not depend on the size of the catalogue: it reads the items of its requests
and of its negatives, and updates their rows (``RowAdamW``). Once per epoch the table of IDs is
brought up to date, which is one pass over it, and a fixed sample is validated.

Shapes: N items, U users, Q example queries, R requests, C content size, D embedding size, S words
size, E = D + S.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import compress
from typing import cast

import numpy as np
import torch

from serendip.data import BoolArray, Dataset, EventLog, FloatArray, ItemFeatures, PackedRows
from serendip.data.rows.aligned_rows import AlignedRows
from serendip.models.early_stopping import train_epochs
from serendip.models.onnx import to_onnx
from serendip.models.retriever.artefact import QualityVector, RetrieverStart, TrainedRetriever
from serendip.models.retriever.batches import BatchBuilder, PackedLog
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.content_scores import ContentScores, TrainedQueries
from serendip.models.retriever.content_weights import (
    context_cosines,
    tune_content_weights,
    tune_quality,
    words_cosines,
)
from serendip.models.retriever.item_encoder import NEW_ITEM_BONUS, ItemEncoderArrays
from serendip.models.retriever.loss import CandidateDraw, EncodedItems, RetrieverNetwork
from serendip.models.retriever.network import COUNTRY, INPUTS, OPEN_AXES, example_request
from serendip.models.retriever.requests import NUM_TASKS, SEARCH, TASK_OF
from serendip.models.retriever.validation import TrainingSplit, ValidationRequests, ValidationSample
from serendip.models.row_adam import RowAdamW
from serendip.models.sequence.packing import Sequences, cooccurrence_vectors
from serendip.runtime.budget import UNLIMITED, Allowance
from serendip.runtime.progress import TrainOptions
from serendip.runtime.threads import num_threads

_WARM_SHARE, _LAST_RATE = 0.05, 0.02
"""Warm-up share of the training, final learning rate over the highest."""

_MOST_EVENTS = 2_500_000
"""Events that a training learns at most, each counted once per epoch: a longer log is learned in
fewer epochs, at least one."""

_ID_LEARNING_RATE, _WEIGHT_DECAY = 3.0, 0.01
"""Learning rate of ID embeddings as a multiple of the others', as an ID gets few updates; decoupled
weight decay."""

_MOST_GRADIENT = 1.0
"""Gradient norm clip."""

_SHARE_BEFORE_LAST = 0.8
"""Share of the time for the epochs before the last pass, which learns the held-back events."""


def train_retriever(
    dataset: Dataset,
    config: RetrieverConfig,
    options: TrainOptions,
    start: RetrieverStart | None = None,
) -> TrainedRetriever:
    """Train a retriever on all data, without changing torch's global random state.

    It continues from ``start``, of the same config; with None, or a network of other sizes or
    countries, it trains from nothing.
    """
    torch.set_num_threads(num_threads())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        training = RetrieverTraining(dataset, config, options.seed, start)
        if training.start is not None:
            training.allowance = options.allowance.from_now(1.0)
            with options.progress.step("Training the retriever"):
                training.learn_everything()
            return training.finish(training.earlier_affinity(), training.earlier_quality())
        training.allowance = options.allowance.from_now(_SHARE_BEFORE_LAST)
        timed = replace(options, allowance=training.allowance)
        limits = training.num_epochs, config.patience
        train_epochs(training, timed, "Training the retriever", *limits)
        affinity = training.affinity()
        quality = training.quality(affinity)
        training.allowance = options.allowance.from_now(1.0)
        training.learn_held_back()
        return training.finish(affinity, quality)


class RetrieverTraining:
    """One training run and its state: network, optimiser, sampler and batch builders."""

    def __init__(
        self,
        dataset: Dataset,
        config: RetrieverConfig,
        seed: int,
        start: RetrieverStart | None = None,
    ) -> None:
        self.config, self.num_items = config, dataset.num_items
        self.allowance: Allowance = UNLIMITED
        self.random, self.values = np.random.default_rng(seed), dataset.quality
        counts = dataset.item_counts()
        queries = dataset.queries if dataset.features is not None else None
        features = dataset.features or _no_features(dataset.num_items)
        knows_content = dataset.features is not None and config.reads("content")
        self.alignment = dataset.alignment if knows_content else None
        self.stored_content = features.content  # (N, C), perhaps packed
        # (N, C); the content itself without an alignment
        self.aligned = self.stored_content
        if self.alignment:
            self.aligned = cast("FloatArray", PackedRows.of(cast("FloatArray", self.aligned_rows)))
        self.codes = features.codes
        self.countries = () if dataset.countries is None else dataset.countries.names
        self.module = RetrieverNetwork(
            features,
            queries,
            counts > 0,
            config,
            self.aligned,
            len(self.countries),
        )
        is_same = start is not None and start.countries == self.countries
        continues = start is not None and is_same and self.module.continue_from(start)
        self.start = start if continues else None
        self.draw = CandidateDraw(counts, queries, config.num_negatives)
        self.dataset, self.queries = dataset, queries
        self.split = TrainingSplit.of(dataset, config.validation_share)
        self.held_back = self.split.held_back and self.start is None
        wanted = config.epochs if self.start is None else config.continued_epochs
        most = round(_MOST_EVENTS / max(1, int(self.split.learned.sum())))
        self.num_epochs = max(1, min(wanted, most))
        if self.start is None and config.reads("id"):
            histories = Sequences.of_users(self._past, dataset.num_users)
            widest = max(self.module.tower.sizes)
            vectors = cooccurrence_vectors(histories, self.num_items, widest)
            self.module.tower.start_ids_at(vectors)
        self._samples: dict[tuple[int, int], ValidationSample] = {}
        self._encoded: EncodedItems | None = None
        self._passes, self.num_steps = 0.0, 0
        self.optimiser = build_optimiser(self.module, config)

    @property
    def _past(self) -> EventLog:
        return self.split.log.rows(self.split.learned)

    @cached_property
    def learned(self) -> BatchBuilder:
        """The training events, and the queries that are not held out."""
        return self._builder(PackedLog(self._past), ~self.split.hidden)

    @cached_property
    def validation(self) -> BatchBuilder:
        """The validation events, and all queries; the last pass learns them, too."""
        return self._builder(PackedLog(self.split.log, self.split.is_validation))

    @cached_property
    def read(self) -> BatchBuilder:
        """The validation events, and the queries that are not held out."""
        return self._builder(self.validation.log, ~self.split.hidden)

    @cached_property
    def unread(self) -> BatchBuilder:
        """The validation events, and the held-out queries; all without any."""
        hidden = self.split.hidden
        return self._builder(self.validation.log, hidden if hidden.any() else None)

    @cached_property
    def whole(self) -> BatchBuilder:
        """All events of the dataset and all queries, for a training that continues."""
        return self._builder(PackedLog(self.dataset.events))

    def _builder(self, log: PackedLog, drawn: BoolArray | None = None) -> BatchBuilder:
        countries = self.dataset.countries
        of_users = None if countries is None else countries.of_users
        return BatchBuilder(log, self.queries, self.config, drawn, of_users)

    def epoch(self, number: int) -> None:
        """Train one epoch over the training events."""
        self._run_epoch(self.learned, number)

    def learn_held_back(self) -> None:
        """Train an epoch on the held-back events and queries, at the final learning rate.

        Rows without a held-back event are left out: at this rate a pass over them changes little.
        """
        if self.held_back:
            self._run_epoch(self.validation, self.num_epochs)

    def learn_everything(self) -> None:
        """Train on all events, continuing from an earlier training."""
        for number in range(self.num_epochs):
            self._run_epoch(self.whole, number)

    def _run_epoch(self, maker: BatchBuilder, number: int) -> None:
        self.module.train()
        self._encoded = None
        steps = maker.cut_epoch(self.config.batch_size, self.random)
        for step, rows in enumerate(steps):
            self._passes = number + step / len(steps)
            if self.allowance.is_over:
                done = self._passes / (self.num_epochs + self.held_back)
                continues = self.start is not None or number == self.num_epochs
                self.allowance.cut(done, continues, self.num_steps)
                break
            self._set_rate(self.allowance.pace(self._passes / self.num_epochs))
            batch = maker.batch(rows, self.random)
            candidates = self.draw(batch, self.random)
            self.optimiser.zero_grad()
            self.module.loss(batch, candidates).backward()  # type: ignore[no-untyped-call]
            self.optimiser.clip_gradients(_MOST_GRADIENT)
            self.optimiser.step()
            self.num_steps += 1
        self.optimiser.flush()

    def _set_rate(self, done: float) -> None:
        """Set the learning rate: linear warm-up, then cosine decay. ``done``: share of training.

        If there is not time for all steps, ``done`` is the share of the time, so that the rate has
        fallen when the time is over.
        """
        falling = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        share = min(1.0, (done + 1e-3) / _WARM_SHARE) * max(_LAST_RATE, falling)
        self.optimiser.set_rate(self.config.learning_rate * share)

    def validate(self) -> float | None:
        """Validation score: mean over tasks of mean nDCG@10; None without validation targets.

        Ranked are the items of ``ValidationSample`` that the request does not show. Searches use
        trained queries too: on held-out queries the network gets worse with every epoch, and
        stopping by them would stop the other tasks too early. With aligned content, ``affinity``
        later tunes the weight of plain content against the network on held-out queries.
        """
        means = []
        for task in self.validation.tasks:
            sums = [
                (block.gain(), len(block.scores))
                for block in self._validation_requests(TASK_OF[task], self.validation)
            ]
            if sums:
                gain, count = np.sum(sums, axis=0)
                means.append(gain / count)
        return float(np.mean(means)) if means else None

    @torch.no_grad()
    def _validation_requests(self, task: int, maker: BatchBuilder) -> Iterator[ValidationRequests]:
        """Yield the scored blocks of a task's validation requests, always the same."""
        self.module.eval()
        sample, items = self._sample(task, maker), self._encode_validated()
        ranked = items.vectors[items.rows(torch.from_numpy(sample.ranked))]  # (ranked, E)
        for batch in sample.blocks:
            encoded, _ = self.module.encode_requests(batch, items)  # (R, E)
            yield ValidationRequests(batch, sample.ranked, (encoded @ ranked.T).numpy())

    def _sample(self, task: int, maker: BatchBuilder) -> ValidationSample:
        key = (task, id(maker))
        if key not in self._samples:
            self._samples[key] = ValidationSample.of(maker, task, self.num_items)
        return self._samples[key]

    def _encode_validated(self) -> EncodedItems:
        # Encoded once after every epoch.
        if self._encoded is None:
            asked = [(TASK_OF[task], self.validation) for task in self.validation.tasks]
            if self.alignment is not None and "search" in self.validation.tasks:
                asked += [(SEARCH, self.unread), (SEARCH, self.read)]
            used = np.concatenate([self._sample(*sample).used_items for sample in asked])
            self._encoded = self.module.encode_items(torch.from_numpy(np.unique(used)))
        return self._encoded

    @torch.no_grad()
    def finish(
        self, affinity: ContentScores | None, quality: QualityVector | None = None
    ) -> TrainedRetriever:
        """Export the trained network: item vectors, item tower arrays and ONNX context encoder."""
        self.module.eval()
        network = self.module.tower
        items = self.module.encode_items(torch.arange(self.num_items))
        tower = ItemEncoderArrays(
            network.weight.detach().numpy().copy(),
            network.bias.detach().numpy().copy(),
            network.code_tables.detach().numpy().copy(),
            *self._donors(),
            network.reads_content,
            self.alignment,
            sum(network.sizes[1:]),
            network.token_table.detach().numpy().copy() if len(network.token_table) else None,
            self.module.seen.numpy() > 0,
        )
        context = self._export_context()
        # (N,) for items without training events only.
        bonus = NEW_ITEM_BONUS * (1 - self.module.seen.numpy()) * tower.knows_new_items
        return TrainedRetriever(
            context,
            items.vectors.numpy(),
            items.projected.numpy(),
            tower,
            bonus.astype(np.float32),
            affinity,
            sum(parameter.numel() for parameter in self.module.parameters()),
            quality,
            self.countries,
            self._learned(affinity, quality),
        )

    def _learned(
        self, affinity: ContentScores | None, quality: QualityVector | None
    ) -> RetrieverStart:
        parameters = {
            name: parameter.detach().numpy() for name, parameter in self.module.named_parameters()
        }
        known = None if affinity is None else affinity.known
        return RetrieverStart(
            parameters,
            self.codes,
            self.module.seen.numpy() > 0,
            self.countries,
            None if affinity is None else affinity.weights,
            None if known is None else known.weights,
            None if quality is None else quality.weights,
        )

    def _export_context(self) -> bytes:
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
        self._encoded = None  # the best weights may not be those that were validated last
        if self.alignment is None:
            return None
        content = self.stored_content  # (N, C)
        query_vectors, aligned = self.module.query_vectors.numpy(), self.aligned  # (Q, C), (N, C)
        weights = np.zeros((NUM_TASKS, 2), np.float32)
        for task in map(TASK_OF.__getitem__, self.validation.tasks):
            texts = query_vectors if task == SEARCH else query_vectors[:0]
            maker = self.unread if task == SEARCH else self.validation
            requests = partial(self._validation_requests, task, maker)
            weights[task] = tune_content_weights(requests, aligned, content, texts)
        trained = None
        if SEARCH in map(TASK_OF.__getitem__, self.read.tasks):
            requests = partial(self._validation_requests, SEARCH, self.read)
            trained = TrainedQueries.of(
                compress(self._texts(), ~self.split.hidden),
                tune_content_weights(requests, aligned, content, query_vectors),
            )
        return ContentScores(self.aligned_rows, weights, trained)

    def _texts(self) -> Sequence[str]:
        return () if self.queries is None else self.queries.texts

    def earlier_affinity(self) -> ContentScores | None:
        """Content scores with the weights of the earlier training; None without an alignment.

        All queries are trained now.
        """
        assert self.start is not None
        if self.alignment is None:
            return None
        weights, known = self.start.content_weights, self.start.known_weights
        return ContentScores(
            self.aligned_rows,
            np.zeros((NUM_TASKS, 2), np.float32) if weights is None else weights,
            None if known is None else TrainedQueries.of(self._texts(), known),
        )

    def earlier_quality(self) -> QualityVector | None:
        """Quality vector with the weights of the earlier training; None = not used."""
        assert self.start is not None
        if self.values is None or self.start.quality_weights is None:
            return None
        return QualityVector(self.values, self.start.quality_weights)

    def quality(self, affinity: ContentScores | None) -> QualityVector | None:
        """Quality vector, tuned on the validation requests of all tasks; None = not configured."""
        if self.values is None or self.config.quality_loss == 0:
            return None
        tasks = (self._scored_requests(TASK_OF[task], affinity) for task in self.validation.tasks)
        return tune_quality(tasks, self.values, self.config.quality_loss)

    def _scored_requests(
        self, task: int, affinity: ContentScores | None
    ) -> Iterator[tuple[ValidationRequests, FloatArray | float]]:
        """Validation requests of a task with the content scores (R, ranked) of ranked items."""
        maker = self.unread if task == SEARCH else self.validation
        words = self.module.query_vectors.numpy()  # (Q, C)
        for block in self._validation_requests(task, maker):
            content: FloatArray | float = 0.0
            if affinity is not None:
                context, text = affinity.weights[task]
                content = context * context_cosines(block.batch, self.aligned, block.ranked)
                if task == SEARCH and text:
                    encoded = self.stored_content[block.ranked]
                    content += text * words_cosines(block.batch, words, encoded)
            yield block, content

    @cached_property
    def aligned_rows(self) -> AlignedRows:
        """``aligned`` as it is served: computed from the stored content."""
        assert self.alignment is not None
        return AlignedRows.of(self.alignment, self.stored_content)

    def _donors(self) -> tuple[FloatArray, FloatArray]:
        """IDs (N, E) of the ID donors, zeros for others, and content (N, C); no IDs if off."""
        tower, seen = self.module.tower, self.module.seen[:, None].numpy()
        content = cast("FloatArray", self.aligned_rows) if self.alignment else self.stored_content
        if tower.id_donors is None:
            return np.zeros((0, tower.ids.shape[1]), np.float32), content
        return tower.ids.detach().numpy() * seen, content


def build_optimiser(module: RetrieverNetwork, config: RetrieverConfig) -> RowAdamW:
    """AdamW with a learning rate of its own for ID embeddings, whose rows it reads."""
    tower = module.tower
    optimiser = RowAdamW(
        tower.ids,
        _ID_LEARNING_RATE,
        (parameter for parameter in module.parameters() if parameter is not tower.ids),
        lr=config.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=_WEIGHT_DECAY,
    )
    tower.read_ids = optimiser.read
    return optimiser


def _no_features(num_items: int) -> ItemFeatures:
    return ItemFeatures(np.zeros((num_items, 0), np.float32), np.zeros((num_items, 0), np.int32), 1)
