"""Cross-encoder judge: MiniLM reads a query and an item together; an upper bound for light models.

Too slow for requests, as MiniLM runs for every pair. Cheap features are fitted first, by logistic
regression; the upper layers of MiniLM, with a linear head on the mean of the pair's tokens, are
trained on what the regression leaves unexplained. The lower layers are frozen, so their output is
computed once per pair. A fifth of the groups is held out, for early stopping, threshold and
calibration.

A pair is one input, ``[CLS] query [SEP] text [SEP]``.

Sources: cross-encoders for relevance, Nogueira and Cho 2019 (arXiv:1901.04085); MiniLM, Wang et al.
2020 (arXiv:2002.10957).

Shapes: P pairs, F features, B pairs of a batch, T tokens of a pair, C = 384 size of a token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from serendip.config import Config
from serendip.content.encoders.text import BATCH, open_minilm
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.numeric import NewtonSteps, fit_logistic
from serendip.evaluate.classification import best_threshold
from serendip.models.early_stopping import StoppingRule, train_epochs
from serendip.models.relevance.model import fit_calibration
from serendip.models.relevance.projection import QueryProjectionConfig
from serendip.models.relevance.train import add_projected_features
from serendip.runtime.optimiser import AdamW
from serendip.runtime.progress import Progress, TrainOptions
from serendip_bench.relevance_judges.gold import EXTRA, Gold, GoldPairs
from serendip_bench.relevance_judges.judges import (
    Predict,
    Predictions,
    RelevanceJudge,
    UnlabelledPairs,
    to_examples,
)


class PairReader:
    """The frozen lower layers of MiniLM.

    Args:
        lower: number of layers, of six.
        tokens: most tokens of a pair; longer texts are truncated.

    Raises:
        ExtraMissing: transformers or the package with the weights is not installed.
        ArtefactError: the installed weights are not those of ``models.lock``.
    """

    def __init__(self, lower: int, tokens: int) -> None:
        self._tokens = tokens
        self._tokenizer, model = open_minilm()
        self._embeddings, layers = model.embeddings, list(model.encoder.layer)
        self._lower, self._upper = layers[:lower], layers[lower:]

    def upper(self) -> Any:
        """A copy of the upper layers, as a torch module list to train."""
        from copy import deepcopy

        from torch import nn

        return deepcopy(nn.ModuleList(self._upper))

    def read(
        self, queries: Sequence[str], texts: Sequence[str], progress: Progress
    ) -> list[NDArray[np.float16]]:
        """P pairs -> P times (T, C), each with its number of tokens."""
        clean = [
            [text.encode("utf-8", "replace").decode("utf-8") for text in side]
            for side in (queries, texts)
        ]
        encoding = self._tokenizer(*clean, truncation="longest_first", max_length=self._tokens)
        # Pairs of similar length share a batch, which needs little padding then.
        order = np.argsort([len(tokens) for tokens in encoding["input_ids"]], kind="stable")
        states: list[NDArray[np.float16]] = [np.empty((0, 0), np.float16)] * len(order)
        starts = range(0, len(order), BATCH)
        for begin in progress.track(starts, "Reading pairs", len(starts)):
            rows = order[begin : begin + BATCH].tolist()
            for row, state in zip(rows, self._read_batch(encoding, rows), strict=True):
                states[row] = state
        return states

    def _read_batch(self, encoding: Any, rows: list[int]) -> list[NDArray[np.float16]]:
        import torch

        part = {name: [encoding[name][row] for row in rows] for name in encoding}
        batch = self._tokenizer.pad(part, return_tensors="pt")
        mask = batch["attention_mask"][:, None, None, :].bool()
        with torch.inference_mode():
            hidden = self._embeddings(batch["input_ids"], batch["token_type_ids"])
            for layer in self._lower:
                hidden = layer(hidden, mask)
                hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        lengths = batch["attention_mask"].sum(1).tolist()
        states = hidden.numpy().astype(np.float16)  # (B, T, C)
        return [state[:length].copy() for state, length in zip(states, lengths, strict=True)]


_STEPS, _CLIP = NewtonSteps(count=30), 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Logistic:
    """Logistic regression on standardised features, clipped to -4 .. 4.

    Args:
        means: (F,) of the training features.
        spreads: (F,) their standard deviations.
        weights: (F,).
        offset: log-odds of a pair with mean features.
    """

    means: FloatArray
    spreads: FloatArray
    weights: FloatArray
    offset: float

    @classmethod
    def fit(cls, features: FloatArray, is_irrelevant: BoolArray, reg: float) -> Self:
        """Fit by Newton's method.

        Args:
            features: (P, F).
            is_irrelevant: (P,) labels.
            reg: ridge penalty: the higher, the closer to 0 the weights.
        """
        means, spreads = features.mean(0), features.std(0) + 1e-6
        scaled = np.clip((features - means) / spreads, -_CLIP, _CLIP)
        inputs = np.column_stack([scaled, np.ones(len(scaled))]).astype(np.float64)
        ridge = np.full(inputs.shape[1], reg)
        ridge[-1] = 1e-6
        start = np.zeros(inputs.shape[1])
        weights = fit_logistic(inputs, is_irrelevant.astype(np.float64), start, ridge, steps=_STEPS)
        return cls(means, spreads, weights[:-1].astype(np.float32), float(weights[-1]))

    def values(self, features: FloatArray) -> FloatArray:
        """(P,) log-odds of being irrelevant for features (P, F)."""
        scaled = np.clip((features - self.means) / self.spreads, -_CLIP, _CLIP)
        values: FloatArray = (scaled @ self.weights + self.offset).astype(np.float32)
        return values


States = Sequence[NDArray[np.float16]]
"""Output (T, C) of the lower layers for each pair."""

_EVAL_BATCH = 64
_POOL_BATCHES = 16
"""Batches that are sorted by length together."""


class CrossEncoderConfig(Config):
    """Size and training of the cross-encoder."""

    lower_layers: int = 4
    """Number of frozen layers, of six."""

    tokens: int = 40
    """Most tokens of a pair; longer texts are truncated."""

    epochs: int = 2
    """Most epochs."""

    batch_size: int = 32
    """Pairs per step."""

    learning_rate: float = 2e-4
    """Of the layers, decaying linearly to 0; five times as high for the head."""

    reg: float = 30.0
    """Ridge penalty of the logistic regression on cheap features."""

    held_out_share: float = 0.2
    """Share of the groups that are held out for early stopping."""


@dataclass(frozen=True, slots=True, eq=False)
class CrossEncoder:
    """Sum of a logistic regression and a transformer.

    Args:
        base: logistic regression on cheap features.
        network: upper layers and head.
    """

    base: Logistic
    network: Any

    def values(self, states: States, features: FloatArray) -> FloatArray:
        """(P,) log-odds of being irrelevant; those of a pair do not depend on the others."""
        values = self.base.values(features)
        self.network.eval()
        order = np.argsort([len(state) for state in states], kind="stable")
        with torch.inference_mode():
            for begin in range(0, len(order), _EVAL_BATCH):
                rows = order[begin : begin + _EVAL_BATCH]
                values[rows] += self.network(*_padded(states, rows)).numpy()
        return values


@dataclass(frozen=True, slots=True, eq=False)
class TrainedCrossEncoder:
    """A trained cross-encoder.

    Args:
        encoder: trained on all but the held-out pairs.
        is_held_out: (P,) pairs that it was not trained on.
    """

    encoder: CrossEncoder
    is_held_out: BoolArray


class _Network(nn.Module):
    def __init__(self, upper: Any, size: int) -> None:
        super().__init__()
        self.upper, self.head = upper, nn.Linear(size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(B,) log-odds to add to those of the base, of states (B, T, C) and mask (B, T)."""
        for layer in self.upper:
            hidden = layer(hidden, mask[:, None, None, :])
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return self.head((hidden * weights).sum(1) / weights.sum(1)).squeeze(-1)  # type: ignore[no-any-return]


