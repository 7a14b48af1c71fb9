"""The teacher: a cross-encoder made of MiniLM, which reads a query and an item together.

Too slow to stand in a request (MiniLM runs for every pair): it says what a light student could
know at best.

A cross-encoder: layers of a transformer over pairs that were read together. Training only.

Cheap features say first what they can, by logistic regression; the upper layers of a text encoder
and a linear head on the mean of the pair's tokens learn what that leaves. The layers below stay as
they are. A fifth of the units decides when to stop and is kept for whoever chooses a threshold.

Shapes: P pairs, F features, B pairs of a batch, T tokens of a pair, C numbers of a token.

A query and a text read together by MiniLM: what a cross-encoder starts from. Training only.

The pair is one input, ``[CLS] query [SEP] text [SEP]``. Its lower layers stay as they are, so what
they make of a pair is found once, whatever is learned above them.

Shapes: P pairs, T tokens of a pair, C = 384.

Logistic regression on features of one scale, by Newton's method; few weights from few labels.

Shapes: P pairs, F features.
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
from serendip.models.relevance.train import with_learned
from serendip.runtime.progress import Progress, TrainOptions
from serendip_bench.relevance_judges.gold import EXTRA, Gold, GoldPairs
from serendip_bench.relevance_judges.judges import (
    Answers,
    Judge,
    JudgeQueries,
    RelevanceJudge,
    lessons_of,
)


class PairReader:
    """Lower layers of MiniLM.

    Args:
        lower: how many of its six layers.
        tokens: of a pair at most; the text is cut.

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
        """The other layers, as torch's module list; they are the caller's to change."""
        from copy import deepcopy

        from torch import nn

        return deepcopy(nn.ModuleList(self._upper))

    def read(
        self, queries: Sequence[str], texts: Sequence[str], progress: Progress
    ) -> list[NDArray[np.float16]]:
        """P pairs -> P times (T, C), each of its own length."""
        clean = [
            [text.encode("utf-8", "replace").decode("utf-8") for text in side]
            for side in (queries, texts)
        ]
        found = self._tokenizer(*clean, truncation="longest_first", max_length=self._tokens)
        # Neighbours in length share a batch, so that little of it is padding.
        order = np.argsort([len(one) for one in found["input_ids"]], kind="stable")
        states: list[NDArray[np.float16]] = [np.empty((0, 0), np.float16)] * len(order)
        starts = range(0, len(order), BATCH)
        for begin in progress.track(starts, "Reading pairs", len(starts)):
            rows = order[begin : begin + BATCH].tolist()
            for row, own in zip(rows, self._read_batch(found, rows), strict=True):
                states[row] = own
        return states

    def _read_batch(self, found: Any, rows: list[int]) -> list[NDArray[np.float16]]:
        import torch

        part = {name: [found[name][row] for row in rows] for name in found}
        batch = self._tokenizer.pad(part, return_tensors="pt")
        mask = batch["attention_mask"][:, None, None, :].bool()
        with torch.inference_mode():
            hidden = self._embeddings(batch["input_ids"], batch["token_type_ids"])
            for layer in self._lower:
                hidden = layer(hidden, mask)
                hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        lengths = batch["attention_mask"].sum(1).tolist()
        whole = hidden.numpy().astype(np.float16)
        return [own[:length].copy() for own, length in zip(whole, lengths, strict=True)]


_STEPS, _FURTHEST = NewtonSteps(count=30), 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Logistic:
    """``offset + weights @ scaled``, with features scaled to mean 0 and spread 1, cut at 4.

    Args:
        means: (F,) and
        spreads: (F,) of the features that were learned from.
        weights: (F,).
        offset: what a pair has whose features are all at their means.
    """

    means: FloatArray
    spreads: FloatArray
    weights: FloatArray
    offset: float

    @classmethod
    def fit(cls, features: FloatArray, is_bad: BoolArray, reg: float) -> Self:
        """Learn from labels.

        Args:
            features: (P, F).
            is_bad: (P,) labels.
            reg: what squared weights cost, in pairs: the higher, the nearer to 0 they stay.
        """
        means, spreads = features.mean(0), features.std(0) + 1e-6
        scaled = np.clip((features - means) / spreads, -_FURTHEST, _FURTHEST)
        inputs = np.column_stack([scaled, np.ones(len(scaled))]).astype(np.float64)
        cost = np.full(inputs.shape[1], reg)
        cost[-1] = 1e-6
        start = np.zeros(inputs.shape[1])
        weights = fit_logistic(inputs, is_bad.astype(np.float64), start, cost, steps=_STEPS)
        return cls(means, spreads, weights[:-1].astype(np.float32), float(weights[-1]))

    def values(self, features: FloatArray) -> FloatArray:
        """(P,) log-odds that pairs with features (P, F) are bad."""
        scaled = np.clip((features - self.means) / self.spreads, -_FURTHEST, _FURTHEST)
        values: FloatArray = (scaled @ self.weights + self.offset).astype(np.float32)
        return values


