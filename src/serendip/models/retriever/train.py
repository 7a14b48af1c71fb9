"""Trains the retriever: mixed tasks, early stopping, then export.

Training stops by the validation targets of the dataset. Where it carries none, the newest events
are held back for that, and learned in one last pass.

What the retriever learns from, and what tells it when to stop.

Whether an interrupted training may go on: only where nothing that it depends on has changed.
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
from serendip.models.early_stopping import Stopping, train_epochs
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
from serendip.models.retriever.loss import CandidateDraw, HardNegatives, RetrieverNetwork
from serendip.models.retriever.network import COUNTRY, INPUTS, OPEN_AXES, example_request
from serendip.models.retriever.quality import HeldOutRequests, QualityVector, find_weights
from serendip.models.retriever.requests import HOME, NUM_TASKS, SEARCH, TASK_OF
from serendip.models.sequence.cooccurrence import cooccurrence_vectors
from serendip.models.sequence.packing import Sequences
from serendip.runtime.progress import TrainOptions
from serendip.runtime.threads import num_threads


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSplit:
    """What is learned from, and what decides when to stop.

    Args:
        log: all events.
        learned: (E,) bool, events that are predicted in training.
        asked: (E,) bool, events that are predicted to know when to stop; nothing learns from them.
        held_back: True where the asked ones are of the dataset itself, to be learned at the end.
        hidden: (Q,) bool, queries that are asked to know what plain words count for, and not
            learned before: what a model answers to words that it was shown says little of others.
    """

    log: EventLog
    learned: BoolArray
    asked: BoolArray
    held_back: bool
    hidden: BoolArray

    @classmethod
    def of(cls, dataset: Dataset, share: float) -> TrainingSplit:
        """From the validation targets of a dataset, or from its newest ``share`` of events.

        The same share of the queries is hidden, at least one text; see ``held_out_queries``.
        """
        log, queries = dataset.events, dataset.queries
        hidden = held_out_queries([] if queries is None else queries.texts, share)
        if dataset.validation is not None:
            log = _with_targets(dataset, dataset.validation)
            asked = np.arange(len(log)) >= len(dataset.events)
            return cls(log, ~asked, asked, False, hidden)
        asked = np.arange(len(log)) >= len(log) - int(len(log) * share)
        return cls(log, ~asked, asked, bool(asked.any()), hidden)


def held_out_queries(texts: Sequence[str], share: float) -> BoolArray:
    """(Q,) which queries to hide: all those of a ``share`` of the different texts, drawn once.

    Texts and not pairs: of words that many items answer to, hiding one answer alone would teach
    that it is wrong. Nothing is hidden where there is but one text, or no share.
    """
    if share == 0:
        return np.zeros(len(texts), np.bool_)
    different, text = np.unique(np.asarray(texts, dtype=str), return_inverse=True)
    count = max(1, int(share * len(different))) if len(different) > 1 else 0
    chosen = np.random.default_rng(0).permutation(len(different))[:count]
    return np.isin(text, chosen)


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
        None
        if log.strengths is None
        else np.append(log.strengths, np.ones(len(users), np.float32)),
    )


_LAYOUT = 2
"""Changes with the parameters of the network: those of another layout cannot be continued."""


def training_fingerprint(dataset: Dataset, config: RetrieverConfig, seed: int) -> str:
    """SHA-256 of everything that a training's numbers depend on."""
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
_WARM_SHARE, _LAST_RATE, _MOST_GRADIENT = 0.05, 0.02, 1.0
_RANKED_AT_ONCE = 512


def train_retriever(
    dataset: Dataset, config: RetrieverConfig, options: TrainOptions
) -> TrainedRetriever:
    """Train on everything in ``dataset``; leaves torch's own random state as it was."""
    torch.set_num_threads(num_threads())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        training = RetrieverTraining(dataset, config, options.seed)
        stopping = Stopping(config.epochs, config.patience)
        digest = training_fingerprint(dataset, config, options.seed)
        train_epochs(training, stopping, options, digest, "Training the retriever")
        affinity = training.affinity()
        quality = training.quality(affinity)
        training.learn_held_back()
        return replace(training.finish(affinity), quality=quality)


