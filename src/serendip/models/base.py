"""Contract of all recommenders: scores of items for a batch of queries.

A model declares itself on its class: name, config class, kind of scores and labels. It is a frozen
config plus learned arrays, so it can be saved, opened in another process and give the same scores.
Public methods validate and mask; private hooks (one per public method) hold the maths and use item
numbers only. A trained model is immutable: ``with_late`` returns a copy that knows what was posted
or changed since.

Evaluation reads ``score_all``; a request reads ``query_scores``, whose cost need not grow with the
catalogue: the best items by an index, a few sparse rows or a sorted list, and the scores of a few
hundred candidates.

Shapes: B queries, N items, T distinct items of a query's context, C candidates, M late items.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from serendip.config import Config
from serendip.data import Artefact, Dataset, FloatArray, IntArray, ItemFeatures, ItemList, Query
from serendip.data.item_list import top_k
from serendip.errors import (
    DataError,
    NotTrainedError,
    UnsupportedError,
)
from serendip.models.query_scores import DenseScores, QueryScores
from serendip.runtime.progress import TrainOptions

ScoreKind = Literal["count", "similarity", "prior"]
"""Kind of a model's scores: ``count`` = sums of evidence, >= 0, 0 = none; ``similarity`` = any
scale, comparable within a query; ``prior`` = the same for every query. Ranker features of a count
are log(1 + score) and the ratio to the query's best score; of a similarity, the score and its
difference to the best; a prior has none."""


class VoteEvidence(NamedTuple):
    """Wording of a model's votes as evidence in explanations.

    Args:
        kind: kind of the evidence in JSON.
        sentence: text for users; ``{title}`` is replaced by the title of the voting item.
        covers_new_items: items without interactions can have this evidence, and give it; else both
            have been chosen a few times.
        korean: the sentence in Korean, ``{title:을/를}`` for a particle; empty = it is told in
            English.
    """

    kind: str
    sentence: str
    covers_new_items: bool = False
    korean: str = ""


@runtime_checkable
class VotingModel(Protocol):
    """Model that can attribute a score to the items of the context."""

    def votes(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray]:
        """Items (T,) of the context and their contributions (T, C) to the scores of C items."""
        ...


_Votes = Callable[[Query, IntArray], tuple[IntArray, FloatArray]]


@dataclass(frozen=True, slots=True, eq=False)
class WarmStart:
    """What a model with the same config learned from earlier data, to continue from.

    Args:
        arrays: its ``learned``; empty = it trains from nothing.
        rows: (N,) int32 number of each item of the present data in the earlier data; -1 = new.
    """

    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    rows: IntArray = field(default_factory=lambda: np.empty(0, np.int32))

    def part(self, name: str) -> WarmStart:
        """Start of a part of a model, whose arrays are called ``name/...``."""
        prefix = f"{name}/"
        arrays = {
            key.removeprefix(prefix): array
            for key, array in self.arrays.items()
            if key.startswith(prefix)
        }
        return WarmStart(arrays, self.rows)


class Recommender(Artefact, ABC):
    """Base class of models that score items for a batch of queries.

    Scores are finite, on any scale; higher is better.
    """

    name: ClassVar[str]
    """Name in the registry; saved models and ``class = "..."`` in settings refer to it."""

    config_class: ClassVar[type[Config]]
    """Class of the model's hyperparameters."""

    label: ClassVar[str]
    """Label of the score: "Chosen next" is shown as "Chosen next (score)"."""

    origin: ClassVar[str] = ""
    """Label of the model as a candidate source: "the same people" is shown as "From the same
    people"; empty = ``label`` in lower case."""

    score_kind: ClassVar[ScoreKind]
    """Kind of the scores; determines the ranker features."""

    evidence: ClassVar[VoteEvidence | None] = None
    """Wording of ``votes`` in explanations; None = the model does not explain."""

    state: ClassVar[tuple[str, ...]] = ()
    """Attributes that training sets, which are saved: arrays, texts, numbers and artefacts."""

    repair = "Train it again with this version."

    least_vote: float = 0.0
    """Only votes above this are told."""

    zero_means_unknown: ClassVar[bool] = True
    """True if a score of 0 means "no evidence"; such items are not recommended."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config if config is not None else self.config_class()
        self._num_items = -1
        self._num_unscored = 0
        self._is_late = False

    @property
    def source_label(self) -> str:
        """Label of the model as a candidate source, such as "the same people"."""
        return self.origin or self.label[:1].lower() + self.label[1:]

    @property
    def decay(self) -> float:
        """Weight of an event of a context relative to the next one; 1 = all weigh the same."""
        return float(getattr(self.config, "decay", 1.0))

    @property
    def is_trained(self) -> bool:
        """True once ``train`` or ``open`` has run."""
        return self._num_items >= 0

    @property
    def num_items(self) -> int:
        """N, the number of items in a row of scores, unscored new ones included."""
        self._require_trained()
        return self._num_items + self._num_unscored

    def train(
        self,
        dataset: Dataset,
        options: TrainOptions | None = None,
        start: WarmStart | None = None,
    ) -> Self:
        """Train on all data, the earlier ones included: from scratch, or from what was learned
        before.

        The start is of a model with the same config; models that cannot continue ignore it.
        """
        if start is not None and start.arrays:
            self._continue(dataset, options or TrainOptions(), start)
        else:
            self._train(dataset, options or TrainOptions())
        self._num_items, self._num_unscored, self._is_late = dataset.num_items, 0, False
        return self

    def learned(self) -> Mapping[str, NDArray[Any]]:
        """Arrays for the ``WarmStart`` of a later training; empty = this model cannot continue.

        A model that was opened from a folder has none.
        """
        return {}

    def score_all(self, queries: Sequence[Query]) -> FloatArray:
        """Scores (B, N) float32 of every item for every query; row b depends on query b only."""
        self._require_trained()
        if not queries:
            return np.empty((0, self.num_items), dtype=np.float32)
        if not self._num_unscored:
            return self._score_all(queries)
        scores = self._score_all([query.known(self._num_items) for query in queries])
        filled = np.zeros((len(queries), self.num_items), np.float32)  # (B, N)
        filled[:, : self._num_items] = scores
        if not self.zero_means_unknown and self._num_items:
            filled[:, self._num_items :] = scores.min(1, keepdims=True)  # below all scored items
        return filled

    def query_scores(self, queries: Sequence[Query]) -> QueryScores:
        """Scores of the queries, computed for the items that are asked for.

        They are the entries of ``score_all``; the best items may come from an approximate search.
        """
        self._require_trained()
        scores = None
        if queries and (self.zero_means_unknown or not self._num_unscored):
            known = [query.known(self._num_items) for query in queries]
            scores = self._query_scores(known if self._num_unscored else queries)
        return scores or DenseScores(self.score_all(queries), self.zero_means_unknown)

    def recommend(self, queries: Sequence[Query], k: int = 10) -> list[ItemList]:
        """The k items with the highest scores per query, without those in ``query.exclude``.

        Raises:
            DataError: k < 1.
        """
        if k < 1:
            raise DataError(f"k = {k} is less than 1.", "Request 1 item or more.")
        scores = self.score_all(queries).copy()  # (B, N)
        if self.zero_means_unknown:
            scores[scores == 0] = -np.inf
        answers = []
        for row, query in zip(scores, queries, strict=True):
            row[query.exclude] = -np.inf
            answers.append(top_k(row, k))
        return answers

    @classmethod
    def continues(cls) -> bool:
        """True if the model can continue from what it learned from earlier data (``learned``)."""
        return cls.learned is not Recommender.learned

    def with_late(self, features: ItemFeatures, item_nums: IntArray | None = None) -> Self:
        """Copy that knows late items, without training: new ones, and new content of others.

        What was learned from behaviour stays. If the model cannot score new items, they are removed
        from its queries and get the row's lowest score, or 0 if that means "no evidence".

        Args:
            features: content and codes of the M items.
            item_nums: (M,) int32 their numbers; those from N on are new. Of equal numbers the last
                row counts. None = all are new.

        Raises:
            DataError: lengths differ, or a number is neither that of an item nor the next new one.
        """
        self._require_trained()
        if item_nums is None:
            item_nums = np.arange(len(features), dtype=np.int32) + self.num_items
        if len(item_nums) != len(features):
            raise DataError(
                f"{len(item_nums)} late items, but {len(features)} rows of features.",
                "Give one row of features per item.",
            )
        new = np.unique(item_nums[item_nums >= self.num_items])
        if (item_nums < 0).any() or (len(new) and new[-1] != self.num_items + len(new) - 1):
            raise DataError(
                f"item numbers {item_nums.min()} to {item_nums.max()} are not those of the "
                f"{self.num_items} items of model {self.name!r} and of the next new ones.",
                "Number new items after all others, without a gap.",
            )
        late = self._with_late(item_nums, features)
        if late is None:
            late = copy.copy(self)
            late._num_unscored += len(new)
        else:
            late._num_items += len(new)
        late._is_late = True
        return late

    def compute_votes(
        self, query: Query, item_nums: IntArray
    ) -> tuple[IntArray, FloatArray] | None:
        """Context items (T,) and their votes (T, C) for C items; None if the model has no votes.

        Votes for items that the model cannot score are 0.
        """
        votes_of: _Votes | None = getattr(self, "votes", None)  # a check of the protocol is slow
        if votes_of is None:
            return None
        is_scored = item_nums < self._num_items
        known = query.known(self._num_items)
        if is_scored.all():
            return votes_of(known, item_nums)
        context, scored_votes = votes_of(known, item_nums[is_scored])
        votes = np.zeros((len(context), len(item_nums)), np.float32)  # (T, C)
        votes[:, is_scored] = scored_votes
        return context, votes

    def stored(self) -> dict[str, Any]:
        """Config and what training has set.

        Raises:
            UnsupportedError: the model has late items.
        """
        self._require_trained()
        if self._is_late:
            raise UnsupportedError(
                f"model {self.name!r} has items that came after its training.",
                "Save the model that with_late was called on.",
            )
        return {"config": self.config, "num_items": self._num_items, "learned": self._stored()}

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Self:
        """See ``Artefact``."""
        model = cls(values["config"])
        model._restore(values["learned"])
        model._num_items = values["num_items"]
        return model

    def _require_trained(self) -> None:
        if not self.is_trained:
            raise NotTrainedError(f"model {self.name!r} is not trained.", "Call train(dataset).")

    @abstractmethod
    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        """Hook of ``train``: set all learned state."""

    def _continue(self, dataset: Dataset, options: TrainOptions, start: WarmStart) -> None:
        self._train(dataset, options)

    @abstractmethod
    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        """Hook of ``score_all``: scores (B, trained N) float32 of one query or more."""

    def _query_scores(self, queries: Sequence[Query]) -> QueryScores | None:
        """Hook of ``query_scores`` for one query or more; None = score every item."""
        return None

    def _with_late(self, item_nums: IntArray, features: ItemFeatures) -> Self | None:
        """Hook of ``with_late``: a copy that scores late items by content; None = not possible."""
        return None

    def _stored(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.state}

    def _restore(self, learned: Mapping[str, Any]) -> None:
        for name, value in learned.items():
            setattr(self, name, value)