States = Sequence[NDArray[np.float16]]
"""Of each pair (T, C), as the lower layers leave it."""

_AT_ONCE = 64
_POOL = 16


class CrossEncoderConfig(Config):
    """How it is trained."""

    lower_layers: int = 4
    """Of the six, that stay as they are."""

    tokens: int = 40
    """Of a pair at most; longer texts are cut."""

    epochs: int = 2
    """Passes at most."""

    batch_size: int = 32
    """Pairs of a step."""

    learning_rate: float = 2e-4
    """Of the layers, falling to 0; the head has five times as much."""

    reg: float = 30.0
    """Of the logistic regression on cheap features."""

    held_share: float = 0.2
    """Share of the units that decides when to stop."""


@dataclass(frozen=True, slots=True, eq=False)
class CrossEncoder:
    """Says how bad pairs are.

    Args:
        base: what cheap features say.
        network: what reading adds.
    """

    base: Logistic
    network: Any

    def values(self, states: States, features: FloatArray) -> FloatArray:
        """(P,) log-odds that pairs are bad; of each pair, whatever the rest."""
        values = self.base.values(features)
        self.network.eval()
        order = np.argsort([len(one) for one in states], kind="stable")
        with torch.inference_mode():
            for begin in range(0, len(order), _AT_ONCE):
                rows = order[begin : begin + _AT_ONCE]
                values[rows] += self.network(*_padded(states, rows)).numpy()
        return values


@dataclass(frozen=True, slots=True, eq=False)
class TrainedCrossEncoder:
    """What was learned.

    Args:
        encoder: from all but the held pairs.
        held: (P,) pairs that it has not learned from.
    """

    encoder: CrossEncoder
    held: BoolArray