class RetrieverTraining:
    """One training run and its state."""

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
        where = None if countries is None else countries.of_users
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
        hidden = examples.hidden
        all_words = np.ones_like(hidden)
        self.read_texts = [] if queries is None else list(compress(queries.texts, ~hidden))
        self.learned, self.asked, self.read, self.unread, self.whole = (
            BatchBuilder(PackedLog(log, targets), queries, config, drawn, where)
            for log, targets, drawn in (
                (past, everything[: len(past)], ~hidden),
                (examples.log, examples.asked, all_words),
                (examples.log, examples.asked, ~hidden),
                (examples.log, examples.asked, hidden if hidden.any() else all_words),
                (examples.log, everything, all_words),
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

    def _pass(self, maker: BatchBuilder, number: int) -> None:
        count = self.config.hard_negatives
        if count and not self.draw.takes_all and 2 * number >= self.config.epochs:
            self.draw.hard = HardNegatives.of(self._vectors(), self.draw.frequency, count)
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

    def validate(self) -> float | None:
        """Mean over the tasks of the mean nDCG@10 of some of the asked events.

        Each is ranked among all items but those that its request shows. Searches have known words,
        too: of words that were never read a network knows less with every pass, and to stop by them
        would end what the other tasks still learn. Where content is aligned, ``affinity`` weighs
        afterwards what plain words count for beside the network, by words that were never read.
        """
        gains = []
        for task in self.asked.tasks:
            gains_of = self._asked(TASK_OF[task], self.asked)
            found = [(one.gain(), len(one.targets)) for one in gains_of]
            if found:
                gain, count = np.sum(found, axis=0)
                gains.append(gain / count)
        return float(np.mean(gains)) if gains else None

    @torch.no_grad()
    def _vectors(self) -> FloatArray:
        """(N, E) of the items, as learned so far."""
        self.module.eval()
        vectors, _ = self.module.tower(torch.arange(self.num_items), self.module.seen)
        return np.asarray(vectors.numpy(), np.float32)

    @torch.no_grad()
    def _asked(self, task: int, maker: BatchBuilder) -> Iterator[ValidationRequests]:
        """A task's requests for about ``MOST_VALIDATED`` of the asked events, always the same."""
        self.module.eval()
        log, everything = maker.log, torch.arange(self.num_items)
        rows = cut_rows(log, self.config.max_len, np.zeros(len(log.starts), np.int64))
        order, count = np.random.default_rng(0).permutation(len(rows.begin)), 0
        for start in range(0, len(order), _RANKED_AT_ONCE):
            part = rows.take(order[start : start + _RANKED_AT_ONCE])
            batch = maker.asked_batch(part, task)
            if not (batch.target >= 0).any():
                continue
            encoded, targets, vectors = self.module(batch, everything, self.module.seen)
            yield ValidationRequests(batch, targets, (encoded @ vectors.T).numpy())
            count += len(targets)
            if count >= MOST_VALIDATED:
                break

    @torch.no_grad()
    def finish(self, affinity: ContentScores | None) -> TrainedRetriever:
        """Vectors of all items, the tower's arrays and the exported context encoder."""
        self.module.eval()
        own = self.module.tower
        vectors, projected = own(torch.arange(self.num_items), self.module.seen)
        tower = ItemEncoderArrays(
            own.weight.detach().numpy().copy(),
            own.bias.detach().numpy().copy(),
            own.code_tables.detach().numpy().copy(),
            *self._lent(),
            self.config.num_lenders,
            own.reads_content,
            self.alignment,
            sum(own.sizes[1:]),
            own.token_table.detach().numpy().copy() if len(own.token_table) else None,
        )
        context = self._exported()
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

    def _exported(self) -> bytes:
        """The context encoder, with one more input where it knows countries."""
        example = example_request(sum(self.module.tower.sizes), bool(self.countries))
        inputs, axes = list(INPUTS), OPEN_AXES
        if self.countries:
            inputs, axes = [*inputs, COUNTRY], [*axes, axes[-1]]
        return to_onnx(self.module.encoder, example, inputs, ("encoded",), axes)

    def affinity(self) -> ContentScores | None:
        """Content, aligned and plain, weighed by the asked events; see ``tune_content_weights``.

        To be asked before the held-back events are learned: a network that knows them by heart
        foretells them without the help of content. For the same reason searches have hidden words.
        Those with words that were learned are weighed apart: their answers, other than the event,
        may have been learned, too, as they will have been where such words are served.
        """
        if self.alignment is None:
            return None
        content, words = self.module.tower.content.numpy(), self.module.query_vectors.numpy()
        aligned = self.alignment.encode(content)
        weights = np.zeros((NUM_TASKS, 2), np.float32)
        for task in map(TASK_OF.__getitem__, self.asked.tasks):
            typed = words if task == SEARCH else words[:0]
            asked = partial(self._asked, task, self.unread)
            weights[task] = tune_content_weights(asked, aligned, content, typed)
        plain = content if len(words) else None
        known = None
        if SEARCH in map(TASK_OF.__getitem__, self.read.tasks):
            asked = partial(self._asked, SEARCH, self.read)
            known = TrainedQueries.of(
                self.read_texts, tune_content_weights(asked, aligned, content, words)
            )
        return ContentScores(self.alignment, aligned, weights, plain, known)

    def quality(self, affinity: ContentScores | None) -> QualityVector | None:
        """The quality vector with the weights that the asked home requests allow."""
        values, loss = self.values, self.config.quality_loss
        if values is None or loss == 0 or "home" not in self.asked.tasks:
            return None
        held = []
        for one in self._asked(HOME, self.asked):
            scores = one.scores
            if affinity is not None:
                cosines = context_cosines(one.batch, affinity.aligned)
                scores = scores + affinity.weights[HOME, 0] * cosines
            scores[one.excluded] = -np.inf
            held.append(HeldOutRequests.of(scores, one.targets.numpy()))
        weights = np.zeros(values.shape[1], np.float32)
        if held:
            weights = find_weights(held, values, loss, self.seed)
        return QualityVector(values, weights)

    def _lent(self) -> tuple[FloatArray, FloatArray]:
        """Ids and content of the items that may lend; none where ids are not lent."""
        own, seen = self.module.tower, self.module.seen[:, None].numpy()
        content = own.content.numpy()
        if own.lenders is None:
            return np.zeros((0, own.ids.shape[1]), np.float32), content[:0]
        aligned = self.alignment.encode(content) if self.alignment else content
        return own.ids.detach().numpy() * seen, aligned * seen


def _no_features(num_items: int) -> ItemFeatures:
    return ItemFeatures(np.zeros((num_items, 0), np.float32), np.zeros((num_items, 0), np.int32), 1)