def train_cross_encoder(
    upper: Any,
    states: States,
    features: FloatArray,
    is_irrelevant: BoolArray,
    groups: IntArray,
    config: CrossEncoderConfig,
    options: TrainOptions,
) -> TrainedCrossEncoder:
    """Train on labelled pairs.

    Args:
        upper: module list of the layers to train, which is modified.
        states: P outputs of the lower layers.
        features: (P, F) cheap features.
        is_irrelevant: (P,) labels.
        groups: (P,) int32 pairs of one group are held out together.
        config: sizes and rates.
        options: seed and progress.
    """
    torch.manual_seed(options.seed)
    group_ids = np.unique(groups)
    count = max(1, int(config.held_out_share * len(group_ids)))
    sample = np.random.default_rng(options.seed).permutation(group_ids)[:count]
    is_held_out = np.isin(groups, sample)
    is_train = is_held_out if is_held_out.all() else ~is_held_out
    base = Logistic.fit(features[is_train], is_irrelevant[is_train], config.reg)
    encoder = CrossEncoder(base, _Network(upper, states[0].shape[1]))
    labelled = base.values(features), is_irrelevant
    training = _Training(encoder, states, labelled, (is_train, is_held_out), config, options.seed)
    stopping = StoppingRule(config.epochs, config.epochs)
    train_epochs(training, stopping, options, "Teacher")
    return TrainedCrossEncoder(encoder, is_held_out)