class _Network(nn.Module):
    def __init__(self, upper: Any, size: int) -> None:
        super().__init__()
        self.upper, self.head = upper, nn.Linear(size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(B,) log-odds beside those of the base, of (B, T, C) and (B, T)."""
        for layer in self.upper:
            hidden = layer(hidden, mask[:, None, None, :])
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return self.head((hidden * weights).sum(1) / weights.sum(1)).squeeze(-1)  # type: ignore[no-any-return]


def train_cross_encoder(
    upper: Any,
    states: States,
    features: FloatArray,
    is_bad: BoolArray,
    units: IntArray,
    config: CrossEncoderConfig,
    options: TrainOptions,
) -> TrainedCrossEncoder:
    """Learn from labelled pairs.

    Args:
        upper: layers to learn, a module list of its own.
        states: P pairs, as the layers below leave them.
        features: (P, F) cheap ones.
        is_bad: (P,) labels.
        units: (P,) int32 what is kept together when pairs are parted.
        config: how.
        options: seed and progress.
    """
    torch.manual_seed(options.seed)
    different = np.unique(units)
    count = max(1, int(config.held_share * len(different)))
    drawn = np.random.default_rng(options.seed).permutation(different)[:count]
    held = np.isin(units, drawn)
    learned = held if held.all() else ~held
    base = Logistic.fit(features[learned], is_bad[learned], config.reg)
    encoder = CrossEncoder(base, _Network(upper, states[0].shape[1]))
    labelled = base.values(features), is_bad
    training = _Training(encoder, states, labelled, (learned, held), config, options.seed)
    stopping = StoppingRule(config.epochs, config.epochs)
    train_epochs(training, stopping, options, "", "Teacher")
    return TrainedCrossEncoder(encoder, held)


class _Training:
    """Binary cross-entropy on top of the base, by pairs of about one length."""

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
        self.random = np.random.default_rng(seed)
        self._states, (self._base, self._bad) = states, labelled
        self._learned, self._held = (np.flatnonzero(part) for part in parts)
        rate = config.learning_rate
        groups = [
            {"params": list(encoder.network.upper.parameters()), "lr": rate},
            {"params": list(encoder.network.head.parameters()), "lr": 5 * rate},
        ]
        self.optimiser: torch.optim.Optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
        self._size, self._epochs = config.batch_size, config.epochs
        self._rates = [group["lr"] for group in self.optimiser.param_groups]

    def epoch(self, number: int) -> None:
        """All learned pairs once, at a rate that falls over all passes."""
        self.module.train()
        batches = list(self._batches())
        for step, rows in enumerate(batches):
            left = 1 - (number + step / len(batches)) / self._epochs
            for group, rate in zip(self.optimiser.param_groups, self._rates, strict=True):
                group["lr"] = rate * left
            self.optimiser.zero_grad()
            self._loss(rows).backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()

    def validate(self) -> float | None:
        """Minus the loss of the held pairs."""
        self.module.eval()
        with torch.inference_mode():
            parts = np.array_split(self._held, -(-len(self._held) // _AT_ONCE))
            total = sum(float(self._loss(rows)) * len(rows) for rows in parts)
        return -total / len(self._held)

    def _loss(self, rows: NDArray[np.intp]) -> Tensor:
        values = self.module(*_padded(self._states, rows)) + torch.from_numpy(self._base[rows])
        labels = torch.from_numpy(self._bad[rows].astype(np.float32))
        return nn.functional.binary_cross_entropy_with_logits(values, labels)

    def _batches(self) -> Iterator[NDArray[np.intp]]:
        rows = self.random.permutation(self._learned)
        for begin in range(0, len(rows), self._size * _POOL):
            pool = rows[begin : begin + self._size * _POOL]
            lengths = [len(self._states[row]) for row in pool.tolist()]
            pool = pool[np.argsort(lengths, kind="stable")]
            parts = np.array_split(pool, -(-len(pool) // self._size))
            yield from (parts[at] for at in self.random.permutation(len(parts)))


def _padded(states: States, rows: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
    """(B, T, C) float32 and (B, T) which tokens are there."""
    own = [states[row] for row in rows.tolist()]
    hidden = np.zeros((len(own), max(map(len, own)), own[0].shape[1]), np.float32)
    mask = np.zeros(hidden.shape[:2], np.bool_)
    for place, one in enumerate(own):
        hidden[place, : len(one)] = one
        mask[place, : len(one)] = True
    return torch.from_numpy(hidden), torch.from_numpy(mask)


class CrossEncoderJudge(RelevanceJudge):
    """Upper layers of MiniLM, on top of what the cheap features say."""

    name = "teacher"
    uses_chance = True
    filters = False
    most_seeds = 1
    most_learned = 6_000

    def __init__(
        self,
        config: CrossEncoderConfig | None = None,
        likeness: QueryProjectionConfig | None = None,
    ) -> None:
        self.config = config or CrossEncoderConfig()
        self.likeness = likeness or QueryProjectionConfig()

    def looked_at(self, gold: Gold, asked: JudgeQueries, options: TrainOptions) -> JudgeQueries:
        """With what the lower layers make of each pair."""
        queries = [gold.texts.queries[query] for query in asked.queries.tolist()]
        items = [gold.texts.whole(item) for item in asked.items.tolist()]
        return replace(asked, states=self._reader().read(queries, items, options.progress))

    def taught(
        self, gold: Gold, asked: JudgeQueries, pairs: GoldPairs, options: TrainOptions
    ) -> Judge:
        """Layers of four fifths of the units; threshold and curve by the others."""
        lessons = lessons_of(asked, pairs)
        features, moved = with_learned(
            self.likeness, gold.crowd, gold.queries, lessons, options.seed
        )
        taught = train_cross_encoder(
            self._reader().upper(),
            asked.states,
            features,
            pairs.is_bad,
            pairs.units,
            self.config,
            options,
        )
        held = taught.held & (pairs.fold != EXTRA)
        states = asked.where(held).states
        values, is_bad = taught.encoder.values(states, features[held]), pairs.is_bad[held]
        threshold, curve = best_threshold(is_bad, values), fit_calibration(values, is_bad)

        def judge(asked: JudgeQueries) -> Answers:
            learned = moved.of(gold.queries, asked.queries, asked.items)
            values = taught.encoder.values(asked.states, np.hstack([asked.features, learned]))
            return Answers(values, curve(values), values >= threshold)

        return judge

    def _reader(self) -> PairReader:
        return PairReader(self.config.lower_layers, self.config.tokens)