class _Training:
    """Binary cross-entropy on top of the base, in batches of pairs of similar length."""

    def __init__(
        self,
        encoder: CrossEncoder,
        states: States,
        labelled: tuple[FloatArray, BoolArray],
        parts: tuple[BoolArray, BoolArray],
        config: CrossEncoderConfig,
        seed: int,
    ) -> None:
        self.module: nn.Module = encoder.network
        self.random, self.num_steps = np.random.default_rng(seed), 0
        self._states, (self._base, self._is_irrelevant) = states, labelled
        self._train_rows, self._held_out_rows = (np.flatnonzero(part) for part in parts)
        rate = config.learning_rate
        groups = [
            {"params": list(encoder.network.upper.parameters()), "lr": rate},
            {"params": list(encoder.network.head.parameters()), "lr": 5 * rate},
        ]
        self.optimiser = AdamW(groups, rate, weight_decay=0.01)
        self._size, self._epochs = config.batch_size, config.epochs
        self._rates = [group["lr"] for group in self.optimiser.param_groups]

    def epoch(self, number: int) -> None:
        """All training pairs once, at a rate that decays over all epochs."""
        self.module.train()
        batches = list(self._batches())
        for step, rows in enumerate(batches):
            left = 1 - (number + step / len(batches)) / self._epochs
            for group, rate in zip(self.optimiser.param_groups, self._rates, strict=True):
                group["lr"] = rate * left
            self.optimiser.zero_grad()
            self._loss(rows).backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.num_steps += 1

    def validate(self) -> float | None:
        """Minus the loss of the held-out pairs."""
        self.module.eval()
        with torch.inference_mode():
            parts = np.array_split(self._held_out_rows, -(-len(self._held_out_rows) // _EVAL_BATCH))
            total = sum(float(self._loss(rows)) * len(rows) for rows in parts)
        return -total / len(self._held_out_rows)

    def _loss(self, rows: NDArray[np.intp]) -> Tensor:
        values = self.module(*_padded(self._states, rows)) + torch.from_numpy(self._base[rows])
        labels = torch.from_numpy(self._is_irrelevant[rows].astype(np.float32))
        return nn.functional.binary_cross_entropy_with_logits(values, labels)

    def _batches(self) -> Iterator[NDArray[np.intp]]:
        rows = self.random.permutation(self._train_rows)
        for begin in range(0, len(rows), self._size * _POOL_BATCHES):
            pool = rows[begin : begin + self._size * _POOL_BATCHES]
            lengths = [len(self._states[row]) for row in pool.tolist()]
            pool = pool[np.argsort(lengths, kind="stable")]
            parts = np.array_split(pool, -(-len(pool) // self._size))
            yield from (parts[at] for at in self.random.permutation(len(parts)))


def _padded(states: States, rows: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
    """States (B, T, C) float32, padded with zeros, and their mask (B, T)."""
    batch = [states[row] for row in rows.tolist()]
    hidden = np.zeros((len(batch), max(map(len, batch)), batch[0].shape[1]), np.float32)
    mask = np.zeros(hidden.shape[:2], np.bool_)
    for place, state in enumerate(batch):
        hidden[place, : len(state)] = state
        mask[place, : len(state)] = True
    return torch.from_numpy(hidden), torch.from_numpy(mask)


class CrossEncoderJudge(RelevanceJudge):
    """Upper layers of MiniLM, on top of a regression on cheap features: the teacher."""

    name = "teacher"
    is_random = True
    can_filter = False
    max_seeds = 1
    max_train = 6_000

    def __init__(
        self,
        config: CrossEncoderConfig | None = None,
        projection: QueryProjectionConfig | None = None,
    ) -> None:
        self.config = config or CrossEncoderConfig()
        self.projection = projection or QueryProjectionConfig()

    def prepare(self, gold: Gold, pairs: UnlabelledPairs, options: TrainOptions) -> UnlabelledPairs:
        """With the states of the lower layers."""
        queries = [gold.texts.queries[query] for query in pairs.queries.tolist()]
        items = [gold.texts.full_text(item) for item in pairs.items.tolist()]
        return replace(pairs, states=self._reader().read(queries, items, options.progress))

    def train(
        self, gold: Gold, inputs: UnlabelledPairs, pairs: GoldPairs, options: TrainOptions
    ) -> Predict:
        """Train on four fifths of the groups; threshold and calibration by the others."""
        examples = to_examples(inputs, pairs)
        features, projection = add_projected_features(
            self.projection, gold.pair_features, gold.queries, examples, options.seed
        )
        trained = train_cross_encoder(
            self._reader().upper(),
            inputs.states,
            features,
            pairs.is_irrelevant,
            pairs.groups,
            self.config,
            options,
        )
        is_held_out = trained.is_held_out & (pairs.fold != EXTRA)
        states = inputs.where(is_held_out).states
        values, is_irrelevant = (
            trained.encoder.values(states, features[is_held_out]),
            pairs.is_irrelevant[is_held_out],
        )
        threshold, calibration = (
            best_threshold(is_irrelevant, values),
            fit_calibration(values, is_irrelevant),
        )

        def predict(pairs: UnlabelledPairs) -> Predictions:
            projected = projection.compute(gold.queries, pairs.queries, pairs.items)
            values = trained.encoder.values(pairs.states, np.hstack([pairs.features, projected]))
            return Predictions(values, calibration(values), values >= threshold)

        return predict

    def _reader(self) -> PairReader:
        return PairReader(self.config.lower_layers, self.config.tokens)
